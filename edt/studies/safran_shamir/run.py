"""Safran and Shamir's table: how often relu students end in a spurious minimum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd

from edt.landscape.safran_shamir import run_starts, spurious_table
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.studies.safran_shamir.published import (
    SAFRAN_SHAMIR,
    SAFRAN_SHAMIR_STARTS,
    compare_counts,
    holm,
)
from edt.studies.safran_shamir.spec import SafranShamirSpec

__all__ = ["SafranShamirRun", "SafranShamirSpec", "run_safran_shamir", "table_beside_published"]

#: Starts of a part: what a killed run loses at most.
PART = 1000


@dataclass(repr=False)
class SafranShamirRun(Experiment):
    """Fill the cells of the table.

    Every start follows gradient descent with step 0.1 on the exact population loss; Newton's
    method ends what descent would end at the same point (`edt.landscape.spurious`).

    ``runs`` has one row a start (`edt.landscape.SafranShamir.runs`).

    Example:
        >>> spec = SafranShamirSpec(teachers=(6,), extra=(0,), starts=20)
        >>> run_safran_shamir(spec, progress=False).table()["student"].tolist()
        [6]

    Reference: I. Safran, O. Shamir, ICML 2018, arXiv 1712.08968.
    """

    kind: ClassVar[str] = "safran-shamir"
    spec_type: ClassVar[type[Spec]] = SafranShamirSpec
    names: ClassVar[tuple[str, ...]] = ("runs",)

    @staticmethod
    def plan(spec: SafranShamirSpec) -> list[Part]:
        """One part per `PART` starts of a cell."""
        return [
            Part(
                f"teacher-{k:03d}-student-{n:03d}-starts-{first:06d}",
                f"teacher {k}, student {n}: starts {first + 1:,}..{last:,}",
                _cost(k, n) * (last - first),
                "descend",
                (k, n, first, last),
            )
            for k, n in spec.cells
            for first in range(0, spec.starts, PART)
            for last in (min(first + PART, spec.starts),)
        ]

    @classmethod
    def headline(cls, spec: SafranShamirSpec) -> str:
        """What is about to run, in a line."""
        return f"{len(spec.cells) * spec.starts:,} students in {len(spec.cells)} cells"

    @classmethod
    def measure(cls, spec: SafranShamirSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """All starts, by teacher, student and number."""
        runs = parts.table(partial(_part, spec))
        return {"runs": runs.sort_values(["teacher", "student", "run"], ignore_index=True)}

    def table(self, conf: float = 0.95) -> pd.DataFrame:
        """One row a cell, beside the reported share; see `table_beside_published`."""
        return table_beside_published(self.tables["runs"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """The table."""
        return {"table": self.table()}


#: Runs it, or what is left of it: `edt.runs.experiment.Experiment.run`.
run_safran_shamir = SafranShamirRun.run


def table_beside_published(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Share of spurious ends of every cell, and the reported one where there is one.

    Args:
        runs: table ``runs``.
        conf: coverage of the intervals.

    Returns:
        One row a cell: the columns of `edt.landscape.spurious_table` (with ``share`` called
        ``rate``); ``rate_reported``, a figure that others report (unverified, of 1,000 starts);
        ``difference`` of the two with Newcombe bounds; ``p_value`` of Fisher's exact test, and
        ``p_adjusted``, Holm's over all cells that have one. NaN where nothing is reported.
    """
    table = spurious_table(runs, conf)
    names = {"share": "rate", "share_low": "rate_low", "share_high": "rate_high"}
    table = table.rename(columns=names)
    rows = []
    for k, n, bad, starts in zip(
        table["teacher"], table["student"], table["spurious"], table["starts"], strict=True
    ):
        reported = SAFRAN_SHAMIR.get((int(k), int(n)), np.nan)
        row = {"rate_reported": reported}
        if np.isnan(reported):
            row |= dict.fromkeys(("difference", "difference_low", "difference_high"), np.nan)
            row["p_value"] = np.nan
        else:
            found = compare_counts(int(bad), int(starts), reported, SAFRAN_SHAMIR_STARTS, conf)
            row |= {
                "difference": found.difference.value,
                "difference_low": found.difference.low,
                "difference_high": found.difference.high,
                "p_value": found.p_value,
            }
        rows.append(row)
    beside = pd.DataFrame(rows, index=table.index)
    beside["p_adjusted"] = holm(beside["p_value"].tolist())
    return pd.concat([table, beside], axis=1)


def _part(spec: SafranShamirSpec, k: int, n: int, first: int, last: int) -> pd.DataFrame:
    return run_starts(
        k, n, range(first, last),
        seed=spec.seed, tol=spec.tol, max_steps=spec.max_steps, finish=spec.finish,
    )  # fmt: skip


def _cost(k: int, n: int) -> float:
    """Predicted time of a start, up to a factor: pairs of neurons a step, and ever more steps."""
    return float(n * (n + k)) * k + 1000.0
