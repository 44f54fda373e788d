"""Intervals of shared parameters, and how sure the choice of a model is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import gammaincinv  # scipy.stats takes a second to import

from edt.scalars import integer
from edt.stats import SEED, Interval
from edt.success.counts import Counts
from edt.success.fit import Fit, fit
from edt.success.many import maxima
from edt.success.models import Model

#: Doublings of the step in which an end of a profile interval is sought.
DOUBLINGS = 40


def profile_interval(fitted: Fit, name: str, conf: float = 0.95) -> Interval:
    """Profile-likelihood interval of a shared parameter.

    All values v with ``2 (ln L - max_rest ln L(v)) <= q``, q the quantile of chi-squared with one
    degree of freedom. An end that the likelihood never reaches is the end of the parameter's
    range (0 for a rate, otherwise infinite).

    Args:
        fitted: the fit.
        name: of the parameter.
        conf: coverage.

    Raises:
        ValueError: no such parameter, or a coverage out of range.

    Reference: D. Venzon, S. Moolgavkar, Appl. Statist. 37 (1988) 87.
    """
    if not 0.0 < conf < 1.0:
        raise ValueError(f"conf must lie between 0 and 1, got {conf}")
    names = [entry.name for entry in fitted.model.shared]
    if name not in names:
        raise ValueError(f"model {fitted.model.name!r} has the parameters {names}, not {name!r}")
    entry = fitted.model.shared[names.index(name)]
    place = fitted.counts.groups + names.index(name)
    centre = float(fitted.theta[place])
    limit = float(2.0 * gammaincinv(0.5, conf))

    def excess(value: float) -> float:
        rest = fit(fitted.model, fitted.counts, fixed={place: value}, start=fitted.theta)
        return 2.0 * (fitted.log_likelihood - rest.log_likelihood) - limit

    ends = []
    for bound, nothing in ((entry.low, 0.0 if entry.log else -math.inf), (entry.high, math.inf)):
        inner, step = centre, math.copysign(0.05, bound - centre)
        found = nothing
        for _ in range(DOUBLINGS):
            outer = centre + step
            past = abs(outer - centre) >= abs(bound - centre)
            outer = bound if past else outer
            if outer == centre:
                break
            if excess(outer) > 0.0:
                found = entry.natural(float(brentq(excess, inner, outer, xtol=1e-7, rtol=1e-10)))
                break
            if past:
                break
            inner, step = outer, 2.0 * step
        ends.append(found)
    return Interval(entry.natural(centre), ends[0], ends[1])


def bootstrap_interval(
    fitted: Fit, name: str, conf: float = 0.95, draws: int = 200, seed: int = SEED
) -> Interval:
    """Parametric-bootstrap interval: quantiles of the parameter refitted to simulated counts.

    Args:
        fitted: the fit; wins are drawn from its probabilities.
        name: of the shared parameter.
        conf: coverage.
        draws: simulations.
        seed: of the simulations.
    """
    draws = integer("draws", draws)
    counts, rates = fitted.counts, fitted.success()
    value = fitted.shared[name]
    generator = np.random.Generator(np.random.Philox(seed))
    values = []
    for _ in range(draws):
        wins = generator.binomial(counts.runs, rates).astype(np.int64)
        again = fit(fitted.model, counts.with_wins(wins), start=fitted.theta)
        values.append(again.shared[name])
    low, high = np.quantile(values, [(1 - conf) / 2, (1 + conf) / 2])
    return Interval(value, float(low), float(high))


def selection(
    counts: Counts, models: Sequence[Model], draws: int = 200, seed: int = SEED
) -> pd.Series:
    """Share of resampled data in which each model has the least AIC.

    Each cell's wins are drawn anew, binomially at the measured rate, and all models fitted again:
    how far the choice depends on the luck of the seeds.

    Args:
        counts: the data.
        models: candidates.
        draws: resamples.
        seed: of the resamples.

    Returns:
        Shares by model name; they add up to 1.

    Reference: K. Burnham, D. Anderson, "Model selection and multimodel inference", 2002, ch. 4.
    """
    if draws < 1 or not models:
        raise ValueError("selection needs at least one draw and one model")
    generator = np.random.Generator(np.random.Philox(seed))
    starts = [fit(model, counts).theta for model in models]
    rate = counts.wins / counts.runs
    drawn = np.array([generator.binomial(counts.runs, rate) for _ in range(draws)], dtype=np.int64)
    # The constant of the likelihood is the same for all models of a draw.
    aics = [
        2.0 * start.size - 2.0 * maxima(model, counts, drawn, start)
        for model, start in zip(models, starts, strict=True)
    ]
    won = np.bincount(np.argmin(aics, axis=0), minlength=len(models)) / draws
    return pd.Series(won, index=[model.name for model in models], name="selected")
