"""The public ops over an `Ensemble` and a `Task`: losses, gradients, curvature, per network.

All take ``theta`` (flat ``[total]``, default: the ensemble's parameters), ``task_index`` (int64
``[B]``, which of the task's T targets each network has, default 0) and ``backend``: "cpu" and
"cuda" are the compiled engines, "reference" plain PyTorch (slow, differentiable to any order, also
by torch.func), "auto" the compiled engine of the networks' device. Pruned and frozen parameters are
constants: results are 0 there, inputs are ignored there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

from edt.ensemble import Ensemble
from edt.ops import cpu, own, reference
from edt.ops import library as library  # registers the operators
from edt.ops.checks import backend_of, parameters, problem_of, vectors_of
from edt.ops.compiled import adopt, layer_states, matrix_offsets, structure
from edt.ops.cuda import plan_of
from edt.ops.jacobians import jacobian as structured_jacobian
from edt.ops.problem import Problem
from edt.tasks import Task

__all__ = [
    "ggn_vp",
    "hessian",
    "hessian_blocks",
    "hvp",
    "jacobian",
    "loss",
    "loss_and_grad",
    "predict",
]


def predict(
    ens: Ensemble,
    task: Task,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> torch.Tensor:
    """Outputs of every network at every sample, ``f(x_n; theta_b)``.

    Differentiable in ``theta`` (backward: one ``J^T u``; second derivatives run the reference).

    Args:
        ens: B networks.
        task: N samples; only its inputs matter.
        theta: flat parameters, float32 or float64 like ``ens``.
        task_index: int64 ``[B]``.
        backend: "auto", "cpu", "cuda" or "reference".

    Returns:
        ``[B, N, d_out]``, dtype of ``ens``; logits if the loss is cross-entropy.

    Raises:
        TypeError, ValueError: bad arguments (`edt.errors.ShapeError` for shapes).

    Example:
        >>> ens = edt.Ensemble.init(widths=[2, 4], seeds=[0], d_in=3, d_out=1)
        >>> task = edt.Task(torch.randn(5, 3), torch.randn(5, 1)).to(torch.float64)
        >>> edt.ops.predict(ens, task).shape
        torch.Size([2, 5, 1])
    """
    problem, flat, compiled = _arguments(ens, task, theta, task_index, backend)
    out: torch.Tensor
    out = torch.ops.edt.predict(flat, *problem) if compiled else reference.predict(flat, problem)
    return out


def loss(
    ens: Ensemble,
    task: Task,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> torch.Tensor:
    """Loss of every network.

    ``L_b = sum_n coef_n l(f(x_n; theta_b), y_n)``, with ``l = |f - y|^2`` (summed over outputs, no
    factor 1/2) or ``l = log sum_o exp(f_o) - f_y``; the coefficients are 1/N unless the task has
    sample weights. Differentiable in ``theta``, twice (backward: one `loss_and_grad`; its backward:
    one `hvp`), a third time through the reference.

    Args:
        ens, task, theta, task_index, backend: as in `predict`.

    Returns:
        float64 ``[B]``.

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> theta = ens.theta.clone().requires_grad_(True)
        >>> edt.ops.loss(ens, task, theta).sum().backward()
        >>> theta.grad.shape == theta.shape
        True
    """
    if own.owns(task):
        return own.loss_and_grad(ens, task, theta, task_index)[0]
    problem, flat, compiled = _arguments(ens, task, theta, task_index, backend)
    out: torch.Tensor
    out = torch.ops.edt.loss(flat, *problem) if compiled else reference.loss(flat, problem)
    return out


def loss_and_grad(
    ens: Ensemble,
    task: Task,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of every network and its gradient, ``dL_b / dtheta_b``, in one pass.

    Args:
        ens, task, theta, task_index, backend: as in `predict`.

    Returns:
        (loss float64 ``[B]``, gradient flat ``[total]`` in the dtype of ``ens``).

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> value, gradient = edt.ops.loss_and_grad(ens, task)
    """
    if own.owns(task):
        return own.loss_and_grad(ens, task, theta, task_index)
    problem, flat, compiled = _arguments(ens, task, theta, task_index, backend)
    if not compiled:
        return reference.loss_and_grad(flat, problem)
    if _plain(flat):
        return cpu.loss_and_grad(flat, problem)
    value, grad = torch.ops.edt.loss_and_grad(flat, *problem)
    return value, grad


