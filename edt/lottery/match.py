"""The matched ticket: the neurons of a trained student that play the parts of the teacher's.

A student that is wider than its teacher and reaches zero loss holds every neuron of the teacher,
possibly in several copies, besides neurons that cancel or vanish (Simsek et al. 2021). Neurons are
compared as functions on the data, so that no symmetry of the activation matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from edt.ensemble import ACTIVATIONS, Ensemble
from edt.ensemble.activations import activation_module
from edt.ensemble.kinds import chains
from edt.errors import ShapeError
from edt.tasks import Task
from edt.tasks.given import task_and_networks

#: Entries of the neurons' outputs held at a time (8 bytes each).
_BLOCK = 1 << 23


@dataclass(frozen=True)
class Match:
    """Which student neuron plays which teacher neuron.

    Attributes:
        neurons: int64 ``[B, r]``, the student neuron for each teacher neuron.
        error: float64 ``[B, r]``, ``|f_j - g_i|^2 / |g_i|^2`` of that pair, their outputs over
            the data centred: 0 where the student neuron is the teacher's.
        mask: bool ``[B, m]``, True for the neurons named.
    """

    neurons: torch.Tensor
    error: torch.Tensor
    mask: torch.Tensor


def match_teacher(
    task: Task, networks: Ensemble, teacher: Ensemble, task_index: torch.Tensor
) -> Match:
    """Match the neurons of trained students with their teachers', one to one.

    The r pairs (student neuron j, teacher neuron i) are those with the least sum of
    ``|a_j s(w_j.x + b_j) - a_i s(w_i.x + b_i)|^2 / |a_i s(w_i.x + b_i)|^2``, norms over the
    centred samples and outputs, a the output weights.

    Args:
        task: the data; the inputs of each target are used.
        networks: B students of one width m, one hidden layer.
        teacher: T teachers of one width r <= m, one hidden layer.
        task_index: int64 ``[B]``, the teacher of each student.

    Returns:
        `Match`.

    Raises:
        ShapeError: another depth, several widths, or m < r.

    Reference: H. W. Kuhn, Naval Research Logistics 2 (1955) 83 (the assignment).
    """
    from scipy.optimize import linear_sum_assignment  # heavy, and rarely needed

    task, networks = task_and_networks(task, networks)
    m, r = _width("networks", networks), _width("teacher", teacher)
    if m < r:
        raise ShapeError(f"networks must be at least as wide as the teacher ({r}), got {m}")
    cost = match_costs(task, networks, teacher, task_index)
    neurons = torch.empty(networks.B, r, dtype=torch.int64)
    for b, matrix in enumerate(cost.numpy()):
        rows, columns = linear_sum_assignment(matrix)
        neurons[b, torch.from_numpy(columns)] = torch.from_numpy(rows)
    error = cost.gather(1, neurons[:, None, :])[:, 0]
    mask = torch.zeros(networks.B, m, dtype=torch.bool).scatter_(1, neurons, True)
    return Match(neurons, error, mask)


def match_costs(
    task: Task, networks: Ensemble, teacher: Ensemble, task_index: torch.Tensor
) -> torch.Tensor:
    """Relative squared distance of every student neuron from every teacher neuron.

    Args:
        task, networks, teacher, task_index: as in `match_teacher`.

    Returns:
        float64 ``[B, m, r]``; finite (a diverged neuron costs the largest float).
    """
    task, networks = task_and_networks(task, networks)
    m = _width("networks", networks)
    x = task.x.to(torch.float64)
    step = max(1, _BLOCK // max(m * task.N, 1))
    parts = []
    reference = [
        _features(teacher, torch.tensor([t]), x if x.dim() == 2 else x[t]) for t in range(teacher.B)
    ]
    for start in range(0, networks.B, step):
        index = torch.arange(start, min(start + step, networks.B))
        for t in range(teacher.B):
            own = index[task_index[index] == t]
            if not own.numel():
                continue
            hidden, out = _features(networks, own, x if x.dim() == 2 else x[t])
            other, target = reference[t][0][0], reference[t][1][0]
            # |a h - c g|^2 summed over outputs = |a|^2|h|^2 - 2 (a.c)(h.g) + |c|^2|g|^2.
            square = hidden.square().sum(2) * out.square().sum(1)
            cross = (hidden @ other.T) * torch.einsum("boj,oi->bji", out, target)
            size = other.square().sum(1) * target.square().sum(0)
            cost = (square[:, :, None] - 2.0 * cross + size) / size.clamp_min(1e-300)
            parts.append((own, cost.clamp_min(0.0)))
    cost = torch.empty(networks.B, m, _width("teacher", teacher), dtype=torch.float64)
    for own, part in parts:
        cost[own] = part
    return torch.nan_to_num(cost, nan=torch.finfo(torch.float64).max)


def _features(
    ens: Ensemble, index: torch.Tensor, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Centred activations ``[B, h, N]`` and output weights ``[B, d_out, h]`` of some networks."""
    h, d_in, d_out = _width("networks", ens), ens.d_in, ens.d_out
    flat = ens.theta.detach().to(torch.float64).reshape(ens.B, -1)[index]
    at = h * d_in
    z = flat[:, :at].reshape(-1, h, d_in) @ x.T
    if ens.has_bias:
        z = z + flat[:, at : at + h, None]
        at += h
    hidden: torch.Tensor = activation_module(ens.activation)(z)
    out = flat[:, at : at + h * d_out].reshape(-1, d_out, h)
    return hidden - hidden.mean(2, keepdim=True), out


