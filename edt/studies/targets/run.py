"""Success, labels and test error on targets that are noisy, out of reach, or real.

Where loss 0 is out of reach "good" needs another measure. With noise it is the teacher itself: a
student is good when its loss on the noisy samples is at most the teacher's. Elsewhere it is the
lowest loss that any student of the teacher's width or less reaches, within ``share``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from edt import functional, tasks
from edt.landscape import outcomes
from edt.lottery import run_trial
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.studies.common.contrast import contrast_table, outcome_rates
from edt.studies.common.find_tickets import SEED_STRIDE
from edt.studies.common.finish import finish
from edt.studies.common.targets import make_teachers
from edt.studies.targets.spec import TARGETS, TargetsSpec
from edt.tasks import Task

#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "data": "str",  # of `TARGETS`
    "target": "int64",
    "width": "int64",
    "seed": "int64",
    "parameters": "int64",
    "train_loss": "float64",  # after Adam alone, likewise
    "loss": "float64",  # on the training samples, as a share of the target's variance there
    "test_loss": "float64",  # on others without noise, likewise
    "threshold": "float64",
    "label": "str",
    "outcome": "str",
}


@dataclass(repr=False)
class TargetsRun(Experiment):
    """Train students on several kinds of target; table ``runs`` has one row a student."""

    kind: ClassVar[str] = "targets"
    spec_type: ClassVar[type[Spec]] = TargetsSpec
    names: ClassVar[tuple[str, ...]] = ("runs",)

    @staticmethod
    def plan(spec: TargetsSpec) -> list[Part]:
        """One part a target and width."""
        return [
            Part(
                f"{data}-width-{width:04d}",
                f"{TARGETS[data]}, width {width}",
                float(spec.seeds * width**2),
                "train to the bottom",
                (data, width),
            )
            for data in spec.targets
            for width in spec.widths
        ]

    @classmethod
    def headline(cls, spec: TargetsSpec) -> str:
        """What is about to run, in a line."""
        return f"students of widths {', '.join(map(str, spec.widths))} on {len(spec.targets)} kinds"

    @classmethod
    def measure(cls, spec: TargetsSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """The parts one below the other; what is good follows from all of them."""
        runs = parts.table(partial(_part, spec))
        return {"runs": judged(spec, runs)}

    def rates(self, conf: float = 0.95) -> pd.DataFrame:
        """Outcomes per target and width, with the median losses ``train`` and ``test``."""
        runs = self.tables["runs"]
        found = outcome_rates(runs, "data", conf)
        middle = runs.groupby(["data", "width"])[["loss", "test_loss"]].median()
        middle.columns = pd.Index(["train", "test"])
        return found.merge(middle.reset_index(), on=["data", "width"])

    def contrasts(self, conf: float = 0.95) -> pd.DataFrame:
        """Narrowest against widest: see `edt.studies.common.contrast.contrast_table`."""
        return contrast_table(self.tables["runs"], "data", conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Both tables."""
        return {"outcomes": self.rates(), "contrasts": self.contrasts()}


#: Runs it, or what is left of it.
run_targets = TargetsRun.run


def make_data(spec: TargetsSpec, data: str) -> tuple[Task, Task]:
    """Training and test samples of one kind of target."""
    if data == "diabetes":
        return tasks.diabetes("train"), tasks.diabetes("test")
    if data == "rosenbrock":
        points = int(np.sqrt(spec.samples))
        return tasks.rosenbrock(points), tasks.rosenbrock(2 * points + 1)
    teachers = make_teachers(spec)
    clean = tasks.teacher_student(
        spec.d_in, n=spec.samples, inputs=spec.inputs, normalise=True, seed=spec.task_seed,
        teacher=teachers,
    )  # fmt: skip
    fixed = clean.info["teacher"]  # rescaled; the test data must not be rescaled again
    generator = torch.Generator().manual_seed(spec.task_seed + 1)
    x = torch.randn(spec.test_samples, spec.d_in, generator=generator, dtype=torch.float64)
    y = torch.stack([functional.predict(fixed.select([t]), x)[0] for t in range(spec.teachers)])
    test = Task(x, y, "mse", name="test")
    if data == "clean":
        return clean, test
    shaken = clean.y + spec.noise * torch.randn(
        clean.y.shape, generator=generator, dtype=torch.float64
    )
    return Task(clean.x, shaken, "mse", name="noisy", info=clean.info), test


def _part(spec: TargetsSpec, data: str, width: int) -> pd.DataFrame:
    task, test = make_data(spec, data)
    count = spec.teachers if data in ("clean", "noisy") else 1
    targets = torch.arange(count).repeat_interleave(spec.seeds)
    seeds = [t * SEED_STRIDE + k for t in range(count) for k in range(spec.seeds)]
    start = spec.recipe.start(
        [width], seeds, d_in=task.d_in, d_out=task.d_out, activation=spec.activation,
        bias=spec.bias, dtype=torch.float64,
    )  # fmt: skip
    size = task.variance[targets]
    ends = run_trial(task, start, spec.protocol, targets)
    known = spec.good * size if data == "clean" else torch.zeros_like(size)
    ended = finish(
        task, ends.networks, targets, known.numpy(), lbfgs_steps=spec.lbfgs_steps,
        newton_steps=spec.newton_steps, certify_steps=spec.certify_steps,
    )  # fmt: skip
    limit = torch.full_like(size, spec.good)
    if data == "noisy":
        own = functional.loss(task.info["teacher"], task, task_index=torch.arange(count))
        limit = own[targets] / size
    beyond = functional.loss(ended.networks, test, task_index=targets) / test.variance[targets]
    return pd.DataFrame(
        {
            "data": data, "target": targets.numpy(), "width": width, "seed": seeds,
            "parameters": start.coords.numpy(), "train_loss": (ends.first / size).numpy(),
            "loss": ended.loss / size.numpy(),
            "test_loss": beyond.numpy(), "threshold": limit.numpy(), "label": ended.label,
            "outcome": ended.outcome,
        }
    ).astype(RUNS)[list(RUNS)]  # fmt: skip


def judged(spec: TargetsSpec, runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with the thresholds that only all of them give, and outcomes by these.

    Args:
        spec: ``share`` and ``teacher_width``.
        runs: the parts, one below the other.
    """
    runs = runs.copy()
    for data in ("rosenbrock", "diabetes"):
        own = runs["data"] == data
        narrow = runs[own & (runs["width"] <= spec.teacher_width)]
        if own.any():
            best = float((narrow if len(narrow) else runs[own])["loss"].min())
            runs.loc[own, "threshold"] = best * (1.0 + spec.share)
    diverged = runs["outcome"].eq("diverged")
    words = outcomes(
        runs["loss"].tolist(), runs["threshold"].tolist(), ["unconverged"] * len(runs),
        np.where(diverged, "diverged", "budget").tolist(), runs["label"].tolist(),
    )  # fmt: skip
    return runs.assign(outcome=words).astype(RUNS)[list(RUNS)]
