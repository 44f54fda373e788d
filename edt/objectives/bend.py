"""How the outputs of networks bend along a step, pulled back to the parameters.

For a step p the second derivative of the outputs, ``f''_n = d^2 f(x_n; theta + s p) / ds^2`` at
s = 0, says how far the linear model behind a Gauss-Newton or Newton step is off. What an
optimiser needs of it is the vector

    b = sum_n c_n J_n^T A_n f''_n,      A_n = d^2 l_n / df^2.

f'' comes from three evaluations of the outputs (central differences, error O(h^2)), b from one pass
backwards. No tensor of third derivatives, no Jacobian.
"""

from __future__ import annotations

import torch

from edt.objectives.coordinates import repeated
from edt.ops.cpu import CpuCalls
from edt.ops.losses import LOSSES

__all__ = ["bend"]

#: Bytes of outputs held at once.
MEMORY = 64 * 2**20


def bend(
    calls: CpuCalls,
    theta: torch.Tensor,
    step: torch.Tensor,
    reach: torch.Tensor,
    chosen: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """Write b of the chosen networks into ``out`` (flat ``[total]``).

    Args:
        calls: of the networks on their data.
        theta, step: flat.
        reach: float64 ``[k]``, h: outputs are taken at ``theta +- h p``.
        chosen: int64 ``[k]``.
        out: flat; entries of other networks are left alone.
    """
    problem = calls.problem
    row = problem.samples * problem.d_out * 8
    share = max(1, MEMORY // row)
    for begin in range(0, chosen.numel(), share):
        part = slice(begin, begin + share)
        _share(calls, theta, step, reach[part], chosen[part], out)


def _share(
    calls: CpuCalls,
    theta: torch.Tensor,
    step: torch.Tensor,
    reach: torch.Tensor,
    chosen: torch.Tensor,
    out: torch.Tensor,
) -> None:
    problem = calls.problem
    active = torch.zeros(problem.networks, dtype=torch.uint8)
    active[chosen] = 1
    width = torch.zeros(problem.networks, dtype=torch.float64)
    width[chosen] = reach
    move = repeated(width, problem.layer_sizes.sum(1)) * step

    def outputs(point: torch.Tensor) -> torch.Tensor:
        # Only the rows of active networks are written to, hence backed by memory.
        found = point.new_empty(problem.networks, problem.samples, problem.d_out)
        calls.predict(point, found, active)
        return found[chosen]

    middle, ahead, behind = outputs(theta), outputs(theta + move), outputs(theta - move)
    h = reach[:, None, None]
    second = ((ahead - middle) - (middle - behind)) / (h * h)
    tasks = torch.tensor([problem.task_of(b) for b in chosen.tolist()])
    y = torch.stack([problem.targets(t) for t in tasks.tolist()])
    weight = problem.coef[tasks][..., None]
    pull = middle.new_empty(problem.networks, problem.samples, problem.d_out)
    pull[chosen] = weight * LOSSES[problem.loss].curve(middle, y, second)
    calls.vjp(theta, pull, out, active)