def _width(name: str, ens: Ensemble) -> int:
    rows = chains(ens, "a match of neurons", name).layer_widths
    if rows.shape[1] != 3 or bool((rows != rows[0]).any()):
        raise ShapeError(f"{name} must have one hidden layer and one width, got {ens!r}")
    return int(rows[0, 1])


def neuron_distance(networks: Ensemble, others: Ensemble, neurons: torch.Tensor) -> torch.Tensor:
    """How far a ticket's neurons end from where they ended in another network.

    ``min |theta - theta'| / |theta'|`` over the permutations of the ticket's neurons among
    themselves and, for odd activations, the sign of each; theta are the input weights, biases and
    output weights of the ticket's neurons.

    Args:
        networks, others: B networks each, of one width, one hidden layer.
        neurons: int64 ``[B, r]``, the ticket's neurons.

    Returns:
        float64 ``[B]``.
    """
    from scipy.optimize import linear_sum_assignment  # heavy, and rarely needed

    mine, theirs = _vectors(networks, neurons), _vectors(others, neurons)
    gap = (mine[:, :, None] - theirs[:, None]).square().sum(3)
    if ACTIVATIONS[networks.activation].symmetry.parity == "odd":
        gap = torch.minimum(gap, (mine[:, :, None] + theirs[:, None]).square().sum(3))
    gap = torch.nan_to_num(gap, nan=torch.finfo(torch.float64).max)
    total = np.empty(networks.B)
    for b, matrix in enumerate(gap.numpy()):
        rows, columns = linear_sum_assignment(matrix)
        total[b] = matrix[rows, columns].sum()
    size = theirs.square().sum((1, 2)).clamp_min(1e-300)
    return torch.sqrt(torch.from_numpy(total) / size)


def _vectors(ens: Ensemble, neurons: torch.Tensor) -> torch.Tensor:
    """Input weights, bias and output weights of the neurons, ``[B, r, d_in + 1 + d_out]``."""
    h, d_in, d_out = _width("networks", ens), ens.d_in, ens.d_out
    flat = ens.theta.detach().to(torch.float64).reshape(ens.B, -1)
    parts = [flat[:, : h * d_in].reshape(-1, h, d_in)]
    at = h * d_in
    if ens.has_bias:
        parts.append(flat[:, at : at + h, None])
        at += h
    parts.append(flat[:, at : at + h * d_out].reshape(-1, d_out, h).transpose(1, 2))
    rows = torch.cat(parts, dim=2)
    return rows.gather(1, neurons[:, :, None].expand(-1, -1, rows.shape[2]))
