"""Students of many widths, trained to the bottom: what the experiments on the landscape share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import pandas as pd
import torch

from edt.ensemble import ACTIVATIONS, SCHEMES, Ensemble
from edt.errors import unknown_choice
from edt.landscape import Minima
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.studies.common.labelled_runs import label_runs, run_part
from edt.studies.common.targets import make_task
from edt.studies.width.run import TRAINING, training_plan
from edt.studies.width.spec import WidthSweepSpec
from edt.tasks import Task


@dataclass(frozen=True)
class StudentSpec(Spec):
    """Targets x widths x seeds, trained and converged as in a width sweep.

    Attributes:
        task: "teacher" (random teachers: loss 0 is possible) or "diabetes" (it is not), or data of
            your own: a file, "module:function" or an `edt.Task`.
        widths: hidden widths of the students.
        seeds: students per (target, width).
        teachers: number of teachers.
        teacher_width: r, hidden neurons of each teacher. Students of every width start at the
            scale that the scheme gives to width r.
        teacher_gain: length of the teachers' input weights: the larger, the sharper the target.
        d_in, samples, inputs: the teachers' data: inputs per sample, samples, distribution.
        task_seed: of teachers and inputs.
        activation, bias: of students and teachers.
        init: initialisation scheme of `edt.Ensemble.init`.
        steps, lr, schedule: full-batch Adam in the kernel.
        lbfgs_rounds, lbfgs_steps: at most so many rounds of L-BFGS, of so many iterations; a
            student leaves when it has reached the good loss or a round gains it less than 1%. A
            squared error in sight of zero is taken there by Levenberg-Marquardt where that arrives.
        newton_steps, tol: `edt.converge`, to ``max|grad| <= tol``, for the others.
        certify_steps: budget of `edt.certify` for each student that is not good.
        good: a run is good at or below this loss, as a share of the target's variance; on real
            data, within this share above the lowest loss that any student of width r or less has.
    """

    task: Any = "teacher"
    widths: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16)
    seeds: int = 40
    teachers: int = 5
    teacher_width: int = 4
    teacher_gain: float = 3.0
    d_in: int = 4
    samples: int = 1024
    inputs: str = "gaussian"
    task_seed: int = 0
    activation: str = "tanh"
    bias: bool = True
    init: str = "glorot"
    steps: int = 2000
    lr: float = 0.02
    schedule: str = "cosine"
    lbfgs_rounds: int = 40
    lbfgs_steps: int = 250
    newton_steps: int = 100
    tol: float = 1e-10
    certify_steps: int = 600
    good: float = 1e-8

    def __post_init__(self) -> None:
        for name, allowed in (("activation", ACTIVATIONS), ("init", SCHEMES)):
            if getattr(self, name) not in allowed:
                raise unknown_choice(name, getattr(self, name), list(allowed))
        checked = self.sweep  # every other field's type and range
        for entry in fields(StudentSpec):
            object.__setattr__(self, entry.name, getattr(checked, entry.name))

    @property
    def sweep(self) -> WidthSweepSpec:
        """The students as a width sweep, without splits."""
        shared = {entry.name: getattr(self, entry.name) for entry in fields(StudentSpec)}
        return WidthSweepSpec(**shared, reference_width=self.teacher_width, split_widths=())

    @property
    def realisable(self) -> bool:
        """Whether loss 0 can be reached."""
        return self.sweep.realisable

    @property
    def networks(self) -> int:
        """Students trained in all."""
        return self.sweep.networks


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
    sweep = spec.sweep
    tables = parts.run(partial(run_part, sweep, task), TRAINING)
    networks = [parts.networks(part.name) for part in training_plan(sweep)]
    runs = label_runs(sweep, task, tables)
    return runs, as_minima(runs, Ensemble.concat(networks))


@dataclass(repr=False)
class StudentRun(Experiment):
    """A study of students that are trained to the bottom first, table ``students``.

    A subclass has a spec, the parts that follow, and the tables that these give.
    """

    @classmethod
    def data(cls, spec: StudentSpec) -> Task:
        """What is learned."""
        return make_task(spec.sweep)

    @classmethod
    def plan(cls, spec: StudentSpec) -> list[Part]:
        """The students, one part a (target, width); then `then`."""
        return [*training_plan(spec.sweep), *cls.then(spec)]

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
