"""Exclusive or against width, beside the figures it is known for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.runs.experiment import Part, Spec
from edt.stats import effective_tickets, wilson
from edt.stats.exact import fisher_test
from edt.studies.common.one_table import OneTable
from edt.studies.xor.spec import REFERENCE, REFERENCE_SEEDS, XorSpec
from edt.tasks.xor import one_logit, xor
from edt.training import masked_train

if TYPE_CHECKING:
    from edt.success import Comparison
    from edt.success.counts import Floats

#: What the starts are called.
NAMES: dict[str, str] = {
    "fixed": "output weights N(0, 2)",
    "he": "output weights N(0, 2/m)",
}
#: Neurons of a ticket: two relu units solve exclusive or.
TICKET = 2

#: Columns that need a reference.
REFERENCES = (
    "rate_ref",
    "rate_ref_low",
    "rate_ref_high",
    "n_eff_ref",
    "n_eff_ref_low",
    "n_eff_ref_high",
    "p",
)

#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "start": "str",
    "width": "int64",
    "seed": "int64",
    "loss": "float64",  # mean cross-entropy at the last step
    "status": "str",
    "win": "bool",
}


def _part(spec: XorSpec, start: str, width: int) -> pd.DataFrame:
    trained = masked_train(
        xor(),
        networks(spec, start, width),
        optimizer="gd",
        steps=spec.steps,
        lr=spec.lr,
        record=None,
        progress=False,
    )
    if trained.interrupted:
        raise KeyboardInterrupt
    table = pd.DataFrame(
        {
            "start": start,
            "width": width,
            "seed": range(spec.first_seed, spec.first_seed + spec.seeds),
            "loss": trained.loss.to(torch.float64).numpy(),
            "status": trained.status,
            "win": (trained.loss < spec.success).numpy(),
        }
    )
    return table.astype(RUNS)[list(RUNS)]


@dataclass(repr=False)
class Xor(OneTable):
    """Train 2-m-1 relu networks on exclusive or and count successes at each width.

    Table ``runs`` has one row a network.

    Example:
        >>> run_xor(XorSpec(widths=(2, 4), seeds=50), progress=False).success()  # doctest: +SKIP
    """

    kind: ClassVar[str] = "xor"
    spec_type: ClassVar[type[Spec]] = XorSpec
    rows: ClassVar[Callable[..., Any]] = staticmethod(_part)

    @staticmethod
    def plan(spec: XorSpec) -> list[Part]:
        """One part a start and width."""
        return [
            Part(
                f"{start}-width-{width:04d}",
                f"start {start}, width {width}: {spec.seeds:,} networks",
                float(spec.seeds * (4 + width)),
                "train",
                (start, width),
                rows=spec.seeds,
                columns=RUNS,
            )
            for start in spec.starts
            for width in spec.widths
        ]

    @classmethod
    def headline(cls, spec: XorSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.networks:,} networks, {spec.steps:,} steps on the four points"

    def success(self, conf: float = 0.95) -> pd.DataFrame:
        """Success and effective tickets beside the reference: see `reference_table`."""
        return reference_table(self.tables["runs"], conf)

    def models(
        self, start: str, draws: int = 0, success: pd.DataFrame | None = None
    ) -> Comparison | None:
        """Models of success against width; None without two widths of at least 2.

        Args:
            start: of the spec's starts.
            draws: resamples that say how sure the choice is (0: leave it out).
            success: what `success` gave, where it was called before.
        """
        table = self.success() if success is None else success
        table = table[(table["start"] == start) & (table["width"] >= TICKET)]
        if len(table) < 2:
            return None
        from edt.success import Counts, compare

        return compare(Counts.of(table, TICKET, group=None), draws=draws)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Rates and tickets beside the reference, and the test of their difference."""
        names = [
            "start", "width", "rate", "rate_low", "rate_high", "rate_ref", "p", "p_holm", "n_eff",
            "n_eff_low", "n_eff_high", "n_eff_ref",
        ]  # fmt: skip
        return {"success_against_the_reference": self.success()[names]}


