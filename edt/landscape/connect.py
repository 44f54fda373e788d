"""Mode connectivity: loss barriers between networks on straight and on bent paths."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from edt.ensemble import ModuleEnsemble
from edt.ensemble.kinds import Networks
from edt.errors import unknown_choice
from edt.files import expect, parsing, read, write
from edt.frames import Tabular
from edt.landscape.matching import align_networks, relative_distances
from edt.landscape.stages import hidden_widths as hidden_units
from edt.landscape.views.chart import Chart, joined, matched
from edt.landscape.views.directions import random_directions
from edt.objectives.noise import loss_noise
from edt.objectives.path import CURVES, PathObjective, blend, nodes_of
from edt.scalars import integer, number
from edt.tasks.given import objective_of
from edt.training.progress import Meter
from edt.training.rounds import descend
from edt.training.structure import hidden_widths, pack, unpack

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Connection", "connect", "equal_pairs"]

KIND = "connection"
#: Points of a search around the highest one, and how often it is narrowed.
ZOOM_POINTS, ZOOMS = 21, 2
#: Bends start this far off the midpoint, in units of the neurons' norms: the midpoint of mirror
#: images is a saddle of the mean loss.
ASIDE = 0.01
_TENSORS = (
    "middle",
    "t",
    "straight",
    "barrier_straight",
    "distance_before",
    "distance_after",
    "task_index",
)
_MAYBE = ("unaligned", "barrier_unaligned", "bent", "barrier_bent", "is_bent")


@dataclass
class Connection(Tabular):
    """Paths between B pairs of networks.

    The barrier of a path is ``max_t L(p(t)) - (1 - t) L(p(0)) - t L(p(1))``, at least 0.

    Attributes:
        first, second: the ends, float64; ``second`` after alignment.
        curve: "chain", "bezier" or None (straight paths only).
        middle: float64 flat ``[total]``, the bends (midpoints of straight paths).
        t: float64 ``[T]``, positions from 0 to 1.
        straight: float64 ``[T, B]``, loss on the straight path.
        barrier_straight: float64 ``[B]``.
        unaligned, barrier_unaligned: the same before alignment; None without.
        bent, barrier_bent: the same on the bent path; None without.
        is_bent: bool ``[B]``, False where no bend was found that lowers the barrier: the path is
            then the straight one.
        distance_before, distance_after: float64 ``[B]``, of the ends, relative to the larger norm,
            before and after alignment.
        task_index: int64 ``[B]``.
    """

    first: Networks
    second: Networks
    curve: str | None
    middle: torch.Tensor
    t: torch.Tensor
    straight: torch.Tensor
    barrier_straight: torch.Tensor
    distance_before: torch.Tensor
    distance_after: torch.Tensor
    task_index: torch.Tensor
    unaligned: torch.Tensor | None = None
    barrier_unaligned: torch.Tensor | None = None
    bent: torch.Tensor | None = None
    barrier_bent: torch.Tensor | None = None
    is_bent: torch.Tensor | None = None

    def to_pandas(self) -> pd.DataFrame:
        """One row a pair: widths, losses of the ends, distances and barriers."""
        columns: dict[str, Any] = {
            "pair": range(self.first.B),
            "widths": hidden_widths(self.first),
            "loss_first": self.straight[0].tolist(),
            "loss_second": self.straight[-1].tolist(),
            "distance_before": self.distance_before.tolist(),
            "distance_after": self.distance_after.tolist(),
        }
        for name in ("barrier_unaligned", "barrier_straight", "barrier_bent", "is_bent"):
            value = getattr(self, name)
            if value is not None:
                columns[name] = value.tolist()
        return pd.DataFrame(columns)

    def to_xarray(self) -> xr.Dataset:
        """Losses over (t, pair) on every kind of path."""
        import xarray as xr  # heavy, and rarely needed

        variables = {
            name: (("t", "pair"), getattr(self, name).numpy())
            for name in ("unaligned", "straight", "bent")
            if getattr(self, name) is not None
        }
        coords = {"t": self.t.numpy(), "pair": np.arange(self.first.B)}
        return xr.Dataset(variables, coords=coords)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file (whole, then renamed) and a readable JSON copy beside it."""
        tensors: dict[str, torch.Tensor] = {}
        header: dict[str, Any] = {"curve": self.curve}
        for name in ("first", "second"):
            held, structure = pack(getattr(self, name))
            tensors |= {f"{name}.{key}": value for key, value in held.items()}
            header[name] = structure
        tensors |= {name: getattr(self, name) for name in _TENSORS}
        tensors |= {name: getattr(self, name) for name in _MAYBE if getattr(self, name) is not None}
        write(path, KIND, tensors, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Connection:
        """Read a file written by `save`.

        Raises:
            CheckpointError: missing, truncated, corrupted or another kind of file.
        """
        tensors, header = read(path, KIND)
        with parsing(path):
            ends: dict[str, Any] = {}
            for name in ("first", "second"):
                mine = {
                    key.removeprefix(f"{name}."): value
                    for key, value in tensors.items()
                    if key.startswith(f"{name}.")
                }
                ends[name] = unpack(mine, header[name])
            _check(tensors, ends["first"], tensors["t"].numel())
            if ends["second"].B != ends["first"].B:
                raise ValueError("the ends must hold equally many networks")
            values: dict[str, Any] = {name: tensors[name] for name in _TENSORS}
            values |= {name: tensors.get(name) for name in _MAYBE}
            return cls(curve=header["curve"], **ends, **values)

    def __repr__(self) -> str:
        text = f"Connection({self.first.B} pairs; largest barrier "
        text += f"{float(self.barrier_straight.max()):.2e} straight"
        if self.barrier_bent is not None:
            text += f", {float(self.barrier_bent.max()):.2e} bent"
        return text + ")"


def _check(tensors: dict[str, torch.Tensor], first: Networks, count: int) -> None:
    """Insist on the tensors of a `Connection` of so many points."""
    shapes: dict[str, tuple[int, ...]] = {"middle": (first.total,), "t": (count,)}
    shapes |= dict.fromkeys(("straight", "unaligned", "bent"), (count, first.B))
    paired = ("barrier_straight", "distance_before", "distance_after")
    shapes |= dict.fromkeys((*paired, "barrier_unaligned", "barrier_bent"), (first.B,))
    there = {name: shape for name, shape in shapes.items() if name in tensors or name in _TENSORS}
    expect(tensors, torch.float64, there)
    expect(tensors, torch.int64, {"task_index": (first.B,)})
    if "is_bent" in tensors:
        expect(tensors, torch.bool, {"is_bent": (first.B,)})


def equal_pairs(networks: Networks) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs of networks of equal widths, int64 ``[K]`` each, the first before the second.

    Example:
        >>> one, other = equal_pairs(edt.Ensemble.init([2, 3], range(2), d_in=2, d_out=1))
        >>> one.tolist(), other.tolist()
        ([0, 2], [1, 3])
    """
    if isinstance(networks, ModuleEnsemble):
        rows: list[Any] = [id(networks.architecture(b)) for b in range(networks.B)]
    else:
        rows = [tuple(row) for row in networks.layer_widths.tolist()]
    pairs = [(a, b) for a in range(len(rows)) for b in range(a + 1, len(rows))
             if rows[a] == rows[b]]  # fmt: skip
    table = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return table[:, 0].clone(), table[:, 1].clone()


def connect(
    task: Any,
    first: Networks,
    second: Networks,
    *,
    align: bool = True,
    curve: str | None = "chain",
    points: int = 51,
    nodes: int = 20,
    tol: float = 1e-7,
    newton_steps: int = 100,
    lbfgs_steps: int = 500,
    task_index: Any = None,
    progress: bool = True,
) -> Connection:
    """Loss barriers between the networks of B pairs, on straight and on bent paths.

    The second network of each pair is first moved by permutations and the activation's symmetries
    to where it resembles the first most (`align_networks`). The straight path's barrier is then
    ``max_t L((1-t) theta_1 + t theta_2) - (1-t) L(theta_1) - t L(theta_2)``. The bent path passes
    or heads for one more point, found by minimising the mean loss along the path
    (`edt.objectives.path.PathObjective`: Newton on its exact Hessian; L-BFGS and conjugate
    gradients above 1,000 coordinates). The mean says little about the maximum, so a bend that
    raises the barrier is dropped for the straight path. All pairs are worked on at once.

    Args:
        task: an `edt.Task`, ``(x, y)``, or a task over infinite data (`edt.population`).
        first, second: B networks each, of the same widths pair by pair (see `equal_pairs`).
        align: see above; without, ``second`` is taken as it is. Defined for chains, those of
            convolutions and linear layers among them (`edt.landscape.stages`): give False for
            networks of other modules.
        curve: "chain" (two straight pieces), "bezier" (quadratic) or None (no bent path).
        points: evaluations along a path, evenly spaced; the highest is then refined between its
            neighbours.
        nodes: of the quadrature of the mean loss, an even number.
        tol: bound on the mean loss's gradient with respect to the bend.
        newton_steps, lbfgs_steps: iterations for the bend.
        task_index: int64 ``[B]``, default 0.
        progress: show a progress bar on a terminal.

    Returns:
        `Connection`.

    Raises:
        TypeError, ValueError: an argument is wrong. KeyboardInterrupt: Ctrl-C.

    Example:
        >>> one, other = edt.landscape.equal_pairs(ends.networks)  # doctest: +SKIP
        >>> paths = connect(task, ends.networks.select(one), ends.networks.select(other))
        ... # doctest: +SKIP
        >>> paths.to_pandas()[["barrier_straight", "barrier_bent"]]  # doctest: +SKIP

    Reference: J. Frankle et al., "Linear mode connectivity and the lottery ticket hypothesis",
    ICML 2020; R. Entezari et al., "The role of permutation invariance in linear mode connectivity
    of neural networks", ICLR 2022; T. Garipov et al., NeurIPS 2018.
    """
    if curve is not None and curve not in CURVES:
        raise unknown_choice("curve", str(curve), [*CURVES, "None"])
    points = integer("points", points, 3)
    nodes = integer("nodes", nodes, 2)
    if nodes % 2:
        raise ValueError(f"nodes must be even, got {nodes}")
    tol = number("tol", tol, strict=True)
    newton_steps = integer("newton_steps", newton_steps, 0)
    lbfgs_steps = integer("lbfgs_steps", lbfgs_steps, 0)
    task, first, index = matched(task, first, task_index, device="cpu")
    # Raises where the two do not fit.
    joined(first, second, "second")
    second = second.to(torch.float64, device="cpu")
    apart = relative_distances(first, second.theta, first.theta)
    moved = None
    if align:
        try:
            hidden_units(first, "first")
        except TypeError as error:
            raise TypeError(f"{error} (align=False takes networks as they are)") from None
        moved = align_networks(second, first)
    t = torch.linspace(0.0, 1.0, points, dtype=torch.float64)
    before: tuple[torch.Tensor, torch.Tensor] | None = None
    if moved is not None:
        before = _Paths(task, first, second, index).along(None, t)
        second = moved.networks
    paths = _Paths(task, first, second, index)
    straight, barrier = paths.along(None, t)
    out = Connection(
        first=first,
        second=second,
        curve=curve,
        middle=paths.midpoint.clone(),
        t=t,
        straight=straight,
        barrier_straight=barrier,
        distance_before=apart,
        distance_after=apart if moved is None else moved.after,
        task_index=index,
    )
    if before is not None:
        out.unaligned, out.barrier_unaligned = before
    if curve is not None:
        bends = paths.bends(curve, nodes, tol, newton_steps, lbfgs_steps, progress)
        bent, lower = paths.along((curve, bends), t)
        # Differences within the rounding of the losses are none.
        out.is_bent = lower < barrier - paths.noise(straight.amax(0))
        wide = out.is_bent[paths.chart.owner]
        out.middle = torch.where(wide, bends, out.middle)
        out.bent = torch.where(out.is_bent, bent, straight)
        out.barrier_bent = torch.where(out.is_bent, lower, barrier)
    return out


class _Paths:
    """Paths between the networks of B pairs."""

    def __init__(self, task: Any, first: Networks, second: Networks, index: torch.Tensor) -> None:
        both = joined(first, second, "second")
        self.ends = first.theta, second.theta
        self.midpoint = 0.5 * (first.theta + second.theta)
        self.chart = Chart(task, both, torch.zeros(0, both.total), index)
        self.index = index

    def along(
        self, bend: tuple[str, torch.Tensor] | None, t: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(losses ``[T, B]`` at t, barriers ``[B]``); straight without a bend."""

        def losses(at: torch.Tensor) -> torch.Tensor:
            rows = [self._losses(bend, at[part]) for part in self.chart.parts(at.shape[0])]
            return torch.cat(rows)

        wide = t[:, None].expand(-1, self.chart.networks.B)
        found = losses(wide)
        return found, _barrier(losses, wide, found)

    def _losses(self, bend: tuple[str, torch.Tensor] | None, at: torch.Tensor) -> torch.Tensor:
        """Losses ``[K, B]`` at ``[K, B]`` positions."""
        curve, middle = ("chain", self.midpoint) if bend is None else bend
        factors = (1.0 - at, None, at) if bend is None else blend(curve, at)
        theta = torch.zeros(at.shape[0], self.midpoint.numel(), dtype=torch.float64)
        for factor, place in zip(factors, (self.ends[0], middle, self.ends[1]), strict=True):
            if factor is not None:
                share = factor[:, self.chart.owner]
                theta = theta + share * place
        return self.chart.losses_of(theta)

    def noise(self, loss: torch.Tensor) -> torch.Tensor:
        """Rounding error to expect in losses ``[B]``."""
        chart = self.chart
        return loss_noise(loss, objective_of(chart.task, chart.networks, self.index).scale)

    def bends(
        self,
        curve: str,
        nodes: int,
        tol: float,
        newton_steps: int,
        lbfgs_steps: int,
        progress: bool,
    ) -> torch.Tensor:
        """Bends of least mean loss found from the midpoints, flat ``[total]``."""
        ens = self.chart.networks
        at, weights = nodes_of(nodes)
        again = torch.arange(ens.B).repeat(nodes)
        points = objective_of(self.chart.task, ens.select(again), self.index[again])
        objective = PathObjective(points, *self.ends, curve, at, weights)
        with Meter(progress, "bends", ens.B) as meter:
            ended = descend(
                objective,
                self.midpoint + ASIDE * random_directions(ens)[0],
                meter,
                tol=tol,
                newton_steps=newton_steps,
                lbfgs_steps=lbfgs_steps,
            )
        return ended.theta


def _barrier(
    losses: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, found: torch.Tensor
) -> torch.Tensor:
    """``max_t L(t) - (1-t) L(0) - t L(1)``, the highest point refined between its neighbours."""
    low, high = found[0], found[-1]

    def above(t: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        excess = loss - (1.0 - t) * low - t * high
        # The ends themselves: what rounding leaves there is no barrier.
        return excess.masked_fill((t == 0.0) | (t == 1.0), 0.0)

    excess = above(at, found)
    best = excess.amax(0)
    for _ in range(ZOOMS):
        place = excess.argmax(0)
        left = at.gather(0, (place - 1).clamp(min=0)[None])
        right = at.gather(0, (place + 1).clamp(max=at.shape[0] - 1)[None])
        steps = torch.linspace(0.0, 1.0, ZOOM_POINTS, dtype=torch.float64)[:, None]
        at = left * (1.0 - steps) + right * steps
        excess = above(at, losses(at))
        best = torch.maximum(best, excess.amax(0))
    return best.clamp(min=0.0)
