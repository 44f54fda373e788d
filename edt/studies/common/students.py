"""Students of many widths, trained to the bottom: what the experiments on the landscape share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.landscape import Minima
from edt.runs.experiment import Experiment, Part, Parts
from edt.studies.common.labelled_runs import label_runs, run_part
from edt.studies.common.spec_parts import StudentSpec
from edt.studies.common.targets import make_task
from edt.studies.width.run import TRAINING, training_plan
from edt.tasks import Task


def train_students(spec: StudentSpec, task: Task, parts: Parts) -> tuple[pd.DataFrame, Minima]:
    """Train all students, one part per (target, width): those of `training_plan`.

    Args:
        spec: what to train.
        task: of `edt.studies.common.targets.make_task`.
        parts: runs or reads the parts.

    Returns:
        One row a student (`edt.studies.common.labelled_runs.COLUMNS`), and the same as `Minima`,
        in the same order.

    Raises:
        KeyboardInterrupt: Ctrl-C; finished parts are kept.
    """
    tables = parts.run(partial(run_part, spec, task), TRAINING)
    networks = [parts.networks(part.name) for part in training_plan(spec)]
    runs = label_runs(spec, task, tables)
    return runs, as_minima(runs, Ensemble.concat(networks))


@dataclass(repr=False)
class StudentRun(Experiment):
    """A study of students that are trained to the bottom first, table ``students``.

    A subclass has a spec, the parts that follow, and the tables that these give.
    """

    @classmethod
    def data(cls, spec: StudentSpec) -> Task:
        """What is learned."""
        return make_task(spec)

    @classmethod
    def plan(cls, spec: StudentSpec) -> list[Part]:
        """The students, one part a (target, width); then `then`."""
        return [*training_plan(spec), *cls.then(spec)]

    @classmethod
    def then(cls, spec: Any) -> list[Part]:
        """Parts that need the students."""
        raise NotImplementedError

    @classmethod
    def measure(cls, spec: StudentSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """The students; the other tables follow from them."""
        task = cls.data(spec)
        students, minima = train_students(spec, task, parts)
        return {"students": students} | cls.follow(spec, task, students, minima, parts)

    @classmethod
    def follow(
        cls, spec: Any, task: Task, students: pd.DataFrame, minima: Minima, parts: Parts
    ) -> dict[str, pd.DataFrame]:
        """The other tables.

        Args:
            spec, task: what was asked for, and is learned.
            students, minima: of `train_students`.
            parts: runs or reads those of `then`.
        """
        raise NotImplementedError


def as_minima(runs: pd.DataFrame, networks: Ensemble) -> Minima:
    """Labelled runs and their networks as `Minima`."""

    def tensor(name: str) -> torch.Tensor:
        return torch.tensor(runs[name].to_numpy())

    names = ["train_steps", "lbfgs_iterations", "newton_iterations", "certify_steps"]
    steps = runs[names].sum(axis=1)
    return Minima(
        networks=networks,
        task_index=tensor("target"),
        loss=tensor("loss"),
        grad_max=tensor("grad_max"),
        threshold=tensor("threshold"),
        outcome=runs["outcome"].tolist(),
        status=runs["status"].tolist(),
        verdict=runs["verdict"].tolist(),
        index=tensor("index"),
        n_flat=tensor("n_flat"),
        min_eig=tensor("min_eig"),
        iterations=torch.tensor(steps.to_numpy()),
        label=runs["label"].tolist(),
    )
