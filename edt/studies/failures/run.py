"""What failed ends are against width, and whether one neuron more opens a way out of a channel.

Every end that is not good has a certified label. Of each kind some are given one neuron more, in
ways that keep the loss: a neuron split inside and outside the segment, or a fresh neuron with
output weight 0. From there the run goes on, along the most negative direction of the wide Hessian
where there is one. The null is as many goes on from the narrow network, kicked by random steps:
what a push and more optimisation do without a neuron.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.landscape import Minima, split_every
from edt.runs.experiment import Part, Parts, Spec
from edt.stats import Interval, cluster_rate, paired_interval
from edt.studies.common.contrast import mean_gap
from edt.studies.common.finish import finish, leave, with_fresh
from edt.studies.common.one_table import targets_and_widths
from edt.studies.common.students import StudentRun
from edt.studies.failures.spec import FailuresSpec
from edt.tasks import Task

#: Labels of ends that are given another neuron.
KINDS = ("minimum", "channel", "saturated")
#: Ways to go on.
WAYS = ("inside", "outside", "fresh", "kick")
#: Columns of ``escapes`` and their dtypes.
ESCAPES: dict[str, str] = {
    "target": "int64",
    "width": "int64",
    "seed": "int64",
    "label": "str",
    "way": "str",  # of `WAYS`
    "neuron": "int64",  # the one that was split; for others the number of the try
    "loss": "float64",
    "index": "int64",  # negative eigenvalues of the Hessian where it goes on
    "drop": "float64",  # share of the loss that leaving along the steepest way down takes
    "end_loss": "float64",
    "end_label": "str",
    "outcome": "str",
}
#: A loss is lower when it fell by more than this share.
LOWER = 1e-3


@dataclass(repr=False)
class FailuresRun(StudentRun):
    """Label failed ends, and look for ways out of them.

    Tables: ``students`` (one row a run), ``escapes`` (one row a way to go on from a failed end).
    """

    kind: ClassVar[str] = "failures"
    spec_type: ClassVar[type[Spec]] = FailuresSpec
    names: ClassVar[tuple[str, ...]] = ("students", "escapes")
    main: ClassVar[str] = "students"

    @classmethod
    def then(cls, spec: FailuresSpec) -> list[Part]:
        """The ways out of the failures of each (teacher, width)."""
        return targets_and_widths(
            "escape", spec, spec.targets, "one neuron more",
            lambda width: spec.each * len(KINDS) * 4 * width * (width + 1), ESCAPES,
        )  # fmt: skip

    @classmethod
    def headline(cls, spec: FailuresSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.networks:,} students, and ways out of those that fail"

    @classmethod
    def follow(
        cls, spec: FailuresSpec, task: Task, students: pd.DataFrame, minima: Minima, parts: Parts
    ) -> dict[str, pd.DataFrame]:
        """The ways out."""
        go_on = partial(_escapes, spec, task, students, minima.networks)
        escapes = parts.table(go_on, "one neuron more", empty=_empty())
        return {"escapes": escapes}

    def failures(self, conf: float = 0.95) -> pd.DataFrame:
        """What failed ends are, per width: see `failure_table`."""
        return failure_table(self.tables["students"], conf)

    def ways_out(self, conf: float = 0.95) -> pd.DataFrame:
        """Which failures open up with one neuron more: see `escape_rates`."""
        return escape_rates(self.tables["escapes"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Both tables."""
        return {"failures": self.failures(), "ways_out": self.ways_out()}


#: Runs it, or what is left of it.
run_failures = FailuresRun.run


def _empty() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in ESCAPES.items()})


@dataclass
class _Starts:
    """Where runs go on, gathered."""

    networks: list[Ensemble] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, networks: Ensemble, way: str, end: dict[str, Any]) -> None:
        """Networks that go on from one end, numbered in their order."""
        self.networks.append(networks)
        self.rows += [{**end, "way": way, "neuron": k} for k in range(networks.B)]


def _escapes(
    spec: FailuresSpec, task: Task, students: pd.DataFrame, networks: Ensemble, target: int,
    width: int,
) -> pd.DataFrame:  # fmt: skip
    cell = students[(students["target"] == target) & (students["width"] == width)]
    failed = cell[cell["outcome"] != "good"]
    ends = pd.concat([failed[failed["label"] == kind].head(spec.each) for kind in KINDS])
    if not len(ends):
        return _empty()
    wide, narrow = _Starts(), _Starts()
    for row in ends.to_dict("records"):
        place = int(cell.index[cell["seed"] == row["seed"]][0])
        end = networks.select([place])
        names = ("target", "width", "seed", "label", "loss", "threshold")
        facts = {name: row[name] for name in names}
        for way, mu in (("inside", 0.5), ("outside", 1.5)):
            wide.add(split_every(end, mu).networks, way, facts)
        count = int(end.layer_widths[0, 1])
        wide.add(with_fresh(end, count, int(row["seed"]), spec.init), "fresh", facts)
        narrow.add(end.select([0] * width), "kick", facts)
    tables = [_go_on(spec, task, some, target) for some in (wide, narrow)]
    return pd.concat(tables, ignore_index=True).astype(ESCAPES)[list(ESCAPES)]


