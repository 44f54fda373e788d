"""Exact critical points without training: choose the data to fit the network, not the reverse."""

from __future__ import annotations

import torch

from edt.ensemble import Ensemble
from edt.landscape.layers import Layer, Network, run, unpack
from edt.tasks import Task


def critical_task(ens: Ensemble, x: torch.Tensor, *, residual: float = 1.0, seed: int = 0) -> Task:
    """A task at which every network already stands on a critical point, at any loss.

    For mse the gradient is ``2 J^T C r`` with ``r = f(x; theta) - y`` and J the Jacobian over the
    coordinates. Draw a random R, project it off the range of J and set ``y = f - R``: the gradient
    is zero to rounding, the loss is the mean of R^2.

    Args:
        ens: B networks; ``N * d_out`` must exceed every ``P_b``.
        x: float64 ``[N, d_in]``.
        residual: root mean square of R before the projection.
        seed: of R.

    Returns:
        mse task with T = B targets; use ``task_index=torch.arange(B)``.

    Raises:
        ValueError: too few samples.
    """
    generator = torch.Generator().manual_seed(seed)
    x = x.to(torch.float64)
    targets = []
    for b in range(int(ens.B)):
        layers = unpack(ens, b)
        free = (ens.state[int(ens.offsets[b]) : int(ens.offsets[b + 1])] == 1).nonzero().flatten()
        jacobian = _jacobian(layers, ens.activation, x)[:, free]
        rows, columns = jacobian.shape
        if rows <= columns:
            raise ValueError(
                f"x must have more than P / d_out samples: network {b} has {columns} coordinates, "
                f"{rows} residuals"
            )
        basis, _ = torch.linalg.qr(jacobian)
        r = residual * torch.randn(rows, generator=generator, dtype=torch.float64)
        for _ in range(3):  # once projects, again removes the rounding of the first
            r = r - basis @ (basis.T @ r)
        output = run(layers, ens.activation, x)[1][-1]
        targets.append(output - r.reshape(output.shape))
    return Task(x, torch.stack(targets), loss="mse", name="critical")


def _jacobian(layers: Network, activation: str, x: torch.Tensor) -> torch.Tensor:
    """``[N * d_out, P]`` over all parameters in flat order, row n * d_out + o."""
    flat = torch.cat([part.reshape(-1) for layer in layers for part in _parts(layer)])

    def output(theta: torch.Tensor) -> torch.Tensor:
        at, rebuilt = 0, []
        for layer in layers:
            pieces = []
            for part in _parts(layer):
                pieces.append(theta[at : at + part.numel()].reshape(part.shape))
                at += part.numel()
            bias = pieces[1] if len(pieces) > 1 else None
            rebuilt.append(Layer(pieces[0], layer.weight_state, bias, layer.bias_state))
        return run(rebuilt, activation, x)[1][-1].reshape(-1)

    jacobian: torch.Tensor = torch.autograd.functional.jacobian(  # type: ignore[no-untyped-call]
        output, flat.to(torch.float64), vectorize=True
    )
    return jacobian


def _parts(layer: Layer) -> list[torch.Tensor]:
    return [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
