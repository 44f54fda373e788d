"""The loss on a chart with all other coordinates minimised out: its profile."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.ensemble.masks import TRAINABLE
from edt.landscape.views.chart import Chart
from edt.objectives import Section
from edt.objectives.coordinates import segment_sum
from edt.objectives.noise import loss_noise
from edt.tasks.given import objective_of
from edt.training.progress import Meter
from edt.training.rounds import descend

__all__ = ["Profile", "profile"]


@dataclass
class Profile:
    """Where the other coordinates went.

    Attributes:
        theta: float64 ``[K, total]``, the minimisers.
        loss: float64 ``[K, B]``.
        grad_max: float64 ``[K, B]``, largest entry of the gradient along the section.
    """

    theta: torch.Tensor
    loss: torch.Tensor
    grad_max: torch.Tensor


def profile(
    chart: Chart,
    at: torch.Tensor,
    neighbours: torch.Tensor,
    *,
    tol: float,
    rounds: int,
    progress: bool,
) -> Profile:
    """Minimise the loss at every point of a chart over the orthogonal complement of its axes.

    Every point starts from the chart itself. Then points look at their neighbours: one that has a
    lower neighbour is minimised again from that neighbour's minimiser, moved over along the chart,
    and keeps what is lower, for ``rounds`` rounds or until there is nothing new to try. A branch
    that comes down far away is so followed to where it is the lowest.

    Args:
        chart: of B networks with k axes.
        at: float64 ``[K, B, k]``.
        neighbours: int64 ``[K, n]``, numbers of neighbouring points, -1 for none.
        tol: bound on the gradient along the section.
        rounds: see above.
        progress: show a progress bar on a terminal.

    Returns:
        `Profile`.
    """
    frame = _orthonormal(chart)
    count, B = at.shape[0], chart.networks.B
    out = Profile(
        theta=chart.points(at).clone(),
        loss=torch.full((count, B), float("nan"), dtype=torch.float64),
        grad_max=torch.full((count, B), float("nan"), dtype=torch.float64),
    )
    everyone = torch.ones(count, B, dtype=torch.bool)
    tried = torch.full((count, B), float("inf"), dtype=torch.float64)
    with Meter(progress, "profile", count * B) as meter:
        _descend(chart, out, out.theta, everyone, frame, tol, meter)
        scale = objective_of(chart.task, chart.networks, chart.task_index).scale
        for _ in range(rounds):
            lowest, start = _lowest_neighbours(chart, at, out, neighbours)
            # Differences within the rounding, or within what minimisation leaves, are none.
            margin = loss_noise(out.loss, scale) + 1e-6 * out.loss
            chosen = (lowest < out.loss - margin) & (lowest < tried - margin)
            if not bool(chosen.any()):
                break
            tried = torch.where(chosen, lowest, tried)
            _descend(chart, out, start, chosen, frame, tol, meter)
    return out


def _descend(
    chart: Chart,
    out: Profile,
    start: torch.Tensor,
    chosen: torch.Tensor,
    frame: torch.Tensor,
    tol: float,
    meter: Meter,
) -> None:
    """Minimise the chosen ones (bool ``[K, B]``) from ``start`` and enter what is lower."""
    B, total = chart.networks.B, chart.networks.total
    rows = torch.nonzero(chosen.any(1)).flatten()
    for part in chart.parts(rows.numel()):
        points = rows[part]
        copies, index = chart.copies(points.numel())
        section = Section(objective_of(chart.task, copies, index), frame.repeat(1, points.numel()))
        theta = start[points].reshape(-1).clone()
        work = torch.nonzero(chosen[points].flatten()).flatten()
        ended = descend(section, theta, meter, tol=tol, chosen=work)
        loss = ended.loss.view(-1, B)
        better = chosen[points] & ~(loss >= out.loss[points])
        out.loss[points] = torch.where(better, loss, out.loss[points])
        slope = ended.grad_max.view(-1, B)
        out.grad_max[points] = torch.where(better, slope, out.grad_max[points])
        wide = better[:, chart.owner]
        out.theta[points] = torch.where(wide, ended.theta.view(-1, total), out.theta[points])


def _lowest_neighbours(
    chart: Chart, at: torch.Tensor, out: Profile, neighbours: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss ``[K, B]`` of each point's lowest neighbour, and the start ``[K, total]`` it lends."""
    lowest = torch.full_like(out.loss, float("inf"))
    start = out.theta.clone()
    for side in range(neighbours.shape[1]):
        here = torch.nonzero(neighbours[:, side] >= 0).flatten()
        there = neighbours[here, side]
        lower = out.loss[there] < lowest[here]
        lowest[here] = torch.where(lower, out.loss[there], lowest[here])
        moved = out.theta[there] + chart.points(at[here]) - chart.points(at[there])
        wide = lower[:, chart.owner]
        start[here] = torch.where(wide, moved, start[here])
    return lowest, start


def _orthonormal(chart: Chart) -> torch.Tensor:
    """The trainable part of the axes, orthonormal within each network, float64 ``[k, total]``."""
    free = chart.networks.state == TRAINABLE
    rows: list[torch.Tensor] = []
    for axis in chart.axes * free:
        row = axis.clone()
        before = torch.sqrt(segment_sum(row * row, chart.lengths))
        for _ in range(2):
            for other in rows:
                along = segment_sum(row * other, chart.lengths)
                row = row - along[chart.owner] * other
        length = torch.sqrt(segment_sum(row * row, chart.lengths))
        # A second axis along the first holds nothing more fixed.
        lost = ~(length > 1e-10 * before)
        unit = torch.where(lost, 0.0, 1.0 / length.masked_fill(lost, 1.0))
        rows.append(unit[chart.owner] * row)
    return torch.stack(rows)
