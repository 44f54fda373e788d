"""Affine charts: a few coordinates in the parameter space of every network at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from edt import functional
from edt.ensemble import ModuleEnsemble
from edt.ensemble.kinds import as_networks
from edt.tasks.given import fitted, index_of, task_and_networks
from edt.training.progress import Meter

__all__ = ["Chart", "joined", "matched"]

#: Bytes of parameters evaluated in one call.
MEMORY = 16 * 2**20


def matched(
    task: Any, networks: Any, task_index: Any, device: str | None = None
) -> tuple[Any, Any, torch.Tensor]:
    """(task, networks, task index ``[B]``) in float64, checked to fit each other.

    Args:
        device: where they shall be; default: where the networks are.

    Raises:
        TypeError, ValueError: not a task, not an ensemble, or they do not fit.
    """
    task, networks = task_and_networks(task, networks)
    networks = networks.to(torch.float64, device=device)
    data = fitted(task, networks, networks.device)
    return data, networks, index_of(data, networks, task_index)


def joined(one: Any, other: Any, name: str) -> Any:
    """``one`` with the coordinates of both: what is trainable in either is trainable.

    Raises:
        TypeError: ``other`` (called ``name``) is no ensemble. ValueError: other widths, activation
            or biases.
    """
    as_networks(other, name)
    if isinstance(one, ModuleEnsemble) or isinstance(other, ModuleEnsemble):
        kinds = [type(ens).__name__ for ens in (one, other)]
        if kinds[0] != kinds[1] or not torch.equal(one.offsets, other.offsets):
            raise ValueError(
                f"{name} must hold networks of the same modules as networks, got {other!r} "
                f"against {one!r}"
            )
        return _both(one, other)
    for what in ("B", "activation", "has_bias"):
        if getattr(one, what) != getattr(other, what):
            raise ValueError(
                f"{name} must have the {what} of networks, {getattr(one, what)}, "
                f"got {getattr(other, what)}"
            )
    if not torch.equal(one.layer_widths, other.layer_widths):
        raise ValueError(
            f"{name} must have the widths of networks, network by network, got "
            f"{other.layer_widths.tolist()} against {one.layer_widths.tolist()}"
        )
    return _both(one, other)


def _both(one: Any, other: Any) -> Any:
    mine, theirs = one.state, other.state.to(one.device)
    if torch.equal(mine, theirs):
        return one
    both = torch.where((mine == 1) | (theirs == 1), 1, torch.maximum(mine, theirs))
    return one.with_state(both.to(torch.uint8))


class Chart:
    """``theta_b(c) = theta_b + sum_i c_i axis_i``, for every network b.

    Args:
        task: data, in float64 and on the networks' device.
        networks: the origins.
        axes: float64 ``[k, total]``, a direction of every network in each row.
        task_index: int64 ``[B]``.
    """

    def __init__(
        self, task: Any, networks: Any, axes: torch.Tensor, task_index: torch.Tensor
    ) -> None:
        self.task = task
        self.networks = networks
        self.axes = axes
        self.task_index = task_index
        self.lengths = (networks.offsets[1:] - networks.offsets[:-1]).to(networks.device)
        #: Network of each parameter, int64 ``[total]``.
        self.owner = torch.repeat_interleave(
            torch.arange(networks.B, device=networks.device), self.lengths
        )
        self._copies: tuple[int, Any, torch.Tensor] | None = None

    def parts(self, count: int) -> Iterator[slice]:
        """Runs of points that are handled together."""
        share = max(1, MEMORY // (8 * self.networks.total))
        for begin in range(0, count, share):
            yield slice(begin, min(begin + share, count))

    def points(self, at: torch.Tensor) -> torch.Tensor:
        """Parameters ``[K, total]`` at coordinates ``[K, B, k]``."""
        out: torch.Tensor = self.networks.theta.expand(at.shape[0], -1)
        at = at.to(self.networks.device)
        for i, axis in enumerate(self.axes):
            out = out + at[:, self.owner, i] * axis
        return out

    def copies(self, count: int) -> tuple[Any, torch.Tensor]:
        """The networks ``count`` times in a row (parameters included), and their task index."""
        if self._copies is None or self._copies[0] != count:
            again = torch.arange(self.networks.B).repeat(count)
            self._copies = count, self.networks.select(again), self.task_index[again]
        return self._copies[1:]

    def losses(self, at: torch.Tensor, progress: bool = False) -> torch.Tensor:
        """Losses float64 ``[K, B]`` at coordinates ``[K, B, k]``."""
        count, B = at.shape[0], self.networks.B
        out = torch.full((count, B), float("nan"), dtype=torch.float64)
        with Meter(progress, "losses", count * B) as meter:
            for part in self.parts(count):
                out[part] = self.losses_of(self.points(at[part]))
                done = part.stop * B
                meter.update(done, count * B - done, out[part].flatten(), " ")
        return out

    def losses_of(self, theta: torch.Tensor) -> torch.Tensor:
        """Losses float64 ``[K, B]`` of parameters ``[K, total]``, in one call."""
        copies, index = self.copies(theta.shape[0])
        found = functional.loss(copies, self.task, theta.reshape(-1), index)
        return found.detach().cpu().reshape(theta.shape[0], self.networks.B)