#: Runs it, or what is left of it: `edt.runs.experiment.Experiment.run`.
run_xor = Xor.run


def networks(spec: XorSpec, start: str, width: int) -> Ensemble:
    """The initial networks of one start and width: one logit, biases 0."""
    seeds = range(spec.first_seed, spec.first_seed + spec.seeds)
    ens = Ensemble.init([width], seeds, d_in=2, d_out=2, activation="relu", scheme="he")
    if start == "fixed":
        theta = ens.theta.reshape(ens.B, -1).clone()
        theta[:, 3 * width :] *= math.sqrt(width)
        ens = ens.with_theta(theta.flatten())
    return one_logit(ens)


def reference_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Success at each start and width beside the reference.

    Args:
        runs: columns ``start``, ``width`` and ``win``.
        conf: coverage of the intervals.

    Returns:
        One row per (start, width): ``runs``, ``good``; ``rate`` with Wilson bounds; ``n_eff``,
        effective tickets of width 2, with bounds; the counts ``n_disjoint = floor(m/2)``,
        ``n_windows = m-1``, ``n_combinatorial = C(m, 2)``; ``rate_ref``, ``n_eff_ref`` with their
        bounds; ``p``, Fisher's exact test that both rates are one, and ``p_holm``, adjusted for
        all widths of the start. NaN where there is no reference or no width 2.

    Reference: S. Holm, Scand. J. Statist. 6 (1979) 65.
    """
    rows = []
    for start in dict.fromkeys(runs["start"].tolist()):
        group = runs[runs["start"] == start]
        cells = {
            int(str(width)): (int(part["win"].sum()), len(part))
            for width, part in group.groupby("width")
        }
        narrow = cells.get(TICKET)
        for width, (good, seeds) in cells.items():
            known = REFERENCE.get(width)
            row: dict[str, object] = {"start": start, "width": width, "runs": seeds, "good": good}
            row |= _rate("rate", good, seeds, conf)
            row |= _tickets("n_eff", width, (good, seeds), narrow, conf)
            row |= _counts(width)
            row |= dict.fromkeys(REFERENCES, math.nan)
            if known is not None:
                reference = (known, REFERENCE_SEEDS)
                first = (REFERENCE[TICKET], REFERENCE_SEEDS)
                row |= _rate("rate_ref", *reference, conf)
                row |= _tickets("n_eff_ref", width, reference, first, conf)
                row["p"] = fisher_test(good, seeds, *reference)
            rows.append(row)
    out = pd.DataFrame(rows)
    out["p_holm"] = np.nan
    for start in out["start"].unique():
        where = (out["start"] == start) & out["p"].notna()
        out.loc[where, "p_holm"] = holm(out.loc[where, "p"].to_numpy())
    return out


def holm(p: Floats) -> Floats:
    """p-values adjusted for their number so that any false alarm stays below the level."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    out = np.empty_like(p)
    out[order] = np.minimum(stepped, 1.0)
    return out


def _rate(name: str, good: int, seeds: int, conf: float) -> dict[str, float]:
    found = wilson(good, seeds, conf)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _tickets(
    name: str, width: int, wide: tuple[int, int], narrow: tuple[int, int] | None, conf: float
) -> dict[str, float]:
    names = (name, f"{name}_low", f"{name}_high")
    if narrow is None or width < TICKET:
        return dict.fromkeys(names, math.nan)
    if width == TICKET:
        return dict.fromkeys(names, 1.0)  # by definition, not by measurement
    found = effective_tickets(*wide, *narrow, conf=conf)
    return dict(zip(names, (found.value, found.low, found.high), strict=True))


def _counts(width: int) -> dict[str, float]:
    if width < TICKET:
        return dict.fromkeys(("n_disjoint", "n_windows", "n_combinatorial"), math.nan)
    return {
        "n_disjoint": float(width // TICKET),
        "n_windows": float(width - TICKET + 1),
        "n_combinatorial": float(math.comb(width, TICKET)),
    }
