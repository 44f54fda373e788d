"""Maximum likelihood for one model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import chdtrc  # scipy.stats takes a second to import

from edt.success.counts import Counts, Floats
from edt.success.models import INTERCEPTS, Model, information, log_likelihood, success

#: Fisher scoring: iterations, halvings of a step, the slope per run that counts as zero (rounding
#: of a sum of so many terms), and that which does where no step gains any more.
SCORINGS, HALVINGS, SLOPE, NEARLY = 60, 20, 1e-12, 1e-8
#: Gain of log-likelihood that is not worth a step: parameters are within 1e-6 of their error then.
GAIN = 1e-12


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        model: which.
        counts: the data.
        theta: float64 ``[G + k]``, intercepts of the groups, then shared parameters (logarithms
            where `Shared.log`).
        log_likelihood: at ``theta``, with the binomial coefficients.
        parameters: number of free ones.
    """

    model: Model
    counts: Counts
    theta: Floats
    log_likelihood: float
    parameters: int

    @property
    def aic(self) -> float:
        """``2 k - 2 ln L``."""
        return 2.0 * self.parameters - 2.0 * self.log_likelihood

    @property
    def aicc(self) -> float:
        """AIC corrected for few cells, ``+ 2 k (k + 1) / (c - k - 1)``; infinite for too few.

        The cells are counted as observations, not the runs: the careful choice.
        """
        k, left = self.parameters, self.counts.cells - self.parameters - 1
        return self.aic + 2.0 * k * (k + 1) / left if left > 0 else math.inf

    @property
    def deviance(self) -> float:
        """Twice the log-likelihood that a rate of its own for every cell would gain."""
        return 2.0 * (self.counts.saturated() - self.log_likelihood)

    @property
    def p_fit(self) -> float:
        """Chance of a larger deviance if the model were true (chi-squared; NaN without freedom)."""
        left = self.counts.cells - self.parameters
        return float(chdtrc(left, self.deviance)) if left > 0 else math.nan

    @property
    def shared(self) -> dict[str, float]:
        """Shared parameters by name."""
        values = self.theta[self.counts.groups :]
        return {
            entry.name: entry.natural(value)
            for entry, value in zip(self.model.shared, values, strict=True)
        }

    def success(self, counts: Counts | None = None) -> Floats:
        """Probability of a win in each cell ``[c]``, of other cells of the same groups if given."""
        cells = self.counts if counts is None else counts
        return success(self.model.link, _predict(self.model, self.theta, self.counts, cells)[0])


def fit(
    model: Model,
    counts: Counts,
    *,
    fixed: dict[int, float] | None = None,
    start: Floats | None = None,
) -> Fit:
    """Maximum likelihood: ``argmax sum_c k_c ln s_c + (n_c - k_c) ln(1 - s_c)``.

    Fisher scoring, and where that does not settle, bounded quasi-Newton (L-BFGS-B) with exact
    derivatives. Parameters end at their bounds where the data push them there (every run won,
    say): probabilities are then 0 or 1 to rounding.

    Args:
        model: which.
        counts: the data.
        fixed: positions in ``theta`` that keep a value; they do not count as parameters.
        start: where to begin; default from the rates of the groups.

    Returns:
        `Fit`.

    Raises:
        ValueError: the counts lack the covariate that the model needs.

    Example:
        >>> counts = Counts(*(np.array(v) for v in ([0, 0], [2, 4], [30, 51], [100, 100])), 2)
        >>> round(fit(MODELS["disjoint"], counts).log_likelihood, 2)
        -4.98

    Reference: P. McCullagh, J. Nelder, "Generalized linear models", 1989, section 2.5; R. Byrd et
    al., SIAM J. Sci. Comput. 16 (1995) 1190 (L-BFGS-B).
    """
    if not model.fits(counts):
        raise ValueError(f"model {model.name!r} needs the covariate {model.needs!r}")
    fixed = fixed or {}
    low, high = bounds(model, counts.groups)
    theta = _start(model, counts) if start is None else np.array(start, dtype=np.float64)
    for place, value in fixed.items():
        low[place] = high[place] = value
    best, value, done = _score(model, np.clip(theta, low, high), counts, low, high)
    if not done:
        found = minimize(
            lambda values: _negative(model, values, counts)[:2],
            best,
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(low, high, strict=True)),
            options={"maxiter": 2000, "maxfun": 20_000, "ftol": 1e-14, "gtol": 1e-7},
        )
        best, value = np.asarray(found.x, dtype=np.float64), -float(found.fun)
    return Fit(model, counts, best, value + counts.constant(), best.size - len(fixed))


