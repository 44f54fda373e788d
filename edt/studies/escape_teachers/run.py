"""Escape dimensions and width told apart: teachers chosen by how many ways down a neuron opens.

Within a teacher the escape dimensions E(m) that width m has opened grow with m nearly evenly, so no
sweep over widths tells the two apart. Teachers differ in how many of them a neuron opens. Many
teachers are drawn; of each, students of width r find bad minima, and the mean index e after a
neuron of one is split is measured there. Those with the fewest and with the most are kept, and
*other* students, of many widths, are counted. If escape dimensions let runs out,

    -ln P_fail(m) = c + kappa E(m),    E(m) = e (m - r),

so that what a neuron adds to ``-ln P_fail`` is proportional to e; if width as such does, it is the
same for all teachers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from edt.curvature import count_directions
from edt.landscape import split_every
from edt.landscape.levels import loss_levels
from edt.lottery import run_trial
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.stats import cluster_rate, effective_tickets, jackknife, permuted, wilson
from edt.studies.common.find_tickets import SEED_STRIDE
from edt.studies.common.finish import finish
from edt.studies.common.targets import teacher_task
from edt.studies.escape_teachers.spec import EscapeTeachersSpec
from edt.tasks import Task

#: Columns of ``candidates`` and their dtypes.
CANDIDATES: dict[str, str] = {
    "target": "int64",
    "students": "int64",
    "bad": "int64",  # of them, certified bad minima
    "minima": "int64",  # distinct ones of which neurons were split
    "splits": "int64",
    "opened": "float64",  # e: mean index after a split; NaN without a bad minimum
}
#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "target": "int64",
    "group": "str",  # "few" or "many" escape dimensions
    "opened": "float64",
    "width": "int64",
    "seed": "int64",
    "train_loss": "float64",  # after Adam alone
    "loss": "float64",
    "win": "bool",
}
#: Seeds of the students that find bad minima, apart from those that are counted.
PILOT_SEED = 500_000
Floats = npt.NDArray[np.float64]
DRAW, TRAIN = "draw teachers", "train students"


@dataclass(repr=False)
class EscapeTeachersRun(Experiment):
    """Choose teachers by their escape dimensions, and count which of them width helps more.

    Tables: ``candidates`` (one row a teacher drawn), ``runs`` (one row a student of those chosen).
    """

    kind: ClassVar[str] = "escape-teachers"
    spec_type: ClassVar[type[Spec]] = EscapeTeachersSpec
    names: ClassVar[tuple[str, ...]] = ("candidates", "runs")
    main: ClassVar[str] = "runs"

    @staticmethod
    def plan(spec: EscapeTeachersSpec) -> list[Part]:
        """One part a candidate, then one a place among the chosen and width."""
        r = spec.teacher_width
        return [
            *(
                Part(
                    f"candidate-{target:03d}", f"teacher {target + 1}: escape dimensions",
                    float(4 * spec.pilots * r), DRAW, (target,), columns=CANDIDATES,
                )
                for target in range(spec.candidates)
            ),
            *(
                Part(
                    f"place-{place:03d}-width-{width:04d}",
                    f"teacher {place + 1} of those chosen, width {width}",
                    float(spec.seeds * width), TRAIN, (place, width), columns=RUNS,
                )
                for place in range(spec.teachers)
                for width in spec.widths
            ),
        ]  # fmt: skip

    @classmethod
    def headline(cls, spec: EscapeTeachersSpec) -> str:
        """What is about to run, in a line."""
        return (
            f"{spec.candidates} teachers; {spec.teachers * len(spec.widths) * spec.seeds:,} "
            f"students of {spec.teachers} of them"
        )

    @classmethod
    def data(cls, spec: EscapeTeachersSpec) -> Task:
        """What is learned: a target a candidate."""
        return teacher_task(spec.drawn)

    @classmethod
    def measure(cls, spec: EscapeTeachersSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """The candidates first; which are kept follows from them."""
        task = cls.data(spec)
        candidates = pd.concat(parts.run(partial(_candidate, spec, task), DRAW), ignore_index=True)
        kept = chosen(candidates, spec.teachers)
        runs = parts.run(partial(_students, spec, task, kept), TRAIN)
        full = [table for table in runs if len(table)]
        made = pd.concat(full, ignore_index=True) if full else _empty()
        return {"candidates": candidates, "runs": made}

    def teachers(self, conf: float = 0.95) -> pd.DataFrame:
        """What a neuron adds, teacher by teacher: see `teacher_table`."""
        return teacher_table(self.tables["runs"], conf)

    def growth(self, conf: float = 0.95, draws: int = 1000) -> pd.DataFrame:
        """Does that go with escape dimensions: see `growth_table`."""
        return growth_table(self.teachers(), conf, draws)

    def rates(self, conf: float = 0.95) -> pd.DataFrame:
        """Success against width, few and many: see `rate_table`."""
        return rate_table(self.tables["runs"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Teachers, and the test."""
        names = ["teacher", "opened", "growth", "n_eff", "n_eff_low", "n_eff_high"]
        return {"teachers": self.teachers()[names], "growth": self.growth()}