def hvp(
    ens: Ensemble,
    task: Task,
    vectors: torch.Tensor,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> torch.Tensor:
    """Hessian-vector products ``H_b v_b``, K vectors per network in one pass.

    ``H_b = d^2 L_b / dtheta_b^2``; every network takes its slice of each vector. Differentiable in
    ``vectors`` (H is symmetric) and, through the reference, in ``theta``.

    Args:
        ens, task, theta, task_index, backend: as in `predict`.
        vectors: ``[K, total]`` or ``[total]``, dtype of ``ens``.

    Returns:
        Products, shape of ``vectors``.

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> product = edt.ops.hvp(ens, task, torch.ones(8, ens.theta.numel(), dtype=ens.dtype))

    Reference: B. Pearlmutter, "Fast exact multiplication by the Hessian", 1994.
    """
    return _product(ens, task, vectors, theta, task_index, backend, ggn=False)


def ggn_vp(
    ens: Ensemble,
    task: Task,
    vectors: torch.Tensor,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> torch.Tensor:
    """Products ``G_b v_b`` with the generalised Gauss-Newton matrix.

    ``G_b = sum_n coef_n J_n^T (d^2 l / df^2) J_n``, ``J_n = df_n / dtheta_b``: the Hessian without
    the curvature of the outputs; positive semidefinite.

    Args:
        ens, task, vectors, theta, task_index, backend: as in `hvp`.

    Returns:
        Products, shape of ``vectors``.

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> product = edt.ops.ggn_vp(ens, task, torch.ones_like(ens.theta))

    Reference: N. Schraudolph, "Fast curvature matrix-vector products for second-order gradient
    descent", 2002.
    """
    return _product(ens, task, vectors, theta, task_index, backend, ggn=True)


def hessian(
    ens: Ensemble,
    task: Task,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    ggn: bool = False,
    backend: str = "auto",
) -> list[torch.Tensor]:
    """Exact Hessian of every network over its coordinates.

    ``H_b = d^2 L_b / dc_b^2``, c the trainable parameters in flat order. Not differentiable on the
    compiled engine.

    Args:
        ens, task, theta, task_index, backend: as in `predict`.
        ggn: the generalised Gauss-Newton matrix (see `ggn_vp`) instead.

    Returns:
        list of symmetric ``[P_b, P_b]``, views of one buffer, each 64-byte aligned.

    Raises:
        TypeError, ValueError: bad arguments.
        MemoryError: the matrices do not fit what is free; names both in bytes, before any work.

    Example:
        >>> torch.linalg.eigvalsh(edt.ops.hessian(ens, task)[0]).shape
        torch.Size([11])
    """
    if own.owns(task):
        return own.hessian(ens, task, theta, task_index, ggn=ggn)
    problem, flat, compiled = _arguments(ens, task, theta, task_index, backend)
    if not compiled:
        return reference.hessian(flat, problem, ggn=ggn)
    return _hessian(flat.detach(), problem, ggn)


def hessian_blocks(
    ens: Ensemble,
    task: Task,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    ggn: bool = False,
    backend: str = "auto",
) -> list[list[torch.Tensor]]:
    """Diagonal blocks of the Hessian of every network, one per layer (weights, then biases).

    The block of a layer is the Hessian with all other layers frozen, and is computed so: no
    ``[P_b, P_b]`` matrix is formed.

    Args:
        ens, task, theta, task_index, ggn, backend: as in `hessian`.

    Returns:
        per network a list of D + 1 symmetric matrices ``[P_bl, P_bl]``, from the inputs up.

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> [block.shape[0] for block in edt.ops.hessian_blocks(ens, task)[0]]
        [8, 3]
    """
    problem, flat, compiled = _arguments(ens, task, theta, task_index, backend)
    if not compiled:
        return reference.hessian_blocks(flat, problem, ggn=ggn)
    flat = flat.detach()
    layers = [_hessian(flat, problem._replace(state=state), ggn) for state in layer_states(problem)]
    return [list(blocks) for blocks in zip(*layers, strict=True)]


def jacobian(
    ens: Ensemble,
    task: Task,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> list[torch.Tensor]:
    """Jacobian of the outputs of every network over its coordinates, ``df / dc_b``.

    Not differentiable on the compiled engine.

    Args:
        ens, task, theta, task_index, backend: as in `predict`.

    Returns:
        list of ``[N * d_out, P_b]``, row ``n * d_out + o``.

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> edt.ops.jacobian(ens, task)[0].shape
        torch.Size([5, 11])
    """
    problem, flat, compiled = _arguments(ens, task, theta, task_index, backend)
    if not compiled:
        return reference.jacobian(flat, problem)
    flat = flat.detach()
    return structured_jacobian(flat, problem) if flat.is_cuda else cpu.jacobian(flat, problem)


def _arguments(
    ens: Ensemble, task: Task, theta: Any, task_index: Any, backend: Any
) -> tuple[Problem, torch.Tensor, bool]:
    """(problem, parameters, whether the compiled engine is wanted)."""
    engine = backend_of(backend)
    compiled = engine != "reference"
    problem = problem_of(ens, task, task_index)
    flat = parameters(ens, theta)
    if engine in ("cpu", "cuda") and flat.device.type != engine:
        raise ValueError(
            f"backend={engine!r} needs networks on that device, they are on {flat.device}"
        )
    if compiled:
        if forward_ad._current_level >= 0 and forward_ad.unpack_dual(flat).tangent is not None:  # type: ignore[no-untyped-call]
            raise NotImplementedError(
                f"backend={engine!r} has no forward-mode derivatives, and theta carries a tangent; "
                "use edt.hvp, or backend='reference'"
            )
        adopt(ens, task)
    return problem, flat, compiled


def _plain(flat: torch.Tensor) -> bool:
    """Whether nobody watches the call: then the dispatcher, half of a small call, is left out.

    Watching are autograd, tracers, and modes that see every operator or every tensor.
    """
    return (
        type(flat) is torch.Tensor
        and flat.device.type == "cpu"
        and not (flat.requires_grad and torch.is_grad_enabled())
        and not torch.compiler.is_compiling()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._len_torch_function_stack() == 0
    )


def _product(
    ens: Ensemble,
    task: Task,
    vectors: Any,
    theta: Any,
    task_index: Any,
    backend: Any,
    *,
    ggn: bool,
) -> torch.Tensor:
    if own.owns(task):
        return own.product(ens, task, vectors, theta, task_index, ggn=ggn)
    problem, flat, compiled = _arguments(ens, task, theta, task_index, backend)
    rows = vectors_of(ens, vectors)
    out: torch.Tensor
    if compiled:
        out = torch.ops.edt.hvp(flat, rows, ggn, *problem)
    else:
        out = (reference.ggn_vp if ggn else reference.hvp)(flat, rows, problem)
    return out if vectors.dim() == 2 else out[0]


def _hessian(flat: torch.Tensor, problem: Problem, ggn: bool) -> list[torch.Tensor]:
    if _plain(flat):
        return cpu.hessians(flat, problem, ggn=ggn)
    coords = (plan_of(problem, flat.device) if flat.is_cuda else structure(problem)).coords
    offsets = matrix_offsets(coords, coords, flat.element_size()).tolist()
    buffer = torch.ops.edt.hessian(flat, ggn, offsets[-1], *problem)
    return [
        buffer[at : at + size * size].view(size, size)
        for at, size in zip(offsets[:-1], coords.tolist(), strict=True)
    ]
