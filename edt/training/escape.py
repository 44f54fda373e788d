"""Curvature at the ends of `converge`, and leaving strict saddles by their steepest way down."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.curvature.dense import eigensystems, eigenvalues
from edt.curvature.eigenpairs import EigenPairs, solver
from edt.curvature.products import drive
from edt.curvature.spectrum import groups
from edt.curvature.verdicts import inertia, threshold_of, zero_threshold
from edt.objectives import hessians
from edt.ops.threads import one_blas_thread
from edt.training.descent import RUNNING, Descent

__all__ = ["Spectra", "escape", "measure"]

#: Lengths tried along the most negative direction, in units of max(1, |theta|).
LENGTHS = (0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4)
#: Lowest eigenvalues looked for first where the Hessian is not formed, and at most.
LOWEST, LOWEST_MOST = 4, 64
#: Chance of missing one of them: counts go into verdicts.
SURE = 1e-6


@dataclass
class Spectra:
    """What the Hessians at the ends say, ``[B]`` each; -1 and NaN where not computed."""

    negative: torch.Tensor
    zero: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor
    threshold: torch.Tensor

    @classmethod
    def empty(cls, networks: int) -> Spectra:
        """Nothing computed yet."""
        nan = torch.full((networks,), float("nan"), dtype=torch.float64)
        none = torch.full((networks,), -1, dtype=torch.int64)
        return cls(none, none.clone(), nan, nan.clone(), nan.clone())


def measure(state: Descent, chosen: torch.Tensor, spectra: Spectra, dense: torch.Tensor) -> None:
    """Fill ``spectra`` for the chosen networks (those with a finite loss).

    Args:
        dense: bool ``[B]``, networks whose Hessian is formed. For the others the lowest
            eigenvalues are found by Lanczos: the index is exact as long as it is below
            `LOWEST_MOST`, the number of flat directions stays unknown.
    """
    finite = torch.isfinite(state.loss) & torch.isfinite(state.grad_max)
    chosen = chosen[finite[chosen]]
    small, large = chosen[dense[chosen]], chosen[~dense[chosen]]
    for place in groups(state.coords[small]):
        part = small[place]
        matrices = hessians(state.objective, state.theta, part)
        for b, values in zip(part.tolist(), eigenvalues(matrices), strict=True):
            threshold = zero_threshold(values)
            spectra.negative[b], spectra.zero[b], _ = inertia(values, threshold)
            spectra.lowest[b] = values[0] if values.numel() else float("nan")
            spectra.highest[b] = values[-1] if values.numel() else float("nan")
            spectra.threshold[b] = threshold
    wanted = LOWEST
    while large.numel():
        again = []
        for b, pairs in _lowest(state, large, wanted).items():
            size = int(state.coords[b])
            threshold = threshold_of(pairs.norm, size)
            spectra.negative[b] = int((pairs.values < -threshold).sum())
            spectra.zero[b] = -1
            spectra.lowest[b] = pairs.values[0]
            spectra.highest[b] = pairs.norm
            spectra.threshold[b] = threshold
            if int(spectra.negative[b]) == wanted < min(size, LOWEST_MOST):
                again.append(b)
        large = torch.tensor(again, dtype=torch.int64)
        wanted *= 4


def escape(state: Descent, saddles: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
    """Move saddles along their most negative direction to the lowest loss found.

    Both signs and the lengths `LENGTHS` are tried. A network moves only where the loss falls by
    more than its rounding; its status is then "running" again.

    Args:
        state: updated in place.
        saddles: networks at critical points with negative curvature.
        dense: as in `measure`.

    Returns:
        The networks that moved.
    """
    moved: list[int] = []
    small, large = saddles[dense[saddles]], saddles[~dense[saddles]]
    for place in groups(state.coords[small]):
        part = small[place]
        systems = eigensystems(hessians(state.objective, state.theta, part))
        ways = [vectors[:, 0].clone() for _, vectors in systems]
        moved += _leave(state, part, ways)
    if large.numel():
        found = _lowest(state, large, LOWEST)
        moved += _leave(state, large, [found[b].vectors[0] for b in large.tolist()])
    out = torch.tensor(sorted(moved), dtype=torch.int64)
    state.refresh(out)
    return out


def _lowest(state: Descent, chosen: torch.Tensor, count: int) -> dict[int, EigenPairs]:
    """The lowest eigenpairs of some networks by Lanczos."""
    solvers = {
        b: solver(
            size,
            min(count, size),
            "SA",
            tol=1e-9,
            block=min(4, count),
            basis=max(3 * count, count + 40),
            max_products=10 * size + 100,
            seed=0,
            confirm=SURE,
        )
        for b, size in zip(chosen.tolist(), state.coords[chosen].tolist(), strict=True)
    }
    with one_blas_thread():
        return drive(state.objective, state.theta, solvers)


def _leave(state: Descent, part: torch.Tensor, ways: list[torch.Tensor]) -> list[int]:
    """Move networks along their directions; returns those that moved."""
    best = state.loss.clone()
    winner = state.theta.clone()
    for length in LENGTHS:
        for sign in (1.0, -1.0):
            trial = state.theta.clone()
            for b, way in zip(part.tolist(), ways, strict=True):
                reach = sign * length * max(1.0, state.norm(b))
                trial[state.coordinates(b)] += reach * way
            loss = torch.full_like(best, float("inf"))
            state.objective.loss(trial, loss, state.mask(part))
            for b in part.tolist():
                if float(loss[b]) < float(best[b]):
                    span = slice(int(state.offsets[b]), int(state.offsets[b + 1]))
                    best[b] = loss[b]
                    winner[span] = trial[span]
    moved = []
    for b in part.tolist():
        here = float(state.loss[b])
        if float(best[b]) < here - state.noise(b, here):
            span = slice(int(state.offsets[b]), int(state.offsets[b + 1]))
            state.theta[span] = winner[span]
            state.status[b] = RUNNING
            moved.append(b)
    return moved
