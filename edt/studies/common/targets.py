"""What the students learn: teachers, a function, or data; and which loss counts as success."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from edt import tasks
from edt.ensemble import Ensemble
from edt.show.words import count, exact, option
from edt.tasks import Task
from edt.tasks import task_tables as tables

if TYPE_CHECKING:
    from edt.studies.common.spec_parts import StudentSpec, TeachersOnInputs

#: Standard deviation of the teachers' biases: the kinks stay where the inputs are.
BIAS_SPREAD = 0.5


@dataclass(frozen=True)
class Learnable:
    """A task of studies: what makes it, and what a page says of it.

    Attributes:
        make: of a spec, the task.
        text: of a spec, what is learned, for a page's protocol.
        realisable: whether loss 0 can be reached.
        measured: what its samples are called, where they were measured, not computed.
    """

    make: Callable[[StudentSpec], Task]
    text: Callable[[StudentSpec], str]
    realisable: bool = False
    measured: str = ""


def _teachers_text(spec: StudentSpec) -> str:
    return (
        f"{count(spec.targets, 'teacher')} of width {spec.teacher_width}, "
        f"{option(spec.activation)}, "
        f"{'biases' if spec.bias else 'no biases'}: random input directions of length "
        f"{exact(spec.teacher_gain)}, output weights ±1 in turn, rescaled to variance 1; "
        f"{spec.samples:,} {option(spec.inputs)} samples of {spec.d_in} inputs, no noise; seed "
        f"{spec.task_seed}"
    )


def _rosenbrock_text(spec: StudentSpec) -> str:
    return (
        "log10(3 (x₂ + 1 − x₁²)² + (1 − x₁)² + 0.1), standardised, on a regular grid of "
        f"{spec.samples:,} points on [−√3, √3]²"
    )


def _diabetes_text(spec: StudentSpec) -> str:
    return (
        "scikit-learn's diabetes data: 442 patients, 10 features, inputs and target "
        "standardised, all samples used for training"
    )


#: Tasks that students of many widths learn, by the names that they have in `edt.tasks`.
LEARNED: dict[str, Learnable] = {
    "teacher_student": Learnable(lambda spec: teacher_task(spec), _teachers_text, realisable=True),
    "rosenbrock": Learnable(
        lambda spec: tasks.rosenbrock(math.isqrt(spec.samples)), _rosenbrock_text
    ),
    "diabetes": Learnable(lambda spec: tasks.diabetes(), _diabetes_text, measured="patients"),
}


def learnable(task: Any) -> Learnable:
    """What there is to know of a task: of a name, or of the table of one's own data."""
    if isinstance(task, str):
        return LEARNED[task]
    return Learnable(
        lambda spec: tables.make_task(spec.task),
        lambda spec: custom_text(spec.task),
        measured="samples",
    )


def make_task(spec: StudentSpec) -> Task:
    """The task of a sweep: one target per teacher, or those of data.

    Args:
        spec: ``task`` and, for teachers, everything about them and their inputs.

    Returns:
        `Task` in float64 with ``spec.targets`` targets; but for data of one's own their loss is mse
        and their variance 1.
    """
    return learnable(spec.task).make(spec)


def target_text(spec: StudentSpec) -> str:
    """What the students learn, in words, for a page's protocol."""
    return learnable(spec.task).text(spec)


def custom_text(table: Mapping[str, Any]) -> str:
    """Data of one's own, in words."""
    words = {"file": f"the file {table.get('file')}", "import": f"what {table.get('import')} gives"}
    named = words.get(table["name"], f"the data {tables.task_name(table)!r}")
    if "sizes" in table:
        _, samples, inputs, outputs = table["sizes"]
        named += f": {samples:,} samples, {count(inputs, 'input')}, {count(outputs, 'output')}"
    return f"{named}; SHA-256 {table['sha256'][:16]}…"


def teacher_task(spec: TeachersOnInputs) -> Task:
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


def make_teachers(spec: TeachersOnInputs) -> Ensemble:
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


def good_loss(spec: StudentSpec, task: Task, target: int) -> float | None:
    """Loss at or below which a run succeeds; None where only the finished runs can tell."""
    return spec.good * float(task.variance[target]) if spec.realisable else None
