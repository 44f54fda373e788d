"""What the students learn: teachers, a function, or data; and which loss counts as success."""

from __future__ import annotations

import math
from typing import Protocol

import torch

from edt import tasks
from edt.ensemble import Ensemble
from edt.studies.width.spec import WidthSweepSpec
from edt.tasks import Task

#: Standard deviation of the teachers' biases: the kinks stay where the inputs are.
BIAS_SPREAD = 0.5


class TeacherLike(Protocol):
    """The fields of a spec that describe teachers and their data."""

    @property
    def teachers(self) -> int: ...
    @property
    def teacher_width(self) -> int: ...
    @property
    def teacher_gain(self) -> float: ...
    @property
    def d_in(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def inputs(self) -> str: ...
    @property
    def task_seed(self) -> int: ...
    @property
    def activation(self) -> str: ...
    @property
    def bias(self) -> bool: ...


def make_task(spec: WidthSweepSpec) -> Task:
    """The task of a sweep: one target per teacher, or the one of real data.

    Args:
        spec: ``task`` and, for teachers, everything about them and their inputs.

    Returns:
        mse `Task` in float64 with ``spec.targets`` targets, each of variance 1.
    """
    if spec.task == "diabetes":
        return tasks.diabetes()
    if spec.task == "rosenbrock":
        return tasks.rosenbrock(math.isqrt(spec.samples))
    return teacher_task(spec)


def teacher_task(spec: TeacherLike) -> Task:
    """Students learn random teachers; one target each, ``info["teacher"]`` holds them."""
    return tasks.teacher_student(
        spec.d_in,
        n=spec.samples,
        inputs=spec.inputs,
        bias=spec.bias,
        normalise=True,
        seed=spec.task_seed,
        teacher=make_teachers(spec),
    )


def make_teachers(spec: TeacherLike) -> Ensemble:
    """Teachers in which every neuron matters and none repeats another.

    Input weights are random directions of length ``teacher_gain``, biases (if any) are drawn from
    N(0, 1/4), output weights are +1 and -1 in turn.

    Returns:
        `Ensemble` of ``spec.teachers`` networks of width ``spec.teacher_width``.
    """
    teachers = Ensemble.init(
        [spec.teacher_width] * spec.teachers,
        spec.task_seed,
        d_in=spec.d_in,
        d_out=1,
        activation=spec.activation,
        scheme="normal",
        bias=spec.bias,
        ids=[-1 - t for t in range(spec.teachers)],
    )
    for t in range(spec.teachers):
        weight = teachers.weight(t, 0)
        weight *= spec.teacher_gain / weight.norm(dim=1, keepdim=True)
        signs = [(-1.0) ** j for j in range(spec.teacher_width)]
        teachers.weight(t, 1).copy_(torch.tensor([signs], dtype=torch.float64))
        if spec.bias:
            # Drawn with variance 1 / d_in.
            teachers.bias(t, 0).mul_(BIAS_SPREAD * spec.d_in**0.5)
            teachers.bias(t, 1).zero_()
    return teachers


def good_loss(spec: WidthSweepSpec, task: Task, target: int) -> float | None:
    """Loss at or below which a run succeeds; None where only the finished runs can tell."""
    return spec.good * float(task.variance[target]) if spec.realisable else None
