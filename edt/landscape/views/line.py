"""The loss along lines through networks, all lines at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from edt.curvature.eigenpairs import ENDS
from edt.ensemble import Ensemble
from edt.ensemble.arrays import reals
from edt.errors import ShapeError, unknown_choice
from edt.files import expect, parsing, read, write
from edt.frames import Tabular
from edt.landscape.views.chart import Chart, joined, matched
from edt.landscape.views.directions import eigen_directions, random_directions
from edt.landscape.views.marked_networks import Marks, known_kind, marks_of
from edt.landscape.views.profile import profile
from edt.scalars import integer, number
from edt.training.structure import hidden_widths, pack, unpack

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ALONG", "LossLine", "loss_line", "named_direction"]

KIND = "loss-line"
ALONG = ("random", "lowest", "highest")
#: What one unit along each kind of direction is.
UNITS = {
    "random": "random direction (filter norms)",
    "lowest": "distance along the lowest eigenvector",
    "highest": "distance along the highest eigenvector",
    "given": "step along the given direction",
    "networks": "share of the way to the other network",
}


@dataclass
class LossLine(Tabular):
    """Losses of B networks along one line each, ``theta_b + t axis_b``.

    Attributes:
        networks: at t = 0, float64.
        axis: float64 flat ``[total]``.
        t: float64 ``[T]``.
        loss: float64 ``[T, B]``.
        kind: what the direction is: a key of `edt.landscape.views.line.UNITS`.
        marks: the networks on the line: t = 0, and t = 1 between networks.
        task_index: int64 ``[B]``.
        theta: float64 ``[T, total]``, where the other coordinates were minimised out, else None.
        section_grad: float64 ``[T, B]``, largest gradient entry off the line there, else None.
    """

    networks: Ensemble
    axis: torch.Tensor
    t: torch.Tensor
    loss: torch.Tensor
    kind: str
    marks: Marks
    task_index: torch.Tensor
    theta: torch.Tensor | None = None
    section_grad: torch.Tensor | None = None

    @property
    def unit(self) -> str:
        """What t counts, in words."""
        return UNITS[self.kind]

    def to_xarray(self) -> xr.Dataset:
        """``loss`` over (t, network), and ``section_grad`` where coordinates were minimised out."""
        import xarray as xr  # heavy, and rarely needed

        variables = {"loss": (("t", "network"), self.loss.numpy())}
        if self.section_grad is not None:
            variables["section_grad"] = (("t", "network"), self.section_grad.numpy())
        coords = {"t": self.t.numpy(), "network": np.arange(self.loss.shape[1])}
        return xr.Dataset(variables, coords=coords, attrs={"unit": self.unit})

    def to_pandas(self) -> pd.DataFrame:
        """One row a point: ``network``, ``widths``, ``t``, ``loss``."""
        count, B = self.loss.shape
        return pd.DataFrame(
            {
                "network": np.repeat(np.arange(B), count),
                "widths": np.repeat(np.array(hidden_widths(self.networks)), count),
                "t": np.tile(self.t.numpy(), B),
                "loss": self.loss.T.reshape(-1).numpy(),
            }
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file (whole, then renamed) and a readable JSON copy beside it."""
        tensors, structure = pack(self.networks)
        tensors |= {name: getattr(self, name) for name in ("axis", "t", "loss", "task_index")}
        for name in ("theta", "section_grad"):
            if getattr(self, name) is not None:
                tensors[name] = getattr(self, name)
        tensors |= self.marks.tensors()
        header = {"structure": structure, "kind_of_line": self.kind, "labels": self.marks.labels}
        write(path, KIND, tensors, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LossLine:
        """Read a file written by `save`.

        Raises:
            CheckpointError: missing, truncated, corrupted or another kind of file.
        """
        tensors, header = read(path, KIND)
        with parsing(path):
            networks = unpack(tensors, header["structure"])
            B, total, count = networks.B, networks.total, tensors["t"].numel()
            shapes = {"axis": (total,), "t": (count,), "loss": (count, B)}
            more = {"theta": (count, total), "section_grad": (count, B)}
            there = {name: shape for name, shape in more.items() if name in tensors}
            expect(tensors, torch.float64, shapes | there)
            expect(tensors, torch.int64, {"task_index": (B,)})
            return cls(
                networks=networks,
                kind=known_kind(header["kind_of_line"], UNITS),
                marks=Marks.from_tensors(header, tensors, B, 1),
                theta=tensors.get("theta"),
                section_grad=tensors.get("section_grad"),
                **{name: tensors[name] for name in ("axis", "t", "loss", "task_index")},
            )

    def __repr__(self) -> str:
        how = "" if self.theta is None else ", other coordinates minimised out"
        return f"LossLine({self.loss.shape[1]} networks, {self.loss.shape[0]} points{how})"


def loss_line(
    task: Any,
    networks: Ensemble,
    along: str | Ensemble | torch.Tensor = "random",
    *,
    at: Sequence[float] | torch.Tensor | None = None,
    minimise_rest: bool = False,
    tol: float = 1e-8,
    rounds: int = 10,
    seed: int = 0,
    task_index: Any = None,
    progress: bool = True,
) -> LossLine:
    """Loss of every network along a line: ``L_b(theta_b + t d_b)``.

    With ``minimise_rest`` the other coordinates are minimised out: the value at t is the least
    loss found over the parameters whose projection on the line is that of the point,
    ``min_v L_b(theta_b + t d_b + v)`` with ``v`` orthogonal to ``d_b``. That is the height of the
    valley, where the plain line shows its walls.

    Args:
        task: an `edt.Task`, ``(x, y)``, or a task over infinite data (`edt.population`).
        networks: where the lines start (not modified); float32 ones are converted.
        along: "random" (a Gaussian direction with the norms of the neurons, see
            `random_directions`), "lowest" or "highest" (unit eigenvector of the Hessian), another
            ensemble of the same widths (from ``networks`` at t = 0 to it at t = 1), or directions
            flat ``[total]``.
        at: the values of t; default 101 from -1 to 1 (121 from -0.25 to 1.25 between networks),
            with ``minimise_rest`` every fourth of them.
        minimise_rest: see above. Local minimisation (L-BFGS, then Newton), started from the line
            and from the neighbouring points' minimisers.
        tol: bound on the gradient off the line, with ``minimise_rest``.
        rounds: exchanges between neighbouring points, with ``minimise_rest``.
        seed: of random directions.
        task_index: int64 ``[B]``, default 0.
        progress: show a progress bar on a terminal.

    Returns:
        `LossLine`.

    Raises:
        TypeError, ValueError: an argument is wrong. KeyboardInterrupt: Ctrl-C.

    Example:
        >>> line = loss_line(task, ends.networks, "lowest")  # doctest: +SKIP
        >>> edt.plots.plot_line(line)  # doctest: +SKIP

    Reference: I. Goodfellow, O. Vinyals, A. Saxe, "Qualitatively characterizing neural network
    optimization problems", ICLR 2015; H. Li et al., NeurIPS 2018.
    """
    # Minimisation forms Hessians, on the CPU.
    place = "cpu" if minimise_rest else None
    task, networks, index = matched(task, networks, task_index, device=place)
    between = isinstance(along, Ensemble)
    marked, labels = [networks], ["network"]
    if between:
        assert isinstance(along, Ensemble)
        other = along.to(torch.float64, device=networks.device)
        networks = joined(networks, other, "along")
        other = joined(other, networks, "networks")
        axis, kind = (other.theta - networks.theta)[None], "networks"
        marked, labels = [networks, other], ["first", "second"]
    else:
        axis, kind = named_direction(task, networks, along, 1, seed, index)
    low, high = (-0.25, 1.25) if between else (-1.0, 1.0)
    # Steps that meet 0 and 1.
    count = 121 if between else 101
    t = _positions(at, low, high, (count - 1) // 4 + 1 if minimise_rest else count)
    chart = Chart(task, networks, axis, index)
    where = t[:, None, None].expand(-1, networks.B, 1)
    marks = marks_of(
        labels,
        marked,
        [torch.full((networks.B, 1), float(k)) for k in range(len(marked))],
        task,
        index,
    )
    line = LossLine(networks, axis[0], t, torch.empty(0), kind, marks, index)
    if minimise_rest:
        order = torch.arange(t.numel())
        beside = torch.stack([order - 1, order + 1], 1)
        beside[-1, 1] = -1
        found = profile(chart, where, beside, tol=number("tol", tol, strict=True),
                        rounds=integer("rounds", rounds, 0), progress=progress)  # fmt: skip
        line.loss, line.theta, line.section_grad = found.loss, found.theta, found.grad_max
    else:
        line.loss = chart.losses(where, progress)
    return line


def named_direction(
    task: Any, networks: Ensemble, along: Any, count: int, seed: int, index: torch.Tensor
) -> tuple[torch.Tensor, str]:
    """(directions float64 ``[count, total]``, their kind) for what a caller asked for.

    Raises:
        TypeError, ValueError: neither a name of `ALONG` nor directions of the right shape.
    """
    if isinstance(along, str):
        along = {letters: word for word, letters in ENDS.items()}.get(along, along)
        if along not in ALONG:
            raise unknown_choice("along", along, ALONG)
        if along == "random":
            return random_directions(networks, count, seed=seed), along
        return eigen_directions(task, networks, count, which=along, task_index=index)[0], along
    if not isinstance(along, torch.Tensor):
        raise TypeError(
            f"along must be one of {', '.join(ALONG)}, an edt.Ensemble or a tensor of directions, "
            f"got {type(along).__name__}"
        )
    given = along.detach().to(networks.device, torch.float64)
    given = given[None] if given.dim() == 1 else given
    if tuple(given.shape) != (count, networks.total):
        wanted = f"[{networks.total}]" if count == 1 else f"[{count}, {networks.total}]"
        raise ShapeError(f"along must have shape {wanted}, got {list(along.shape)}")
    if not bool(torch.isfinite(given).all()):
        raise ValueError("along must hold finite numbers")
    return given * (networks.state != 0), "given"


def _positions(at: Any, low: float, high: float, count: int) -> torch.Tensor:
    """Ascending positions float64 ``[T]``."""
    if at is None:
        return torch.linspace(low, high, count, dtype=torch.float64)
    out = reals("at", at).flatten()
    if not out.numel() or not bool(torch.isfinite(out).all()) or bool((out.diff() <= 0.0).any()):
        raise ValueError("at must hold ascending, finite numbers, at least one")
    return out
