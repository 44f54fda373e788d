"""The loss on planes through networks, all planes at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.ensemble.arrays import reals
from edt.errors import ShapeError
from edt.files import expect, parsing, read, write
from edt.frames import Tabular
from edt.landscape.views.chart import Chart, joined, matched
from edt.landscape.views.directions import path_directions
from edt.landscape.views.line import named_direction
from edt.landscape.views.marked_networks import Marks, known_kind, marks_of
from edt.landscape.views.profile import profile
from edt.objectives.coordinates import segment_sum
from edt.scalars import integer, number
from edt.training.structure import pack, unpack

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LossPlane", "loss_plane"]

KIND = "loss-plane"
#: Axis labels by what the plane is.
AXES = {
    "random": ("random direction 1 (filter norms)", "random direction 2 (filter norms)"),
    "lowest": ("along the lowest eigenvector", "along the second lowest"),
    "highest": ("along the highest eigenvector", "along the second highest"),
    "given": ("direction 1", "direction 2"),
    "networks": ("distance from the first towards the second", "distance across"),
    "path": ("principal direction 1 of the path", "principal direction 2"),
}
#: Room around marked networks and paths, as a share of their extent.
MARGIN = 0.25
_TENSORS = ("axes", "x", "y", "loss", "task_index")


@dataclass
class LossPlane(Tabular):
    """Losses of B networks on one plane each, ``theta_b + x axis_1b + y axis_2b``.

    Attributes:
        networks: at the origin, float64.
        axes: float64 ``[2, total]``.
        x: float64 ``[B, X]``, y: float64 ``[B, Y]``, the grid of each network.
        loss: float64 ``[B, Y, X]``.
        kind: what the plane is: a key of `edt.landscape.views.loss_planes.AXES`.
        marks: the networks that are on the plane.
        task_index: int64 ``[B]``.
        path: float64 ``[R, B, 2]``, the path's projection on the plane; only of planes along one.
        share: float64 ``[2, B]``, share of the path's squared distances along each axis.
        theta: float64 ``[Y, X, total]``, where the other coordinates were minimised out.
        section_grad: float64 ``[B, Y, X]``, largest gradient entry off the plane there.
    """

    networks: Ensemble
    axes: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    loss: torch.Tensor
    kind: str
    marks: Marks
    task_index: torch.Tensor
    path: torch.Tensor | None = None
    share: torch.Tensor | None = None
    theta: torch.Tensor | None = None
    section_grad: torch.Tensor | None = None

    @property
    def labels(self) -> tuple[str, str]:
        """What x and y count, in words."""
        return AXES[self.kind]

    def project(self, theta: torch.Tensor) -> torch.Tensor:
        """Coordinates on the plane of the points closest to given parameters.

        Args:
            theta: float64 ``[R, total]``.

        Returns:
            float64 ``[R, B, 2]``; NaN where parameters are not finite.
        """
        return _coordinates(self.networks, self.axes, theta)

    def to_xarray(self) -> xr.Dataset:
        """``loss`` over (network, y, x); x and y are those of each network."""
        import xarray as xr  # heavy, and rarely needed

        variables = {
            "loss": (("network", "row", "column"), self.loss.numpy()),
            "x": (("network", "column"), self.x.numpy()),
            "y": (("network", "row"), self.y.numpy()),
        }
        if self.section_grad is not None:
            variables["section_grad"] = (("network", "row", "column"), self.section_grad.numpy())
        labels = dict(zip(("x_label", "y_label"), self.labels, strict=True))
        coords = {"network": np.arange(self.loss.shape[0])}
        return xr.Dataset(variables, coords=coords, attrs=labels)

    def to_pandas(self) -> pd.DataFrame:
        """One row a point: ``network``, ``x``, ``y``, ``loss``."""
        B, rows, columns = self.loss.shape
        return pd.DataFrame(
            {
                "network": np.repeat(np.arange(B), rows * columns),
                "x": np.repeat(self.x.numpy()[:, None], rows, axis=1).ravel(),
                "y": np.repeat(self.y.numpy()[:, :, None], columns, axis=2).ravel(),
                "loss": self.loss.reshape(-1).numpy(),
            }
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file (whole, then renamed) and a readable JSON copy beside it."""
        tensors, structure = pack(self.networks)
        tensors |= {name: getattr(self, name) for name in _TENSORS}
        for name in ("path", "share", "theta", "section_grad"):
            if getattr(self, name) is not None:
                tensors[name] = getattr(self, name)
        tensors |= self.marks.tensors()
        header = {"structure": structure, "kind_of_plane": self.kind, "labels": self.marks.labels}
        write(path, KIND, tensors, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LossPlane:
        """Read a file written by `save`.

        Raises:
            CheckpointError: missing, truncated, corrupted or another kind of file.
        """
        tensors, header = read(path, KIND)
        with parsing(path):
            networks = unpack(tensors, header["structure"])
            B, total = networks.B, networks.total
            columns, rows = tensors["x"].shape[-1], tensors["y"].shape[-1]
            shapes: dict[str, tuple[int, ...]] = {
                "axes": (2, total), "x": (B, columns), "y": (B, rows), "loss": (B, rows, columns),
            }  # fmt: skip
            more = {
                "path": (len(tensors.get("path", ())), B, 2),
                "share": (2, B),
                "theta": (rows, columns, total),
                "section_grad": (B, rows, columns),
            }
            there = {name: shape for name, shape in more.items() if name in tensors}
            expect(tensors, torch.float64, shapes | there)
            expect(tensors, torch.int64, {"task_index": (B,)})
            return cls(
                networks=networks,
                kind=known_kind(header["kind_of_plane"], AXES),
                marks=Marks.from_tensors(header, tensors, B, 2),
                path=tensors.get("path"),
                share=tensors.get("share"),
                theta=tensors.get("theta"),
                section_grad=tensors.get("section_grad"),
                **{name: tensors[name] for name in _TENSORS},
            )

    def __repr__(self) -> str:
        B, rows, columns = self.loss.shape
        how = "" if self.theta is None else ", other coordinates minimised out"
        return f"LossPlane({B} networks, {columns} x {rows} points{how})"


def loss_plane(
    task: Any,
    networks: Ensemble,
    along: str | tuple[Ensemble, Ensemble] | torch.Tensor = "random",
    *,
    path: torch.Tensor | None = None,
    points: int | tuple[int, int] | None = None,
    span: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
    minimise_rest: bool = False,
    tol: float = 1e-8,
    rounds: int = 10,
    seed: int = 0,
    task_index: Any = None,
    progress: bool = True,
) -> LossPlane:
    """Loss of every network on a plane: ``L_b(theta_b + x u_b + y v_b)``.

    With ``minimise_rest`` the other coordinates are minimised out, as in `loss_line`.

    Args:
        task: an `edt.Task`, ``(x, y)``, or a task over infinite data (`edt.population`).
        networks: the origins (not modified); float32 ones are converted.
        along: "random", "lowest" or "highest" as in `loss_line`, two directions each; a pair of
            ensembles of the same widths (the plane through three networks; distances are true);
            two directions ``[2, total]``; or "path" with ``path``.
        path: parameters ``[R, total]`` of R moments that end at ``networks``, such as
            ``flow.history["params"]``. With ``along="path"`` the plane is the one closest to it
            (`path_directions`); with any other it is only drawn in.
        points: of the grid, one number or (in x, in y); default 51, with ``minimise_rest`` 15.
        span: (from, to) of both axes, or one pair for each; default (-1, 1), or what the marked
            networks and the path need.
        minimise_rest, tol, rounds, seed, task_index, progress: as in `loss_line`.

    Returns:
        `LossPlane`.

    Raises:
        TypeError, ValueError: an argument is wrong. KeyboardInterrupt: Ctrl-C.

    Example:
        >>> plane = loss_plane(task, ends.networks, "lowest", points=31)  # doctest: +SKIP
        >>> edt.plots.plot_plane(plane, network=0)  # doctest: +SKIP

    Reference: T. Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs",
    NeurIPS 2018 (plane through three networks); H. Li et al., NeurIPS 2018.
    """
    # Minimisation forms Hessians, on the CPU.
    place = "cpu" if minimise_rest else None
    task, networks, index = matched(task, networks, task_index, device=place)
    moments = None if path is None else _moments(path, networks)
    share: torch.Tensor | None = None
    marked, labels = [networks], ["network"]
    if isinstance(along, tuple):
        networks, marked = _three(networks, along)
        axes, kind = _through(marked), "networks"
        labels = ["first", "second", "third"]
    elif isinstance(along, str) and along == "path":
        if moments is None:
            raise ValueError("along='path' needs path, the parameters [R, total] on the way")
        (axes, share), kind = path_directions(networks, moments), "path"
    else:
        axes, kind = named_direction(task, networks, along, 2, seed, index)
    at = [_coordinates(networks, axes, ens.theta[None])[0] for ens in marked]
    drawn = None if moments is None else _coordinates(networks, axes, moments)
    wanted = torch.stack(at) if drawn is None else torch.cat([torch.stack(at), drawn])
    x, y = _grid(points, span, wanted, 15 if minimise_rest else 51)
    rows, columns = y.shape[1], x.shape[1]
    where = torch.stack(
        [
            x.T[None].expand(rows, -1, -1).reshape(-1, networks.B),
            y.T[:, None].expand(-1, columns, -1).reshape(-1, networks.B),
        ],
        dim=2,
    )
    marks = marks_of(labels, marked, at, task, index)
    chart = Chart(task, networks, axes, index)
    view = LossPlane(networks, axes, x, y, torch.empty(0), kind, marks, index, drawn, share)
    if minimise_rest:
        found = profile(chart, where, _neighbours(rows, columns),
                        tol=number("tol", tol, strict=True),
                        rounds=integer("rounds", rounds, 0), progress=progress)  # fmt: skip
        view.theta = found.theta.view(rows, columns, -1)
        view.section_grad = found.grad_max.T.reshape(networks.B, rows, columns)
        loss = found.loss
    else:
        loss = chart.losses(where, progress)
    view.loss = loss.T.reshape(networks.B, rows, columns).contiguous()
    return view


def _three(networks: Ensemble, others: tuple[Any, ...]) -> tuple[Ensemble, list[Ensemble]]:
    """The origin with the coordinates of all three, and the three."""
    if len(others) != 2:
        raise ValueError(f"along must hold two ensembles, got {len(others)}")
    for k, other in enumerate(others):
        networks = joined(networks, other, f"along[{k}]")
    same = [
        joined(other.to(torch.float64, device=networks.device), networks, "networks")
        for other in others
    ]
    return networks, [networks, *same]


def _through(three: list[Ensemble]) -> torch.Tensor:
    """Orthonormal axes of the planes through three networks, the first towards the second."""
    origin = three[0]
    lengths = origin.offsets[1:] - origin.offsets[:-1]
    axes: list[torch.Tensor] = []
    for other in three[1:]:
        way = other.theta - origin.theta
        before = torch.sqrt(segment_sum(way * way, lengths))
        for axis in [*axes, *axes]:
            along = segment_sum(way * axis, lengths)
            way = way - torch.repeat_interleave(along, lengths) * axis
        length = torch.sqrt(segment_sum(way * way, lengths))
        lost = torch.nonzero(~(length > 1e-10 * before)).flatten().tolist()
        if lost:
            raise ValueError(f"along: the three networks of plane {lost[0]} lie on a line")
        axes.append(way / torch.repeat_interleave(length, lengths))
    return torch.stack(axes)


def _coordinates(networks: Ensemble, axes: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Least-squares coordinates ``[R, B, 2]`` of parameters ``[R, total]`` on the planes."""
    lengths = networks.offsets[1:] - networks.offsets[:-1]

    def dot(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return segment_sum(one * other, lengths)

    u, v = axes
    uu, uv, vv = dot(u, u), dot(u, v), dot(v, v)
    det = uu * vv - uv * uv
    out = torch.empty(theta.shape[0], networks.B, 2, dtype=torch.float64)
    for r, row in enumerate(theta.to(axes.device, torch.float64)):
        away = row - networks.theta
        a, b = dot(u, away), dot(v, away)
        out[r] = torch.stack([(vv * a - uv * b) / det, (uu * b - uv * a) / det], 1).cpu()
    return out


def _moments(path: Any, networks: Ensemble) -> torch.Tensor:
    # xarray's arrays have it, too; to import xarray only to ask would take long.
    values = path.to_numpy() if hasattr(path, "to_numpy") else path
    if not isinstance(values, (torch.Tensor, np.ndarray)):
        raise TypeError(f"path must be a tensor [R, total], got {type(path).__name__}")
    out = reals("path", values)
    if out.dim() != 2 or out.shape[1] != networks.total:
        raise ShapeError(f"path must have shape [R, {networks.total}], got {list(out.shape)}")
    return out


def _grid(
    points: Any, span: Any, wanted: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """x ``[B, X]`` and y ``[B, Y]``."""
    pair = points if isinstance(points, (tuple, list)) else (points, points)
    if len(pair) != 2:
        raise ValueError(f"points must be one number or two, got {points!r}")
    sizes = [count if n is None else integer("points", n, 2) for n in pair]
    finite = torch.nan_to_num(wanted, nan=0.0)
    low, high = finite.amin(0), finite.amax(0)  # [B, 2]
    room = MARGIN * (high - low)
    low, high = low - room, high + room
    # No thin strips: the shorter side is at least half as long as the longer one.
    short = torch.clamp(0.5 * (high - low).amax(1, keepdim=True) - (high - low), min=0.0)
    low, high = low - 0.5 * short, high + 0.5 * short
    # A single mark needs no room of its own.
    alone = (high - low) <= 0.0
    low, high = torch.where(alone, -1.0, low), torch.where(alone, 1.0, high)
    if span is not None:
        given = reals("span", span)
        if tuple(given.shape) not in ((2,), (2, 2)) or not bool(torch.isfinite(given).all()):
            raise ValueError(f"span must be a pair of numbers, or two pairs, got {span!r}")
        given = given.expand(2, 2)
        if bool((given[:, 0] >= given[:, 1]).any()):
            raise ValueError(f"span must ascend, got {span!r}")
        low, high = given[:, 0].expand_as(low), given[:, 1].expand_as(high)
    out = []
    for axis, size in enumerate(sizes):
        steps = torch.linspace(0.0, 1.0, size, dtype=torch.float64)
        out.append(low[:, axis, None] * (1.0 - steps) + high[:, axis, None] * steps)
    return out[0], out[1]


def _neighbours(rows: int, columns: int) -> torch.Tensor:
    """Numbers of the points left, right, below and above each point, -1 outside."""
    number = torch.arange(rows * columns).view(rows, columns)
    framed = torch.full((rows + 2, columns + 2), -1)
    framed[1:-1, 1:-1] = number
    sides = (framed[1:-1, :-2], framed[1:-1, 2:], framed[:-2, 1:-1], framed[2:, 1:-1])
    return torch.stack([side.reshape(-1) for side in sides], 1)
