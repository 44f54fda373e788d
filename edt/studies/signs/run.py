"""Signs of eigenvalues against coin tosses.

If each of the P eigenvalues at a critical point were negative with probability alpha, and none knew
of the others, a share ``(1 - alpha)^P`` of the points would be minima: vanishing with width. That
is the common argument for why bad minima are rare in wide networks. Here alpha is measured at each
level of loss, and the argument's two consequences are compared with critical points found by
Newton's method: how many are minima, and how far the index spreads,
``D = sum (index - alpha P)^2 / sum alpha (1 - alpha) P``, which is 1 for coin tosses.

References: Y. Dauphin et al., NeurIPS 2014, arXiv 1406.2572 (the argument); A. Bray, D. Dean, Phys.
Rev. Lett. 98 (2007) 150201 (eigenvalues that know of each other).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from edt.runs.experiment import Part, Spec
from edt.stats import SEED
from edt.studies.common.one_table import OneTable
from edt.studies.index_loss.run import IndexLossRun, critical_points, distinct_points
from edt.studies.signs.spec import SignsSpec

Floats = npt.NDArray[np.float64]


@dataclass(repr=False)
class SignsRun(OneTable):
    """Find critical points and count their negative eigenvalues; table ``runs`` as of index-loss.

    Reference: see the module.
    """

    kind: ClassVar[str] = "signs"
    spec_type: ClassVar[type[Spec]] = SignsSpec
    rows: ClassVar[Callable[..., Any]] = staticmethod(critical_points)

    @staticmethod
    def plan(spec: SignsSpec) -> list[Part]:
        """One part a teacher and width, as of index-loss."""
        return IndexLossRun.plan(spec)

    @classmethod
    def headline(cls, spec: SignsSpec) -> str:
        """What is about to run, in a line."""
        return IndexLossRun.headline(spec)

    @property
    def points(self) -> pd.DataFrame:
        """Distinct critical points with their level: see `levelled`."""
        return levelled(distinct_points(self.tables["runs"]), self.spec.levels)

    def coins(self, draws: int = 2000) -> pd.DataFrame:
        """Minima and spread against coin tosses, per width and level: see `coin_table`."""
        return coin_table(self.points, draws)

    def summary(self) -> dict[str, pd.DataFrame]:
        """The table."""
        return {"signs": self.coins()}


#: Runs it, or what is left of it.
run_signs = SignsRun.run


def levelled(points: pd.DataFrame, levels: int) -> pd.DataFrame:
    """Points with their ``level``: 0 for the lowest losses of their teacher and width.

    Args:
        points: from `edt.studies.index_loss.run.distinct_points`.
        levels: parts of equal size.
    """
    rank = points.groupby(["target", "width"])["loss"].rank(method="first", pct=True)
    return points.assign(level=np.clip(np.ceil(levels * rank) - 1, 0, levels - 1).astype(int))


def coin_table(points: pd.DataFrame, draws: int = 2000, seed: int = SEED) -> pd.DataFrame:
    """Minima and spread of the index against independent signs, per width and level.

    Under the null the index of each point is binomial, ``index ~ B(P, alpha)``, alpha the share of
    negative eigenvalues of its teacher's points on that level. Each simulated data set has its
    alpha measured anew, as the data have.

    Args:
        points: from `levelled`: ``target``, ``width``, ``level``, ``index``, ``coords``,
            ``n_zero``.
        draws: simulated data sets; seed: of them.

    Returns:
        One row per (width, level), and one per width with level -1 for all its levels: ``points``,
        ``teachers``, ``alpha``, ``P`` (eigenvalues that are not flat, mean), ``minima``, their
        ``share`` and the ``coins`` expected, mean of ``(1 - alpha)^P``; ``p_more`` and ``p_fewer``:
        chance under the null of at least and at most so many minima; the ``dispersion`` D with the
        null's 2.5 and 97.5% points, ``null_low`` and ``null_high``.
    """
    rows = []
    generator = np.random.Generator(np.random.Philox(seed))
    for width, part in points.groupby("width"):
        for level in (*sorted(part["level"].unique()), -1):
            subset = part if level == -1 else part[part["level"] == level]
            rows.append(
                {"width": int(str(width)), "level": int(level)} | _row(subset, draws, generator)
            )
    return pd.DataFrame(rows)


def _row(part: pd.DataFrame, draws: int, generator: np.random.Generator) -> dict[str, Any]:
    _, cell = np.unique(part[["target", "level"]].to_numpy(), axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    size = (part["coords"] - part["n_zero"]).clip(lower=1).to_numpy()
    index = part["index"].to_numpy()
    share = _shares(index[None, :], size, cell)
    tossed = generator.binomial(size, share[0], size=(draws, len(part)))
    spread = _spread(index[None, :], size, share)[0]
    null = _spread(tossed, size, _shares(tossed, size, cell))
    null = null[np.isfinite(null)]
    minima, by_chance = int((index == 0).sum()), (tossed == 0).sum(1)
    low, high = np.quantile(null, [0.025, 0.975]) if null.size else (math.nan, math.nan)
    return {
        "points": len(part),
        "teachers": int(part["target"].nunique()),
        "alpha": float(index.sum() / size.sum()),
        "P": float(size.mean()),
        "minima": minima,
        "share": minima / len(part),
        "coins": float(((1.0 - share[0]) ** size).mean()),
        "p_more": float(((by_chance >= minima).sum() + 1) / (draws + 1)),
        "p_fewer": float(((by_chance <= minima).sum() + 1) / (draws + 1)),
        "dispersion": float(spread),
        "null_low": float(low),
        "null_high": float(high),
    }


def _shares(index: npt.NDArray[np.int64], size: npt.NDArray[np.int64], cell: Any) -> Floats:
    """Share of negative eigenvalues of each point's cell, ``[draws, n]``."""
    member = np.eye(int(cell.max()) + 1)[cell]
    out: Floats = ((index @ member) / (size @ member))[:, cell]
    return out


def _spread(index: npt.NDArray[np.int64], size: npt.NDArray[np.int64], share: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Floats = ((index - share * size) ** 2).sum(1) / (share * (1.0 - share) * size).sum(1)
    return out
