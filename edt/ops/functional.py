"""The networks as one pure function of flat parameters and inputs, for `torch.func`."""

from __future__ import annotations

import torch

from edt.ensemble import Ensemble
from edt.errors import ShapeError
from edt.ops import reference
from edt.ops.problem import Problem

__all__ = ["functional_call"]


def functional_call(ens: Ensemble, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Outputs of every network at ``x`` with parameters ``theta``: plain PyTorch throughout.

    ``f(x_n; theta_b)``, as `edt.predict` computes it, but a function of two tensors in which
    everything can be transformed: `torch.func.grad`, ``vjp``, ``jvp``, ``jacrev``, ``jacfwd``,
    ``hessian`` and ``vmap`` (over parameters, inputs, or both) compose to any order, also in
    ``x``. One network after another and without the compiled engine, hence slower than the ops.
    Pruned parameters are 0 and frozen ones constant whatever ``theta`` holds for their derivative.

    Args:
        ens: B networks; their structure and frozen flags matter, their parameters do not.
        theta: flat parameters ``[total]``, any floating dtype.
        x: inputs ``[N, d_in]`` or one input ``[d_in]``, dtype of ``theta``.

    Returns:
        ``[B, N, d_out]``, or ``[B, d_out]`` for one input.

    Raises:
        TypeError: not tensors, or of unequal dtypes. ShapeError: sizes do not fit.

    Example:
        >>> import torch
        >>> ens = edt.Ensemble.init([2, 4], [0], d_in=3, d_out=1)
        >>> x = torch.ones(5, 3, dtype=torch.float64)
        >>> edt.functional_call(ens, ens.theta, x).shape
        torch.Size([2, 5, 1])
        >>> slope = lambda x: torch.func.jacfwd(edt.functional_call, 2)(ens, ens.theta, x)
        >>> torch.func.vmap(slope)(x).shape
        torch.Size([5, 2, 1, 3])
    """
    if not isinstance(ens, Ensemble):
        raise TypeError(f"ens must be an edt.Ensemble, got {type(ens).__name__}")
    for name, value in (("theta", theta), ("x", x)):
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if theta.dtype != x.dtype or not theta.is_floating_point():
        raise TypeError(
            f"theta and x must have one floating dtype, got {theta.dtype} and {x.dtype}"
        )
    ens.layout.check_flat("theta", theta)
    if x.dim() not in (1, 2) or x.shape[-1] != ens.d_in:
        raise ShapeError(f"x must have shape [N, {ens.d_in}] or [{ens.d_in}], got {list(x.shape)}")
    rows = x if x.dim() == 2 else x[None]
    nothing = rows.new_zeros(())  # the outputs need no targets
    out = reference.predict(
        theta,
        Problem(
            state=ens.state,
            layer_widths=ens.layer_widths,
            bias=ens.has_bias,
            activation=ens.activation,
            x=rows,
            y=nothing,
            coef=nothing,
            loss="mse",
            d_out=ens.d_out,
            task_index=None,
        ),
    )
    return out if x.dim() == 2 else out[:, 0]