def narrow_price(model: Model, counts: Counts) -> Fit:
    """A lottery whose price is the success rate of the reference width, not fitted to the rest.

    ``p_g = k_g(r) / n_g(r)``: what the narrow networks alone predict. The price of each group
    counts as a parameter.

    Args:
        model: without shared parameters.
        counts: every group must have the reference width.

    Raises:
        ValueError: the model has shared parameters, or a group lacks the reference width.
    """
    if model.shared or model.link != "hazard":
        raise ValueError(f"model {model.name!r} is no lottery with a fixed number of tickets")
    theta = np.empty(counts.groups)
    for group in range(counts.groups):
        cell = (counts.group == group) & (counts.width == counts.reference)
        if not cell.any():
            raise ValueError(f"group {group} lacks the reference width {counts.reference}")
        lost = 1.0 - float(counts.wins[cell].sum()) / float(counts.runs[cell].sum())
        hazard = -math.log(lost) if lost > 0.0 else math.inf
        theta[group] = math.log(hazard) if hazard > 0.0 else -math.inf
    theta = np.clip(theta, *INTERCEPTS["hazard"])
    z = _predict(model, theta, counts, counts)[0]
    value = log_likelihood(model.link, z, counts)[0] + counts.constant()
    return Fit(model, counts, theta, value, counts.groups)


def _predict(
    model: Model, theta: Floats, fitted: Counts, cells: Counts
) -> tuple[Floats, Floats, Floats]:
    intercept, shared = theta[: fitted.groups], theta[fitted.groups :]
    return model.predictor(intercept[cells.group], shared, cells)


def _negative(
    model: Model, theta: Floats, counts: Counts
) -> tuple[float, Floats, tuple[Floats, Floats, Floats]]:
    """Negative log-likelihood, its slope, and the predictor they are made from."""
    predicted = z, by_intercept, by_shared = _predict(model, theta, counts, counts)
    value, slope = log_likelihood(model.link, z, counts)
    intercepts = np.bincount(counts.group, weights=slope * by_intercept, minlength=counts.groups)
    return -value, -np.concatenate([intercepts, by_shared.T @ slope]), predicted


def _score(
    model: Model, theta: Floats, counts: Counts, low: Floats, high: Floats
) -> tuple[Floats, float, bool]:
    """Fisher scoring between the bounds: (theta, log-likelihood, whether the slope is zero)."""
    rows = np.arange(counts.cells)
    negative, slope, predicted = _negative(model, theta, counts)
    for _ in range(SCORINGS):
        # At a bound with the slope outwards a parameter stays.
        free = ~(((theta <= low) & (slope > 0.0)) | ((theta >= high) & (slope < 0.0)))
        steepest = np.abs(slope[free]).max(initial=0.0)
        if steepest <= SLOPE * counts.runs.sum():
            return theta, -negative, True
        z, by_intercept, by_shared = predicted
        jacobian = np.zeros((counts.cells, theta.size))
        jacobian[rows, counts.group] = by_intercept
        jacobian[:, counts.groups :] = by_shared
        jacobian = jacobian[:, free]
        weight = information(model.link, z, counts)
        matrix = jacobian.T @ (weight[:, None] * jacobian)
        step = np.zeros_like(theta)
        step[free] = -np.linalg.lstsq(matrix, slope[free], rcond=1e-12)[0]
        # Nothing to gain: the top, or a ridge that rises for ever by nothing.
        flat = -float(slope @ step) <= GAIN
        for _ in range(HALVINGS):
            trial = np.clip(theta + step, low, high)
            after, new_slope, new_predicted = _negative(model, trial, counts)
            if after < negative:
                break
            step *= 0.5
        else:
            if flat:
                return theta, -negative, True
            # No step gains: at the top up to rounding, or stuck.
            return theta, -negative, bool(steepest <= NEARLY * counts.runs.sum())
        theta, negative, slope, predicted = trial, after, new_slope, new_predicted
        if flat:
            return theta, -negative, True
    return theta, -negative, False


def _start(model: Model, counts: Counts) -> Floats:
    """Intercepts from the pooled rate of each group, halved towards one half; shared as told."""
    wins = np.bincount(counts.group, weights=counts.wins, minlength=counts.groups)
    runs = np.bincount(counts.group, weights=counts.runs, minlength=counts.groups)
    rate = (wins + 0.5) / (runs + 1.0)
    odds = np.log(rate / (1.0 - rate))
    centre = odds if model.link == "logit" else np.log(-np.log1p(-rate)) - 1.0
    return np.concatenate([centre, [entry.start for entry in model.shared]])


def bounds(model: Model, groups: int) -> tuple[Floats, Floats]:
    """Least and greatest value of every parameter: intercepts, then shared ones."""
    ends = [INTERCEPTS[model.link]] * groups + [(entry.low, entry.high) for entry in model.shared]
    low, high = np.array(ends, dtype=np.float64).T
    return low.copy(), high.copy()