def _go_on(spec: FailuresSpec, task: Task, starts: _Starts, target: int) -> pd.DataFrame:
    """Leave along the steepest way down, or by a kick, then to the bottom and a label."""
    ens = Ensemble.concat(starts.networks)
    index = torch.full((ens.B,), target, dtype=torch.int64)
    frame = pd.DataFrame(starts.rows)
    generator = torch.Generator().manual_seed(int(frame["target"].iloc[0]) + 1)
    left, negative, drop = leave(task, ens, index, frame["way"].eq("kick").to_numpy(), generator)
    ended = finish(
        task, left, index, frame["threshold"].to_numpy(), tol=spec.tol,
        lbfgs_steps=10 * spec.escape_steps, newton_steps=spec.escape_steps,
        certify_steps=spec.certify_steps,
    )  # fmt: skip
    return frame.assign(
        index=negative, drop=drop, end_loss=ended.loss, end_label=ended.label,
        outcome=ended.outcome,
    )  # fmt: skip


def failure_table(students: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """What ends that are not good are, per width; teachers are the clusters.

    Returns:
        One row per width: ``runs``, ``failed`` with its ``rate`` and bounds, ``bad``, the rate of
        certified bad minima among all runs, with bounds, ``bad_change``, what it is less the same
        of the narrowest width, teacher by teacher (`edt.studies.common.contrast.mean_gap`; NaN
        there), and of the failed ones the shares ``minimum`` (flat ones included), ``channel``,
        ``saturated``, ``other``, each with bounds (NaN without failures).
    """
    rows: list[dict[str, Any]] = []
    narrowest = None
    for width, part in students.groupby("width"):
        lost = part[part["outcome"] != "good"]
        by = part.groupby("target")["outcome"].agg(lambda o: (o != "good").sum())
        size = part.groupby("target").size()
        rate = cluster_rate(by.to_numpy(), size.to_numpy(), conf)
        row: dict[str, Any] = {
            "width": int(str(width)), "teachers": int(part["target"].nunique()), "runs": len(part),
            "failed": len(lost), "rate": rate.value, "rate_low": rate.low, "rate_high": rate.high,
        }  # fmt: skip
        settled = part.groupby("target")["outcome"].agg(lambda o: (o == "bad").sum())
        bad = cluster_rate(settled.to_numpy(), size.to_numpy(), conf)
        row |= {"bad": bad.value, "bad_low": bad.low, "bad_high": bad.high}
        share = settled / size
        change = Interval(np.nan, np.nan, np.nan)
        if narrowest is not None:
            change = mean_gap(share - narrowest, int(size.min()), conf)
        narrowest = share if narrowest is None else narrowest
        row |= {
            "bad_change": change.value, "bad_change_low": change.low,
            "bad_change_high": change.high,
        }  # fmt: skip
        words = {"minimum": ("bad",), "channel": ("channel",), "saturated": ("saturated",)}
        named = {name for names in words.values() for name in names}
        for name, outcome in (*words.items(), ("other", ())):
            is_one = lost["outcome"].isin(outcome) if outcome else ~lost["outcome"].isin(named)
            counts = is_one.groupby(lost["target"]).agg(["sum", "size"])
            found = (
                cluster_rate(counts["sum"].to_numpy(), counts["size"].to_numpy(), conf)
                if len(counts)
                else None
            )
            row |= {
                name: found.value if found else np.nan,
                f"{name}_low": found.low if found else np.nan,
                f"{name}_high": found.high if found else np.nan,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def escape_rates(escapes: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """How often ends of each kind get away, by the way they go on; ends are the clusters.

    An end gets *lower* when its loss falls by more than a thousandth, and *good* when it reaches
    the good loss, by any of the tries of that way.

    Returns:
        One row per (label, way): ``ends``, ``tries``, ``strict`` (ends with a negative eigenvalue
        at some try), ``lower`` and ``good`` rates with bounds, and ``good_ahead``: the mean over
        ends of "some try reaches good" minus the same of the kicks, paired, with bounds (NaN for
        kicks).
    """
    rows = []
    key = ["target", "width", "seed"]
    marked = escapes.assign(
        lower=escapes["end_loss"] < escapes["loss"] * (1.0 - LOWER),
        good=escapes["outcome"].eq("good"),
        strict=escapes["index"] > 0,
    )
    for label in KINDS:
        subset = marked[marked["label"] == label]
        if not len(subset):
            continue
        per = subset.groupby(["way", *key])[["lower", "good", "strict"]].max().astype(float)
        kicks = per.loc["kick"] if "kick" in per.index.get_level_values("way") else None
        for way in WAYS:
            if way not in per.index.get_level_values("way"):
                continue
            ends = per.loc[way]
            row: dict[str, Any] = {
                "label": label, "way": way, "ends": len(ends),
                "tries": int((subset["way"] == way).sum()), "strict": float(ends["strict"].mean()),
            }  # fmt: skip
            for name in ("lower", "good"):
                counts = ends[name].groupby("target").agg(["sum", "size"])
                found = cluster_rate(counts["sum"].to_numpy(), counts["size"].to_numpy(), conf)
                row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            gap = None
            if kicks is not None and way != "kick":
                pairs = (ends["good"] - kicks["good"]).dropna()
                teachers = pairs.index.get_level_values("target")
                gap = paired_interval(pairs.to_numpy(), teachers, conf) if len(pairs) else None
            row |= {
                "good_ahead": gap.value if gap else np.nan,
                "good_ahead_low": gap.low if gap else np.nan,
                "good_ahead_high": gap.high if gap else np.nan,
            }
            rows.append(row)
    return pd.DataFrame(rows)
