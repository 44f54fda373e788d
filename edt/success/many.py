"""One model fitted to many draws of the same cells at once."""

from __future__ import annotations

import numpy as np

from edt.success.counts import Counts, Floats, Ints
from edt.success.fit import GAIN, HALVINGS, NEARLY, SCORINGS, SLOPE, bounds, fit
from edt.success.models import Model, information, log_likelihoods


def maxima(model: Model, counts: Counts, wins: Ints, start: Floats) -> Floats:
    """Largest log-likelihood of every draw, without its constant ``[d]``.

    What `edt.success.fit.fit` finds draw by draw, by the same Fisher scoring with all draws in
    step; a draw that does not settle is fitted alone.

    Args:
        model: which.
        counts: the cells.
        wins: int64 ``[d, c]``, of each draw.
        start: ``[p]``, where all of them begin.

    Returns:
        float64 ``[d]``.
    """
    low, high = bounds(model, counts.groups)
    theta = np.tile(np.clip(start, low, high), (len(wins), 1))
    best = np.full(len(wins), -np.inf)
    open_ = np.arange(len(wins))
    owner = np.equal.outer(counts.group, np.arange(counts.groups)).astype(np.float64)
    value, slope, jacobian, weight = _terms(model, theta, counts, wins, owner)
    for _ in range(SCORINGS):
        # At a bound with the slope outwards a parameter stays.
        at = theta[open_]
        free = ~(((at <= low) & (slope < 0.0)) | ((at >= high) & (slope > 0.0)))
        up = np.where(free, slope, 0.0)
        steepest = np.abs(up).max(axis=1, initial=0.0)
        own = jacobian * free[:, None, :]
        matrix = own.transpose(0, 2, 1) @ (weight[:, :, None] * own)
        inverse = np.linalg.pinv(matrix, rcond=1e-12, hermitian=True)
        step = (inverse @ up[:, :, None])[:, :, 0]
        flat = (up * step).sum(axis=1) <= GAIN
        settled = steepest <= SLOPE * counts.runs.sum()
        trial, gained = at.copy(), settled.copy()
        for _ in range(HALVINGS):
            where = np.flatnonzero(~gained)
            if not where.size:
                break
            trial[where] = np.clip(at[where] + step[where], low, high)
            after = _terms(model, trial[where], counts, wins[open_[where]], owner)[0]
            gained[where] = after > value[where]
            step[where[~gained[where]]] *= 0.5
        moved = gained & ~settled
        theta[open_[moved]] = trial[moved]
        end = settled | flat | (~gained & (steepest <= NEARLY * counts.runs.sum()))
        failed = ~gained & ~end
        for draw in open_[failed].tolist():
            alone = counts.with_wins(wins[draw])
            best[draw] = fit(model, alone, start=start).log_likelihood - alone.constant()
        value, slope, jacobian, weight = _terms(model, theta[open_], counts, wins[open_], owner)
        best[open_[end]] = value[end]
        going = ~(end | failed)
        open_ = open_[going]
        if not open_.size:
            return best
        value, slope, jacobian, weight = (part[going] for part in (value, slope, jacobian, weight))
    for draw in open_.tolist():
        alone = counts.with_wins(wins[draw])
        best[draw] = fit(model, alone, start=start).log_likelihood - alone.constant()
    return best


def _terms(
    model: Model, theta: Floats, counts: Counts, wins: Ints, owner: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Log-likelihood ``[d]``, its slope ``[d, p]``, the predictor's ``[d, c, p]``, weights."""
    intercept, shared = theta[:, : counts.groups], theta[:, counts.groups :]
    z, by_intercept, by_shared = model.predictor(intercept[:, counts.group], shared, counts)
    value, by_predictor = log_likelihoods(model.link, z, wins, counts.runs)
    jacobian = np.concatenate([by_intercept[:, :, None] * owner, by_shared], axis=2)
    slope = (by_predictor[:, None, :] @ jacobian)[:, 0, :]
    return value, slope, jacobian, information(model.link, z, counts)
