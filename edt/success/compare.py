"""All models side by side: AIC, weights, likelihood ratio tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import chdtrc  # scipy.stats takes a second to import

from edt.success.counts import Counts
from edt.success.fit import Fit, fit, narrow_price
from edt.success.models import MODELS, NESTED, Model
from edt.success.uncertainty import profile_interval, selection

#: Lotteries that are also judged at the price the narrow networks set.
PRICED = ("disjoint", "windows", "subsets")


@dataclass(frozen=True)
class Comparison:
    """Models fitted to the same counts.

    Attributes:
        counts: the data.
        fits: by model name, free price.
        priced: lotteries at the narrow price, by model name; empty where width r is missing.
        table: one row a model, least AIC first, see `compare`.
        tests: one row a likelihood ratio test, see `compare`.
    """

    counts: Counts
    fits: dict[str, Fit]
    priced: dict[str, Fit]
    table: pd.DataFrame
    tests: pd.DataFrame

    @property
    def best(self) -> Fit:
        """The model of least AIC among those with a free price."""
        return min(self.fits.values(), key=lambda found: found.aic)


def compare(
    counts: Counts,
    models: Sequence[Model] | None = None,
    *,
    conf: float = 0.95,
    draws: int = 0,
) -> Comparison:
    """Fit models and compare them.

    Args:
        counts: the data.
        models: default: all of `MODELS` whose covariate is there.
        conf: coverage of the intervals of shared parameters (profile likelihood).
        draws: resamples behind ``selected`` (0: leave it out).

    Returns:
        `Comparison`. ``table``: ``model``, ``label``, ``price`` ("free", or "narrow": set by the
        rate of width r), ``parameters``, ``log_likelihood``, ``aic``, ``delta_aic``, ``weight``
        (Akaike's, over the models with a free price), ``aicc``, ``delta_aicc``, ``deviance``,
        ``dof`` and ``p_fit`` of the goodness of fit, ``parameter`` with ``value``, ``low`` and
        ``high`` of the shared parameter if there is one, ``selected``. ``tests``: ``small``,
        ``large``, ``statistic = 2 (ln L_large - ln L_small)`` and ``p`` (chi-squared with one
        degree of freedom; halved where the smaller model is at the end of a range).

    Raises:
        ValueError: fewer than two widths, or no model fits the data's columns.

    Reference: H. Akaike, IEEE Trans. Autom. Control 19 (1974) 716; S. Self, K.-Y. Liang, JASA 82
    (1987) 605 (tests at the end of a range).
    """
    chosen = [model for model in (models or MODELS.values()) if model.fits(counts)]
    if not chosen:
        raise ValueError("no model has the covariates it needs")
    if len(np.unique(counts.width)) < 2:
        raise ValueError("models of width need at least two widths")
    fits = {model.name: fit(model, counts) for model in chosen}
    priced = {}
    narrow = {int(g) for g in counts.group[counts.width == counts.reference]}
    if len(narrow) == counts.groups:
        priced = {name: narrow_price(fits[name].model, counts) for name in PRICED if name in fits}
    rows = [_row(found, "free", conf) for found in fits.values()]
    rows += [_row(found, "narrow", conf) for found in priced.values()]
    table = pd.DataFrame(rows)
    free = table["price"] == "free"
    for name in ("aic", "aicc"):
        # Where there are too few cells, AICc says nothing.
        least = table.loc[free, name].min()
        table[f"delta_{name}"] = table[name] - least if np.isfinite(least) else math.nan
    share = np.exp(-0.5 * table["delta_aic"].where(free))
    table["weight"] = share / share.sum()
    shares = selection(counts, chosen, draws) if draws else pd.Series(dtype="float64")
    table["selected"] = table["model"].map(shares).where(free)
    table = table.sort_values(["aic", "model"], ignore_index=True)[list(COLUMNS)]
    return Comparison(counts, fits, priced, table, _tests(fits))


#: Columns of ``table``, in order.
COLUMNS = (
    "model",
    "label",
    "price",
    "parameters",
    "log_likelihood",
    "aic",
    "delta_aic",
    "weight",
    "aicc",
    "delta_aicc",
    "deviance",
    "dof",
    "p_fit",
    "parameter",
    "value",
    "low",
    "high",
    "selected",
)


def _row(found: Fit, price: str, conf: float) -> dict[str, object]:
    row: dict[str, object] = {
        "model": found.model.name,
        "label": found.model.label,
        "price": price,
        "parameters": found.parameters,
        "log_likelihood": found.log_likelihood,
        "aic": found.aic,
        "aicc": found.aicc,
        "deviance": found.deviance,
        "dof": found.counts.cells - found.parameters,
        "p_fit": found.p_fit,
        "parameter": "",
        "value": math.nan,
        "low": math.nan,
        "high": math.nan,
    }
    if found.model.shared:
        name = found.model.shared[0].name
        interval = profile_interval(found, name, conf)
        row |= {
            "parameter": name,
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
        }
    return row


def _tests(fits: dict[str, Fit]) -> pd.DataFrame:
    rows = []
    for small, large, boundary in NESTED:
        if small not in fits or large not in fits:
            continue
        gain = 2.0 * (fits[large].log_likelihood - fits[small].log_likelihood)
        statistic = max(gain, 0.0)
        p = float(chdtrc(1, statistic)) * (0.5 if boundary and statistic > 0.0 else 1.0)
        rows.append({"small": small, "large": large, "statistic": statistic, "p": p})
    return pd.DataFrame(rows, columns=["small", "large", "statistic", "p"])
