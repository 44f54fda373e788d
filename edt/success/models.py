"""Models of success against width.

Two links turn a predictor z of a cell into the probability s of a win:

- hazard: ``1 - s = exp(-e^z)``. With ``p_g = 1 - exp(-e^c_g)`` a lottery of n(m) tickets,
  ``1 - s = (1 - p_g)^n(m)``, is ``z = c_g + ln n(m)``: the price of a ticket is the intercept.
- logit: ``ln s/(1 - s) = z``.

Lotteries differ in n(m) only; their powers ``n(m)^a`` contain them (a = 1). In the escape model
each of the E(m) escape dimensions that width m has opened lets a run out with the same small
probability, so that ``1 - s = (1 - p_g) exp(-kappa E_g(m))``; in the geometric model each neuron
beyond r does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, gammaln

from edt.success.counts import Counts, Floats, Ints

Link = Literal["hazard", "logit"]
#: (intercepts of the cells ``[..., c]``, shared parameters ``[..., k]``, counts) to z,
#: dz/dintercept and dz/dshared ``[..., c, k]``.
Predictor = Callable[[Floats, Floats, Counts], tuple[Floats, Floats, Floats]]

#: Ends of the intercepts: probabilities of a win from 1e-11 to 1 - 1e-1300 (hazard).
INTERCEPTS: dict[str, tuple[float, float]] = {"hazard": (-25.0, 8.0), "logit": (-60.0, 60.0)}


@dataclass(frozen=True)
class Shared:
    """A parameter that all groups share.

    Attributes:
        name: of the parameter as people write it.
        start: where the search begins.
        low, high: ends of the search.
        log: the search runs over its logarithm; ``start``, ``low`` and ``high`` are logarithms.
    """

    name: str
    start: float
    low: float
    high: float
    log: bool = False

    def natural(self, value: float) -> float:
        """The parameter itself, from the value the search runs over."""
        return float(np.exp(value)) if self.log else float(value)


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes:
        name: short.
        label: the formula, as text.
        link: "hazard" or "logit".
        predictor: z and its derivatives.
        shared: the parameters that all groups share.
        needs: covariate it uses, or None.
    """

    name: str
    label: str
    link: Link
    predictor: Predictor
    shared: tuple[Shared, ...] = ()
    needs: str | None = None

    def fits(self, counts: Counts) -> bool:
        """Whether the counts have what the model needs."""
        return self.needs is None or self.needs in counts.covariates


def success(link: Link, z: Floats) -> Floats:
    """Probability of a win from the predictor."""
    out: Floats = -np.expm1(-np.exp(z)) if link == "hazard" else expit(z)
    return out


def log_likelihood(link: Link, z: Floats, counts: Counts) -> tuple[float, Floats]:
    """Log-likelihood without its constant, and its derivative by the predictor ``[c]``."""
    value, slope = log_likelihoods(link, z, counts.wins, counts.runs)
    return float(value), slope


def log_likelihoods(link: Link, z: Floats, k: Ints, n: Ints) -> tuple[Floats, Floats]:
    """The same of k wins in n runs, over the last axis: ``[...]`` and ``[..., c]``."""
    value: Floats
    if link == "hazard":
        hazard = np.exp(z)
        # ln(1 - e^-H) in the form that is accurate on either side of ln 2.
        small = hazard < 0.693
        safe = np.where(small, hazard, 1.0)
        large = np.where(small, 1.0, hazard)
        log_win = np.where(small, np.log(-np.expm1(-safe)), np.log1p(-np.exp(-large)))
        value = np.asarray((k * log_win - (n - k) * hazard).sum(axis=-1))
        per_hazard = hazard / np.expm1(np.minimum(hazard, 700.0))
        return value, k * per_hazard - (n - k) * hazard
    value = np.asarray(-(k * np.logaddexp(0.0, -z) + (n - k) * np.logaddexp(0.0, z)).sum(axis=-1))
    return value, k - n * expit(z)


def information(link: Link, z: Floats, counts: Counts) -> Floats:
    """Expected information of each cell about its predictor, ``[c]``."""
    if link == "hazard":
        hazard = np.exp(z)
        out: Floats = counts.runs * hazard * hazard / np.expm1(np.minimum(hazard, 700.0))
        return out
    rate = expit(z)
    out = counts.runs * rate * (1.0 - rate)
    return out


def _log_disjoint(counts: Counts) -> Floats:
    out: Floats = np.log(np.floor_divide(counts.width, counts.reference).astype(np.float64))
    return out


def _log_windows(counts: Counts) -> Floats:
    out: Floats = np.log(counts.width - counts.reference + 1.0)
    return out


def _log_subsets(counts: Counts) -> Floats:
    m, r = counts.width.astype(np.float64), float(counts.reference)
    out: Floats = gammaln(m + 1.0) - gammaln(r + 1.0) - gammaln(m - r + 1.0)
    return out


def _log_ratio(counts: Counts) -> Floats:
    return np.log(counts.width / counts.reference)


def _fixed(log_tickets: Callable[[Counts], Floats]) -> Predictor:
    def predict(c: Floats, shared: Floats, counts: Counts) -> tuple[Floats, Floats, Floats]:
        return c + log_tickets(counts), np.ones_like(c), np.empty((*c.shape, 0))

    return predict


