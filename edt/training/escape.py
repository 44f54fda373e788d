"""Curvature at the ends of `converge`, and leaving strict saddles by their steepest way down."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.curvature.dense import eigensystems, eigenvalues
from edt.curvature.spectrum import groups
from edt.curvature.verdicts import inertia, zero_threshold
from edt.training.descent import RUNNING, Descent
from edt.training.newton import hessians

#: Lengths tried along the most negative direction, in units of max(1, |theta|).
LENGTHS = (0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4)


@dataclass
class Spectra:
    """What the Hessians at the ends say, ``[B]`` each; -1 and NaN where not computed."""

    negative: torch.Tensor
    zero: torch.Tensor
    lowest: torch.Tensor
    threshold: torch.Tensor

    @classmethod
    def empty(cls, networks: int) -> Spectra:
        """Nothing computed yet."""
        nan = torch.full((networks,), float("nan"), dtype=torch.float64)
        none = torch.full((networks,), -1, dtype=torch.int64)
        return cls(none, none.clone(), nan, nan.clone())


def measure(state: Descent, chosen: torch.Tensor, spectra: Spectra) -> None:
    """Fill ``spectra`` for the chosen networks (those with a finite loss)."""
    finite = torch.isfinite(state.loss) & torch.isfinite(state.grad_max)
    chosen = chosen[finite[chosen]]
    for place in groups(state.coords[chosen]):
        part = chosen[place]
        for b, values in zip(part.tolist(), eigenvalues(hessians(state, part)), strict=True):
            threshold = zero_threshold(values)
            spectra.negative[b], spectra.zero[b], _ = inertia(values, threshold)
            spectra.lowest[b] = values[0] if values.numel() else float("nan")
            spectra.threshold[b] = threshold


def escape(state: Descent, saddles: torch.Tensor) -> torch.Tensor:
    """Move saddles along their most negative direction to the lowest loss found.

    Both signs and the lengths `LENGTHS` are tried. A network moves only where the loss falls by
    more than its rounding; its status is then "running" again.

    Args:
        state: updated in place.
        saddles: networks at critical points with negative curvature.

    Returns:
        The networks that moved.
    """
    moved: list[int] = []
    for place in groups(state.coords[saddles]):
        part = saddles[place]
        ways = [vectors[:, 0].clone() for _, vectors in eigensystems(hessians(state, part))]
        best = state.loss.clone()
        winner = state.theta.clone()
        for length in LENGTHS:
            for sign in (1.0, -1.0):
                trial = state.theta.clone()
                for b, way in zip(part.tolist(), ways, strict=True):
                    reach = sign * length * max(1.0, state.norm(b))
                    trial[state.coordinates(b)] += reach * way
                loss = torch.full_like(best, float("inf"))
                state.engine.loss(trial, loss, state.mask(part))
                for b in part.tolist():
                    if float(loss[b]) < float(best[b]):
                        span = slice(int(state.offsets[b]), int(state.offsets[b + 1]))
                        best[b] = loss[b]
                        winner[span] = trial[span]
        for b in part.tolist():
            here = float(state.loss[b])
            if float(best[b]) < here - state.noise(b, here):
                span = slice(int(state.offsets[b]), int(state.offsets[b + 1]))
                state.theta[span] = winner[span]
                state.status[b] = RUNNING
                moved.append(b)
    out = torch.tensor(moved, dtype=torch.int64)
    state.refresh(out)
    return out
