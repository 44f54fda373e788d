"""Counts of wins: what the models are fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import gammaln, xlogy

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """Wins k of n runs in each cell (group, width).

    Attributes:
        group: int64 ``[c]``, 0..G-1.
        width: int64 ``[c]``, m, at least ``reference``.
        wins, runs: int64 ``[c]``, ``0 <= wins <= runs``, ``runs >= 1``.
        reference: r, the width of a ticket.
        covariates: further float64 ``[c]`` by name, such as "escape".
    """

    group: Ints
    width: Ints
    wins: Ints
    runs: Ints
    reference: int
    covariates: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        reference: int,
        *,
        group: str | None = "target",
        covariates: tuple[str, ...] = (),
    ) -> Counts:
        """From a table with one row a cell; widths below the reference are left out.

        Args:
            table: columns ``width``, ``good`` (wins), ``runs``, and those named below.
            reference: r.
            group: column that tells the groups apart, or None for one group.
            covariates: columns to keep; a cell where one is NaN is an error.

        Raises:
            ValueError: a column is missing, counts are impossible, or nothing is left.

        Example:
            >>> table = pd.DataFrame({"width": [2, 4], "good": [3, 7], "runs": 10})
            >>> Counts.of(table, 2, group=None).wins.tolist()
            [3, 7]
        """
        names = ["width", "good", "runs", *covariates, *([] if group is None else [group])]
        missing = [name for name in names if name not in table.columns]
        if missing:
            raise ValueError(f"table lacks the columns {missing}")
        rows = table[table["width"] >= reference]
        if not len(rows):
            raise ValueError(f"no width of the table is at least the reference width {reference}")
        codes = (
            np.zeros(len(rows), dtype=np.int64)
            if group is None
            else np.unique(rows[group].to_numpy(), return_inverse=True)[1].astype(np.int64)
        )
        wins, runs = (rows[name].to_numpy(dtype=np.int64) for name in ("good", "runs"))
        if bool((runs < 1).any() or (wins < 0).any() or (wins > runs).any()):
            raise ValueError("every cell needs 0 <= good <= runs and runs >= 1")
        extra = {name: rows[name].to_numpy(dtype=np.float64) for name in covariates}
        for name, values in extra.items():
            if not np.isfinite(values).all():
                raise ValueError(f"covariate {name!r} is not finite in some cell")
        width = rows["width"].to_numpy(dtype=np.int64)
        return cls(codes, width, wins, runs, reference, extra)

    @cached_property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.width)

    def with_wins(self, wins: Ints) -> Counts:
        """The same cells with other outcomes."""
        return replace(self, wins=wins)

    def constant(self) -> float:
        """``sum ln C(n, k)``: the part of the log-likelihood that no parameter enters."""
        n, k = self.runs, self.wins
        return float((gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)).sum())

    def saturated(self) -> float:
        """Log-likelihood with a rate of its own in every cell: the largest there is."""
        n, k = self.runs.astype(np.float64), self.wins.astype(np.float64)
        return self.constant() + float((xlogy(k, k / n) + xlogy(n - k, 1.0 - k / n)).sum())