#: Runs it, or what is left of it.
run_escape_teachers = EscapeTeachersRun.run


def _empty() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in RUNS.items()})


def _candidate(spec: EscapeTeachersSpec, task: Task, target: int) -> pd.DataFrame:
    """Bad minima of width r, and the index after each of their neurons is split."""
    first = target * SEED_STRIDE + PILOT_SEED
    start = spec.recipe.start(
        [spec.teacher_width], range(first, first + spec.pilots), d_in=task.d_in, d_out=task.d_out,
        activation=spec.activation, bias=spec.bias, dtype=torch.float64,
    )  # fmt: skip
    index = torch.full((spec.pilots,), target)
    ends = run_trial(task, start, spec.protocol, index)
    limit = spec.good * float(task.variance[target])
    done = finish(
        task, ends.networks, index, limit, lbfgs_steps=0, newton_steps=spec.newton_steps,
        certify_steps=spec.certify_steps,
    )  # fmt: skip
    # Zero eigenvalues of flat minima leave signs to rounding.
    bad = np.flatnonzero(np.array(done.label) == "minimum")
    bad = bad[done.loss[bad] > limit]
    bad = bad[np.argsort(done.loss[bad], kind="stable")]
    row = {"target": target, "students": spec.pilots, "bad": len(bad), "minima": 0, "splits": 0,
           "opened": math.nan}  # fmt: skip
    if len(bad):
        levels = np.asarray(loss_levels(done.loss[bad]).label)
        places = bad[np.unique(levels, return_index=True)[1]][: spec.minima]
        wide = split_every(done.networks.select(torch.from_numpy(places)), 0.5)
        counted = count_directions(
            wide.networks, task, task_index=torch.full((wide.networks.B,), target)
        )
        row |= {"minima": len(places), "splits": int(wide.networks.B),
                "opened": float(counted.n_neg.double().mean())}  # fmt: skip
    return pd.DataFrame([row]).astype(CANDIDATES)[list(CANDIDATES)]


