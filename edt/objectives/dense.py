"""Dense Hessians of chosen networks, in memory LAPACK need not copy."""

from __future__ import annotations

import torch

from edt.objectives.protocol import Objective

__all__ = ["hessians"]


def hessians(
    objective: Objective, theta: torch.Tensor, chosen: torch.Tensor, *, ggn: bool = False
) -> list[torch.Tensor]:
    """Exact Hessians ``[P_b, P_b]`` of the chosen networks, each 64-byte aligned.

    Args:
        objective: of B networks.
        theta: flat ``[total]``.
        chosen: int64 ``[b]``, distinct networks.
        ggn: their Gauss-Newton parts instead.

    Returns:
        list of ``[P_b, P_b]``, views of one buffer.
    """
    step = 64 // theta.element_size()
    sizes = objective.coords[chosen]
    rooms = (sizes * sizes + step - 1) // step * step
    ends = torch.cumsum(rooms, 0)
    starts = torch.zeros(objective.B + 1, dtype=torch.int64)
    starts[chosen] = ends - rooms
    starts[-1] = ends[-1]
    buffer = torch.empty(int(ends[-1]), dtype=theta.dtype)
    active = torch.zeros(objective.B, dtype=torch.uint8)
    active[chosen] = 1
    objective.hessian(theta, buffer, starts, active, ggn=ggn)
    return [
        buffer[start : start + n * n].view(n, n)
        for start, n in zip(starts[chosen].tolist(), sizes.tolist(), strict=True)
    ]