def _power(log_tickets: Callable[[Counts], Floats]) -> Predictor:
    def predict(c: Floats, shared: Floats, counts: Counts) -> tuple[Floats, Floats, Floats]:
        grown = log_tickets(counts)
        by_power = np.broadcast_to(grown[:, None], (*c.shape, 1))
        return c + shared[..., :1] * grown, np.ones_like(c), by_power

    return predict


def _additive(dimensions: Callable[[Counts], Floats]) -> Predictor:
    """``e^z = e^c + kappa x``; the shared parameter is ln kappa."""

    def predict(c: Floats, shared: Floats, counts: Counts) -> tuple[Floats, Floats, Floats]:
        x = dimensions(counts)
        with np.errstate(divide="ignore"):
            z = np.logaddexp(c, shared[..., :1] + np.log(x))
        return z, np.exp(c - z), (x * np.exp(shared[..., :1] - z))[..., None]

    return predict


def _linear(*columns: Callable[[Counts], Floats]) -> Predictor:
    """``z = c + sum_j b_j (x_j - mean x_j)``: centred, so that c and b hardly depend."""

    def predict(c: Floats, shared: Floats, counts: Counts) -> tuple[Floats, Floats, Floats]:
        x = np.stack([column(counts) for column in columns], axis=1)
        x = x - x.mean(axis=0)
        moved = x @ shared if shared.ndim == 1 else shared @ x.T
        return c + moved, np.ones_like(c), np.broadcast_to(x, (*c.shape, x.shape[1]))

    return predict


def _beyond(counts: Counts) -> Floats:
    return (counts.width - counts.reference).astype(np.float64)


def _width(counts: Counts) -> Floats:
    return counts.width.astype(np.float64)


def _log_width(counts: Counts) -> Floats:
    return np.log(_width(counts))


def _covariate(name: str) -> Callable[[Counts], Floats]:
    return lambda counts: counts.covariates[name]


def regression(name: str, label: str, covariates: tuple[str, ...]) -> Model:
    """Logistic regression on covariates, ``logit s = c_g + sum_j b_j (x_j - mean x_j)``.

    Args:
        name, label: of the model.
        covariates: names in `Counts.covariates`; none: a constant rate.
    """
    if not covariates:
        return Model(name, label, "logit", _fixed(lambda counts: np.zeros(counts.cells)))
    shared = tuple(Shared(f"b[{x}]", 0.0, -200.0, 200.0) for x in covariates)
    predictor = _linear(*[_covariate(x) for x in covariates])
    return Model(name, label, "logit", predictor, shared, covariates[0])


_POWER = (Shared("a", 1.0, -10.0, 30.0),)
_RATE = (Shared("kappa", -3.0, -30.0, 6.0, log=True),)
_SLOPE = (Shared("b", 0.1, -100.0, 100.0),)

_ALL = (
    Model("constant", "1 − s = 1 − p: width does not matter", "hazard",
          _fixed(lambda counts: np.zeros(counts.cells))),
    Model("disjoint", "(1 − p)^⌊m/r⌋", "hazard", _fixed(_log_disjoint)),
    Model("windows", "(1 − p)^(m − r + 1)", "hazard", _fixed(_log_windows)),
    Model("subsets", "(1 − p)^C(m, r)", "hazard", _fixed(_log_subsets)),
    Model("proportional", "(1 − p)^(m/r)", "hazard", _fixed(_log_ratio)),
    Model("disjoint^a", "(1 − p)^(⌊m/r⌋^a)", "hazard", _power(_log_disjoint), _POWER),
    Model("windows^a", "(1 − p)^((m − r + 1)^a)", "hazard", _power(_log_windows), _POWER),
    Model("subsets^a", "(1 − p)^(C(m, r)^a)", "hazard", _power(_log_subsets), _POWER),
    Model("power", "(1 − p)^((m/r)^a)", "hazard", _power(_log_ratio), _POWER),
    Model("geometric", "(1 − p) exp(−κ (m − r))", "hazard", _additive(_beyond), _RATE),
    Model("escape", "(1 − p) exp(−κ E(m))", "hazard", _additive(_covariate("escape")), _RATE,
          "escape"),
    Model("escape-logit", "logit s = c + b E(m)", "logit", _linear(_covariate("escape")), _SLOPE,
          "escape"),
    Model("logistic", "logit s = c + b m", "logit", _linear(_width), _SLOPE),
    Model("log-logistic", "logit s = c + b ln m", "logit", _linear(_log_width), _SLOPE),
)  # fmt: skip

#: Every model by name.
MODELS: dict[str, Model] = {model.name: model for model in _ALL}

#: (smaller, larger, whether the smaller lies at the end of a parameter's range): likelihood ratio
#: tests with one degree of freedom.
NESTED: tuple[tuple[str, str, bool], ...] = (
    ("disjoint", "disjoint^a", False),
    ("windows", "windows^a", False),
    ("subsets", "subsets^a", False),
    ("proportional", "power", False),
    ("constant", "power", False),
    ("constant", "geometric", True),
    ("constant", "escape", True),
)