def chosen(candidates: pd.DataFrame, teachers: int) -> pd.DataFrame:
    """The candidates with the fewest and with the most escape dimensions a neuron.

    Args:
        candidates: table ``candidates``.
        teachers: how many; the odd one goes to those with many.

    Returns:
        ``target``, ``opened`` and ``group`` ("few", "many"), by ``opened``; all of them where there
        are no more with a bad minimum.
    """
    known = candidates[candidates["opened"].notna()]
    order = known.sort_values(["opened", "target"], ignore_index=True)
    count = min(teachers, len(order))
    few, many = order.head(count // 2), order.tail(count - count // 2)
    kept = pd.concat([few.assign(group="few"), many.assign(group="many")], ignore_index=True)
    return kept[["target", "opened", "group"]]


def _students(
    spec: EscapeTeachersSpec, task: Task, kept: pd.DataFrame, place: int, width: int
) -> pd.DataFrame:
    if place >= len(kept):  # fewer candidates have a bad minimum than are asked for
        return _empty()
    row = kept.iloc[place]
    target = int(row["target"])
    seeds = [target * SEED_STRIDE + k for k in range(spec.seeds)]
    start = spec.recipe.start(
        [width], seeds, d_in=task.d_in, d_out=task.d_out, activation=spec.activation,
        bias=spec.bias,
    )  # fmt: skip
    ends = run_trial(task, start, spec.protocol, torch.full((spec.seeds,), target))
    return pd.DataFrame(
        {
            "target": target, "group": row["group"], "opened": row["opened"], "width": width,
            "seed": seeds, "train_loss": ends.first.numpy(), "loss": ends.loss.numpy(),
            "win": ends.win.numpy(),
        }
    ).astype(RUNS)[list(RUNS)]  # fmt: skip


def teacher_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """What a neuron more adds to success, teacher by teacher.

    Args:
        runs: table ``runs``.
        conf: coverage (`edt.stats.wilson`, `edt.stats.effective_tickets`).

    Returns:
        One row a teacher: ``teacher`` (from 1), ``group``, ``opened``; ``narrow`` and ``wide``,
        success at the least and the greatest width, with bounds; ``growth``, the least-squares
        slope of ``-ln((failures + 1/2) / (runs + 1))`` on the width; ``n_eff``, effective tickets
        of the
        widest, with bounds.
    """
    rows = []
    for (target, group), part in runs.groupby(["target", "group"], sort=False):
        wins = part.groupby("width")["win"].agg(["sum", "size"])
        width = wins.index.to_numpy(dtype=np.float64)
        ends = [(int(row["sum"]), int(row["size"])) for row in wins.to_dict("records")]
        lost = wins["size"].to_numpy() - wins["sum"].to_numpy()
        hazard = -np.log((lost + 0.5) / (wins["size"].to_numpy() + 1.0))
        narrow, wide = wilson(*ends[0], conf), wilson(*ends[-1], conf)
        tickets = effective_tickets(*ends[-1], *ends[0], conf=conf)
        rows.append(
            {
                "teacher": int(str(target)) + 1, "group": str(group),
                "opened": float(part["opened"].iloc[0]),
                "narrow": narrow.value, "narrow_low": narrow.low, "narrow_high": narrow.high,
                "wide": wide.value, "wide_low": wide.low, "wide_high": wide.high,
                "growth": float(np.polyfit(width, hazard, 1)[0]),
                "n_eff": tickets.value, "n_eff_low": tickets.low, "n_eff_high": tickets.high,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def growth_table(teachers: pd.DataFrame, conf: float = 0.95, draws: int = 1000) -> pd.DataFrame:
    """Does what a neuron adds go with the escape dimensions that it opens? Teachers are the unit.

    Args:
        teachers: from `teacher_table`.
        conf: coverage of the interval (`edt.stats.jackknife` over teachers).
        draws: permutations of ``opened`` among teachers, the null "no connection".

    Returns:
        One row: ``teachers``, ``opened_least``, ``opened_most``; ``elasticity`` with bounds (see
        `elasticity`); ``correlation`` (Spearman's), ``limit`` (the null's 97.5% point) and ``p``.
        NaN of fewer than four teachers, or where e or growth do not vary.
    """
    e, g = (teachers[name].to_numpy(dtype=np.float64) for name in ("opened", "growth"))
    row: dict[str, float] = {
        "teachers": len(teachers),
        "opened_least": float(e.min()) if len(e) else math.nan,
        "opened_most": float(e.max()) if len(e) else math.nan,
    }
    names = ("elasticity", "elasticity_low", "elasticity_high", "correlation", "limit", "p")
    if len(e) < 4 or e.std() == 0.0 or g.std() == 0.0:
        return pd.DataFrame([row | dict.fromkeys(names, math.nan)])
    found = jackknife(np.stack([e, g], axis=1), elasticity, conf)
    first, second = (pd.Series(values).rank().to_numpy() for values in (e, g))
    tested = permuted(
        lambda x: float(np.corrcoef(x.astype(np.float64), second)[0, 1]), first,
        np.zeros(len(e), dtype=int), draws, centre=0.0,
    )  # fmt: skip
    values = (found.value, found.low, found.high, tested.value, tested.limit, tested.p)
    return pd.DataFrame([row | dict(zip(names, values, strict=True))])


def elasticity(rows: Floats) -> float:
    """Least-squares slope of growth on escape dimensions, in units of their means.

    1 if what a neuron adds is proportional to the escape dimensions that it opens, 0 if it has
    nothing to do with them.

    Args:
        rows: ``[k, 2]``, escape dimensions a neuron and growth, a row a teacher.
    """
    e, g = rows[:, 0], rows[:, 1]
    spread = float(((e - e.mean()) ** 2).sum())
    slope = float(((e - e.mean()) * g).sum()) / spread if spread > 0.0 else math.nan
    return slope * float(e.mean() / abs(g.mean())) if g.mean() else math.nan


def rate_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Success against width for teachers with few and with many escape dimensions.

    Args:
        runs: table ``runs``.
        conf: coverage; over teachers (`edt.stats.cluster_rate`).

    Returns:
        One row per (group, width): ``teachers``, ``runs``, ``rate`` with bounds.
    """
    rows = []
    for (group, width), part in runs.groupby(["group", "width"]):
        by = part.groupby("target")["win"].agg(["sum", "size"])
        found = cluster_rate(by["sum"].to_numpy(), by["size"].to_numpy(), conf)
        rows.append(
            {"group": str(group), "width": int(str(width)), "teachers": len(by), "runs": len(part),
             "rate": found.value, "rate_low": found.low, "rate_high": found.high}
        )  # fmt: skip
    return pd.DataFrame(rows)
