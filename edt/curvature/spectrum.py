"""Spectra of exact Hessians and what they count: index, escape dimensions, flat directions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from edt.curvature.dense import eigensystems, eigenvalues, for_each
from edt.curvature.factored import factored_inertia
from edt.curvature.inputs import prepare
from edt.curvature.verdicts import inertia, zero_threshold
from edt.errors import unknown_choice
from edt.frames import Tabular, per_network
from edt.objectives import Objective, hessians
from edt.tasks.given import task_and_networks

if TYPE_CHECKING:
    import pandas as pd

#: Bytes of Hessians held at once.
MEMORY = 64 * 2**20
METHODS = ("eigenvalues", "ldl")


@dataclass
class Inertia(Tabular):
    """Signs of the Hessian's eigenvalues, network by network.

    Attributes:
        n_neg, n_zero, n_pos: int64 ``[B]``; "zero" is within ``eps_H`` of 0.
        min_eig: float64 ``[B]``, the smallest eigenvalue (NaN without coordinates).
        eps_H: float64 ``[B]``, the threshold ``10 u P ||H||``.
        directions: per network ``[n_neg, P_b]``, unit eigenvectors of the negative eigenvalues,
            most negative first; None unless asked for.
    """

    n_neg: torch.Tensor
    n_zero: torch.Tensor
    n_pos: torch.Tensor
    min_eig: torch.Tensor
    eps_H: torch.Tensor
    directions: list[torch.Tensor] | None = None

    def to_pandas(self) -> pd.DataFrame:
        """One row a network: network, n_neg, n_zero, n_pos, min_eig, eps_H."""
        return per_network(self, "n_neg", "n_zero", "n_pos", "min_eig", "eps_H")


class Spectra(list[torch.Tensor]):
    """Eigenvalues of each network, and the arithmetic of the Hessians they are of.

    Attributes:
        dtype: torch.float32 or torch.float64; decides which eigenvalues count as zero.
    """

    def __init__(self, values: Iterable[torch.Tensor], dtype: torch.dtype) -> None:
        super().__init__(values)
        self.dtype = dtype


def groups(coords: torch.Tensor, memory: int = MEMORY) -> Iterator[torch.Tensor]:
    """Consecutive networks whose Hessians fit ``memory`` bytes together (at least one each)."""
    start, held = 0, 0
    for b, size in enumerate(coords.tolist()):
        need = 8 * size * size
        if b > start and held + need > memory:
            yield torch.arange(start, b)
            start, held = b, 0
        held += need
    if start < coords.numel():
        yield torch.arange(start, coords.numel())


def _hessians(
    task: Any, networks: Any, theta: torch.Tensor | None, task_index: torch.Tensor | None
) -> Iterator[list[torch.Tensor]]:
    objective, flat = prepare(task, networks, theta, task_index)
    for chosen in groups(objective.coords):
        yield finite_hessians(objective, flat, chosen)


def finite_hessians(
    objective: Objective, flat: torch.Tensor, chosen: torch.Tensor, *, ggn: bool = False
) -> list[torch.Tensor]:
    """float64 Hessians (Gauss-Newton matrices) of the chosen networks.

    Raises:
        ValueError: one holds NaN or Inf, where an eigensolver would only say that it failed.
    """
    found = [m.to(torch.float64) for m in hessians(objective, flat, chosen, ggn=ggn)]
    for b, matrix in zip(chosen.tolist(), found, strict=True):
        if not bool(torch.isfinite(matrix).all()):
            raise ValueError(
                f"the Hessian of network {b} must be finite, got NaN or Inf: its parameters are "
                "too large (did it diverge?); leave it out by networks.select"
            )
    return found


def hessian_spectrum(
    task: Any,
    networks: Any,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    vectors: bool = False,
) -> Any:
    """All eigenvalues of each network's exact Hessian over its coordinates.

    ``H_b v = lambda v`` with ``H_b = d^2 L_b / d theta_b^2``, pruned and frozen parameters left
    out. Solved densely in float64, cost ``O(P_b^3)``.

    Args:
        task: data; T targets.
        networks: B networks; either may come first.
        theta: flat parameters to use instead of the ensemble's.
        task_index: int64 ``[B]``, default 0.
        vectors: also return eigenvectors.

    Returns:
        list of float64 ``[P_b]`` ascending (a `Spectra`, which remembers the networks' dtype); with
        ``vectors`` a pair of lists, the second holding ``[P_b, P_b]`` with eigenvectors in columns.

    Raises:
        TypeError, ValueError: an argument is wrong, or a network's parameters or Hessian are not
            finite; names it.

    Example:
        >>> spectrum = hessian_spectrum(task, networks)  # doctest: +SKIP
    """
    task, networks = task_and_networks(task, networks)
    values: list[torch.Tensor] = []
    columns: list[torch.Tensor] = []
    for matrices in _hessians(task, networks, theta, task_index):
        if vectors:
            for value, vector in eigensystems(matrices):
                values.append(value)
                columns.append(vector)
        else:
            values += eigenvalues(matrices)
    spectra = Spectra(values, networks.dtype)
    return (spectra, columns) if vectors else spectra


def finite_spectra(task: Any, networks: Any, task_index: torch.Tensor) -> list[torch.Tensor | None]:
    """`hessian_spectrum`, None for networks whose parameters, loss or Hessian are not finite."""
    task, networks = task_and_networks(task, networks)
    out: list[torch.Tensor | None] = [None] * networks.B
    alive = torch.nonzero(networks.finite).flatten()
    if not alive.numel():
        return out
    objective, flat = prepare(task, networks.select(alive), None, task_index[alive])
    loss = torch.zeros(objective.B, dtype=torch.float64)
    objective.loss(flat, loss)
    for chosen in groups(objective.coords):
        found = [m.to(torch.float64) for m in hessians(objective, flat, chosen)]
        tame = [
            k
            for k, matrix in enumerate(found)
            if bool(torch.isfinite(matrix).all() & torch.isfinite(loss[chosen[k]]))
        ]
        for k, values in zip(tame, eigenvalues([found[k] for k in tame]), strict=True):
            out[int(alive[chosen[k]])] = values
    return out


def count_directions(
    task: Any,
    networks: Any,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    directions: bool = False,
    method: str = "eigenvalues",
) -> Inertia:
    """Count negative, zero and positive directions of each network's Hessian.

    An eigenvalue is zero when it is within ``eps_H = 10 u P ||H||_2`` of 0 (see
    `edt.curvature.verdicts.zero_threshold`). The counts are meaningful at critical points; nothing
    here checks that the gradient vanishes.

    Args:
        task, networks, theta, task_index: as in `hessian_spectrum`.
        directions: also return the escape directions.
        method: "eigenvalues", or "ldl": two factorisations ``L D L^T`` and no eigenvalue, several
            times cheaper; ``min_eig`` is then NaN (see `edt.curvature.factored`).

    Returns:
        An `Inertia`.

    Raises:
        ValueError: unknown method, directions without eigenvectors, or a network whose parameters
            or Hessian are not finite.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise unknown_choice("method", str(method), METHODS)
    if directions and method == "ldl":
        raise ValueError("directions=True needs eigenvectors: use method='eigenvalues'")
    task, networks = task_and_networks(task, networks)
    counts: list[tuple[int, int, int]] = []
    lowest: list[float] = []
    thresholds: list[float] = []
    ways: list[torch.Tensor] = []
    for matrices in _hessians(task, networks, theta, task_index):
        if method == "ldl":
            work = sum(float(m.shape[0]) ** 3 for m in matrices)
            for *count, threshold in for_each(_factored(networks.dtype), matrices, work):
                counts.append((count[0], count[1], count[2]))
                thresholds.append(threshold)
                lowest.append(float("nan"))
            continue
        if directions:
            systems = eigensystems(matrices)
        else:
            systems = [(value, value) for value in eigenvalues(matrices)]
        for value, vector in systems:
            threshold = zero_threshold(value, networks.dtype)
            found = inertia(value, threshold)
            counts.append(found)
            thresholds.append(threshold)
            lowest.append(float(value[0]) if value.numel() else float("nan"))
            if directions:
                ways.append(vector[:, : found[0]].T.contiguous())
    table = torch.tensor(counts, dtype=torch.int64).reshape(-1, 3)
    return Inertia(
        n_neg=table[:, 0].clone(),
        n_zero=table[:, 1].clone(),
        n_pos=table[:, 2].clone(),
        min_eig=torch.tensor(lowest, dtype=torch.float64),
        eps_H=torch.tensor(thresholds, dtype=torch.float64),
        directions=ways if directions else None,
    )


def _factored(
    dtype: torch.dtype,
) -> Callable[[torch.Tensor], tuple[int, int, int, float]]:
    return lambda matrix: factored_inertia(matrix, dtype)


def index(
    task: Any,
    networks: Any,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
) -> torch.Tensor:
    """Number of Hessian eigenvalues below ``-eps_H``, int64 ``[B]``: the Morse index."""
    return count_directions(task, networks, theta, task_index).n_neg


def escape_dimensions(
    task: Any,
    networks: Any,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
) -> torch.Tensor:
    """Number of independent directions that lead down from a critical point: its `index`."""
    return index(task, networks, theta, task_index)
