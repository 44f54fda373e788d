"""Neurons until every bad minimum has a way to a good end.

A certified bad minimum is given one neuron in as many ways as it has neurons: each split inside the
segment ("split"), or so many fresh ones with output weight 0 ("fresh"). Each goes on along the most
negative direction, to the bottom; the lowest end is kept, and unless it is good it is given the
next neuron. The null spends the same on forgetting the minimum: as many fresh students of the same
width, trained from the start ("restart"). What is counted is the number of neurons until an end is
good; minima that are not after the most neurons allowed are censored there.

Reference: E. Kaplan, P. Meier, JASA 53 (1958) 457 (survival; all censoring is at the end here).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.landscape import Minima, split_every
from edt.lottery import at_reference_scale
from edt.runs.experiment import Part, Parts, Spec
from edt.stats import cluster_rate, paired_interval
from edt.studies.common.finish import Finished, finish, leave, with_fresh
from edt.studies.common.one_table import targets_and_widths
from edt.studies.common.students import StudentRun
from edt.studies.escape_count.spec import EscapeCountSpec
from edt.tasks import Task
from edt.training import masked_train

#: Ways to spend the tries of one neuron.
WAYS = ("split", "fresh", "restart")
#: Columns of ``counts`` and their dtypes.
COUNTS: dict[str, str] = {
    "target": "int64",
    "width": "int64",  # of the bad minimum
    "seed": "int64",
    "way": "str",  # of `WAYS`
    "neurons": "int64",  # added until good; those added in all where it is not
    "good": "bool",
    "tries": "int64",
    "start_loss": "float64",
    "loss": "float64",  # of the lowest end
    "label": "str",  # its label
}
#: Seeds of fresh starts begin here, away from those of the students.
RESTARTS = 500_000


@dataclass(repr=False)
class EscapeCountRun(StudentRun):
    """Give bad minima neuron after neuron until they are good.

    Tables: ``students`` (one row a run), ``counts`` (one row a bad minimum and way).
    """

    kind: ClassVar[str] = "escape-count"
    spec_type: ClassVar[type[Spec]] = EscapeCountSpec
    names: ClassVar[tuple[str, ...]] = ("students", "counts")
    main: ClassVar[str] = "counts"

    @classmethod
    def then(cls, spec: EscapeCountSpec) -> list[Part]:
        """The bad minima of each (teacher, width)."""
        return targets_and_widths(
            "count", spec, spec.targets, "neuron after neuron",
            lambda width: spec.each * spec.most * 30 * (width + spec.most) ** 2, COUNTS,
            "add neurons",
        )  # fmt: skip

    @classmethod
    def headline(cls, spec: EscapeCountSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.networks:,} students, and up to {spec.most} neurons more for bad minima"

    @classmethod
    def follow(
        cls, spec: EscapeCountSpec, task: Task, students: pd.DataFrame, minima: Minima, parts: Parts
    ) -> dict[str, pd.DataFrame]:
        """Neurons that are needed."""
        count = partial(_counts, spec, task, students, minima.networks)
        counts = parts.table(count, "add neurons", empty=_table([]))
        return {"counts": counts}

    def survival(self, conf: float = 0.95) -> pd.DataFrame:
        """Bad minima that are not good yet, against neurons: see `survival_table`."""
        return survival_table(self.tables["counts"], self.spec.most, conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """The survival table."""
        return {"survival": self.survival()}


#: Runs it, or what is left of it.
run_escape_count = EscapeCountRun.run


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COUNTS)).astype(COUNTS)


def _counts(
    spec: EscapeCountSpec, task: Task, students: pd.DataFrame, networks: Ensemble, target: int,
    width: int,
) -> pd.DataFrame:  # fmt: skip
    cell = students[(students["target"] == target) & (students["width"] == width)]
    ends = cell[cell["outcome"] == "bad"].head(spec.each)
    rows = []
    for place, record in zip(ends.index, ends.to_dict("records"), strict=True):
        row = {str(name): value for name, value in record.items()}
        for way in WAYS:
            rows.append(_grown(spec, task, networks.select([int(place)]), row, way))
    return _table(rows)


def _grown(
    spec: EscapeCountSpec, task: Task, end: Ensemble, row: dict[str, Any], way: str
) -> dict[str, Any]:
    target, seed, width = int(row["target"]), int(row["seed"]), int(row["width"])
    generator = torch.Generator().manual_seed(1000 * seed + WAYS.index(way))
    tries, best, label = 0, float(row["loss"]), str(row["label"])
    found = {"target": target, "width": width, "seed": seed, "way": way,
             "start_loss": float(row["loss"])}  # fmt: skip
    for neurons in range(1, spec.most + 1):
        count = width + neurons - 1  # tries of this neuron: as many as there were neurons
        if way == "restart":
            ended = _restarted(spec, task, target, width + neurons, seed, count, row["threshold"])
        else:
            wide = (
                split_every(end, 0.5).networks
                if way == "split"
                else with_fresh(end, count, seed + neurons, spec.init)
            )
            index = torch.full((wide.B,), target)
            left, _, _ = leave(task, wide, index, np.zeros(wide.B, dtype=bool), generator)
            ended = _finish(spec, task, left, index, row["threshold"])
        tries += count
        lowest = int(np.nanargmin(ended.loss))
        end = ended.networks.select([lowest])
        if way != "restart" or ended.loss[lowest] < best:
            best, label = float(ended.loss[lowest]), ended.label[lowest]
        if "good" in ended.outcome:
            return found | {"neurons": neurons, "good": True, "tries": tries, "loss": best,
                            "label": label}  # fmt: skip
    return found | {"neurons": spec.most, "good": False, "tries": tries, "loss": best,
                    "label": label}  # fmt: skip


def _restarted(
    spec: EscapeCountSpec, task: Task, target: int, width: int, seed: int, count: int,
    threshold: float,
) -> Finished:  # fmt: skip
    """Fresh students of one width, as many as there are tries, trained like the others."""
    first = RESTARTS + 1_000_000 * target + 100 * (seed % 1_000) + 10 * width
    start = Ensemble.init(
        [width], range(first, first + count), d_in=task.d_in, d_out=task.d_out,
        activation=spec.activation, scheme=spec.init, bias=spec.bias, dtype=torch.float64,
    )  # fmt: skip
    index = torch.full((count,), target)
    trained = masked_train(
        task, at_reference_scale(start, spec.init, spec.teacher_width), optimizer="adam",
        steps=spec.steps, lr=spec.lr, schedule=spec.schedule, task_index=index, record=None,
        progress=False,
    )  # fmt: skip
    if trained.interrupted:
        raise KeyboardInterrupt
    return _finish(spec, task, trained.networks, index, threshold)


def _finish(
    spec: EscapeCountSpec, task: Task, start: Ensemble, index: torch.Tensor, threshold: float
) -> Finished:
    return finish(
        task, start, index, threshold, tol=spec.tol, lbfgs_steps=10 * spec.escape_steps,
        newton_steps=spec.escape_steps, certify_steps=spec.certify_steps,
    )  # fmt: skip


#: Columns of `survival_table`, which is empty where no bad minimum was found.
SURVIVAL = (
    "width", "way", "neurons", "teachers", "minima", "left", "left_low", "left_high", "ahead",
    "ahead_low", "ahead_high",
)  # fmt: skip


def survival_table(counts: pd.DataFrame, most: int, conf: float = 0.95) -> pd.DataFrame:
    """Share of the bad minima of each width that are not good after k neurons, by way.

    Args:
        counts: table ``counts``.
        most: neurons added at most.
        conf: coverage; teachers are the clusters (`edt.stats.cluster_rate`, `paired_interval`).

    Returns:
        One row per (width, way, neurons) with width 0 for all widths together: ``teachers``,
        ``minima``, ``left`` (share not good) with bounds, and ``ahead``: the mean over minima of
        "good by this way" minus "good by restarts", with bounds (NaN for restarts).
    """
    rows = []
    for width in (*sorted(counts["width"].unique()), 0):
        subset = counts if width == 0 else counts[counts["width"] == width]
        key = ["target", "width", "seed"]
        for neurons in range(1, most + 1):
            good = subset.assign(done=subset["good"] & (subset["neurons"] <= neurons))
            wide = good.pivot_table(index=key, columns="way", values="done", aggfunc="first")
            for way in WAYS:
                if way not in wide:
                    continue
                done = wide[way].astype(float)
                by = (1.0 - done).groupby(level="target").agg(["sum", "size"])
                left = cluster_rate(by["sum"], by["size"], conf)
                row = {
                    "width": int(width), "way": way, "neurons": neurons, "teachers": len(by),
                    "minima": len(done), "left": left.value, "left_low": left.low,
                    "left_high": left.high, "ahead": np.nan, "ahead_low": np.nan,
                    "ahead_high": np.nan,
                }  # fmt: skip
                if way != "restart" and "restart" in wide:
                    gap = paired_interval(
                        done - wide["restart"].astype(float),
                        wide.index.get_level_values("target"), conf,
                    )  # fmt: skip
                    row |= {"ahead": gap.value, "ahead_low": gap.low, "ahead_high": gap.high}
                rows.append(row)
    return pd.DataFrame(rows, columns=SURVIVAL)
