"""What specs of studies are put together from: each field, its kind, default and meaning once.

A study's spec takes the parts that it needs, gives some of their fields other defaults
(``seeds = 12``), and adds fields of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from edt.ensemble import ACTIVATIONS, SCHEMES
from edt.lottery import Protocol, Recipe
from edt.lottery.perturbations import check_sizes
from edt.runs.spec import Spec
from edt.runs.values import Budget, Count, Kind, OneOf, Positive, Seed, Widths
from edt.studies.common.targets import LEARNED, learnable
from edt.tasks.task_tables import named, study_task

__all__ = [
    "INPUTS", "Bottom", "Certificate", "Changes", "Descent", "Failed", "FirstOrder", "FirstSeed",
    "FromTeachers", "Good", "Lbfgs", "Learned", "Networks", "Newton", "Seeded", "SplitBudget",
    "StudentSpec", "Students", "TaskOf", "TeacherSpec", "Teachers", "TeachersOnInputs",
    "Tolerance", "WideSpec",
]  # fmt: skip

INPUTS = ("gaussian", "uniform", "grid", "sobol")


@dataclass(frozen=True)
class TaskOf(Kind):
    """A task of these names or, if ``own``, data of one's own."""

    names: tuple[str, ...]
    own: bool = True

    def __call__(self, name: str, value: Any) -> Any:
        return study_task(value, self.names) if self.own else OneOf(self.names)(name, named(value))


@dataclass(frozen=True)
class Networks(Spec):
    """What networks are made of, and how they start.

    Attributes:
        activation: of students and teachers.
        init: initialisation scheme of `edt.Ensemble.init`.
    """

    activation: Annotated[str, OneOf(ACTIVATIONS)] = "tanh"
    init: Annotated[str, OneOf(SCHEMES)] = "glorot"


# What is learned ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Teachers(Spec):
    """Random networks that others learn.

    Attributes:
        teachers: number of random teachers.
        teacher_gain: length of their input weights: the larger, the sharper the target.
        samples: of the training data.
    """

    teachers: Count = 5
    teacher_gain: Positive = 3.0
    samples: Count = 128


@dataclass(frozen=True)
class TeachersOnInputs(Networks, Teachers):
    """Teachers of one hidden layer, and their inputs.

    Attributes:
        teacher_width: r, hidden neurons of each teacher, and of a ticket.
        d_in, samples, inputs: inputs per sample, samples, distribution.
        task_seed: of teachers and inputs.
        bias: of students and teachers.
    """

    teacher_width: Count = 4
    d_in: Count = 2
    inputs: Annotated[str, OneOf(INPUTS)] = "gaussian"
    task_seed: Seed = 0
    bias: bool = True


# Who learns ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Students(Spec):
    """Networks of several widths.

    Attributes:
        widths: hidden widths of the students.
        seeds: students per width and teacher.
    """

    widths: Widths = (2, 3, 4, 6)
    seeds: Count = 20


@dataclass(frozen=True)
class FirstSeed(Spec):
    """Where seeds begin.

    Attributes:
        first_seed: number of the first one.
    """

    first_seed: Seed = 0


@dataclass(frozen=True)
class Seeded(Spec):
    """What is drawn beside networks and teachers.

    Attributes:
        seed: of every draw of the experiment (perturbations, controls).
    """

    seed: Seed = 0


# How they are trained -----------------------------------------------------------------------------


@dataclass(frozen=True)
class FirstOrder(Spec):
    """First-order training.

    Attributes:
        steps, lr: of full-batch Adam.
    """

    steps: Budget = 3000
    lr: Positive = 0.01


@dataclass(frozen=True)
class Lbfgs(Spec):
    """What follows first-order training.

    Attributes:
        lbfgs_steps: iterations of L-BFGS.
    """

    lbfgs_steps: Budget = 1000


@dataclass(frozen=True)
class Good(Spec):
    """What success is.

    Attributes:
        good: a network wins at or below this loss, as a share of the target's variance.
    """

    good: Positive = 1e-6


@dataclass(frozen=True)
class Descent(Good, Lbfgs, FirstOrder):
    """Adam, then rounds of L-BFGS.

    Attributes:
        steps, lr, schedule: full-batch Adam in the kernel.
        lbfgs_rounds, lbfgs_steps: rounds of L-BFGS that come next, for networks that have not won.
    """

    schedule: str = "cosine"
    lbfgs_rounds: Budget = 4

    @property
    def protocol(self) -> Protocol:
        """How networks are trained."""
        return Protocol(
            self.steps, self.lr, self.schedule, self.lbfgs_rounds, self.lbfgs_steps, self.good
        )


@dataclass(frozen=True)
class Newton(Spec):
    """The way to the bottom.

    Attributes:
        newton_steps: of `edt.converge`.
    """

    newton_steps: Budget = 60


@dataclass(frozen=True)
class Tolerance(Spec):
    """Where the bottom is.

    Attributes:
        tol: ``max|grad|`` to converge to.
    """

    tol: Positive = 1e-10


@dataclass(frozen=True)
class Certificate(Spec):
    """What is said of an end.

    Attributes:
        certify_steps: of `edt.certify`; 0: take `edt.converge`'s word.
    """

    certify_steps: Budget = 200


@dataclass(frozen=True)
class Bottom(Certificate, Newton):
    """How far ends are driven, and certified."""


# What is done to ends and tickets -----------------------------------------------------------------


@dataclass(frozen=True)
class SplitBudget(Spec):
    """How far networks go that leave a split or embedded minimum.

    Attributes:
        escape_lbfgs_steps, escape_newton_steps: budget of `edt.converge` from each split.
    """

    escape_lbfgs_steps: Budget = 2000
    escape_newton_steps: Budget = 150


@dataclass(frozen=True)
class Failed(Spec):
    """Which failed ends go on, and how far.

    Attributes:
        each: failed ends of each width and teacher that go on, at most.
        escape_steps: Newton steps of each try; L-BFGS has ten times as many iterations.
    """

    each: Count = 2
    escape_steps: Count = 100


@dataclass(frozen=True)
class Changes(Spec):
    """Changes of what stands around a ticket.

    Attributes:
        change: kind of change, see `edt.lottery.perturb_rest`.
        sizes: of the change; 1 is a fresh rest.
    """

    change: str = "resample"
    sizes: tuple[float, ...] = (1.0,)

    def check(self) -> None:
        super().check()
        object.__setattr__(self, "sizes", check_sizes(self.change, self.sizes, "change"))
        if list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError(f"sizes must be rising and distinct, got {list(self.sizes)}")


# Settings that many studies share -----------------------------------------------------------------


@dataclass(frozen=True)
class TeacherSpec(Seeded, Descent, TeachersOnInputs):
    """Teachers, their data, how students start, and how they are trained.

    Attributes:
        init: scheme of `edt.Ensemble.init`; students of every width start at the scale it gives to
            width r, so that any r neurons start as a network of width r does.
    """

    @property
    def recipe(self) -> Recipe:
        """How students start."""
        return Recipe(self.init, reference_width=self.teacher_width)


@dataclass(frozen=True)
class WideSpec(Students, TeacherSpec):
    """Students at least as wide as their teachers, r = teacher_width.

    Attributes:
        widths: hidden widths m, at least r = teacher_width.
        seeds: networks per width and teacher.
    """

    def check(self) -> None:
        super().check()
        if min(self.widths) < self.teacher_width:
            raise ValueError(
                f"widths must be at least teacher_width ({self.teacher_width}), got "
                f"{min(self.widths)}"
            )


@dataclass(frozen=True)
class Learned(Spec):
    """A task by its name, or data.

    Attributes:
        task: "teacher_student" (random teachers: loss 0 is possible) or "diabetes" (it is not), or
            data of your own: a file, "module:function" or an `edt.Task`.
    """

    #: What directories of runs call teachers, from before tasks had one name each.
    stored: ClassVar[str] = "teacher"

    task: Annotated[Any, TaskOf(tuple(LEARNED))] = "teacher_student"

    def to_dict(self) -> dict[str, Any]:
        """As `Spec.to_dict`; teachers by the name that directories of runs have for them."""
        found = super().to_dict()
        return found | {"task": self.stored} if self.task == "teacher_student" else found


@dataclass(frozen=True)
class FromTeachers(Learned):
    """Teachers alone.

    Attributes:
        task: "teacher_student".
    """

    stored = "teacher-student"

    task: Annotated[str, TaskOf(("teacher_student",), own=False)] = "teacher_student"


@dataclass(frozen=True)
class StudentSpec(
    Bottom,
    Tolerance,
    Descent,
    TeachersOnInputs,
    Students,
    Learned,
    widths=(2, 3, 4, 5, 6, 7, 8, 10, 12, 16),
    seeds=40,
    d_in=4,
    samples=1024,
    steps=2000,
    lr=0.02,
    lbfgs_rounds=40,
    lbfgs_steps=250,
    newton_steps=100,
    certify_steps=600,
    good=1e-8,
):
    """Targets x widths x seeds, trained to the bottom and certified there.

    Attributes:
        seeds: students per (target, width).
        teachers: number of teachers.
        teacher_width: r, hidden neurons of each teacher. Students of every width start at the
            scale that the scheme gives to width r.
        lbfgs_rounds, lbfgs_steps: at most so many rounds of L-BFGS, of so many iterations; a
            student leaves when it has reached the good loss or a round gains it less than 1%. A
            squared error in sight of zero is taken there by Levenberg-Marquardt where that arrives.
        newton_steps, tol: `edt.converge`, after ``lbfgs_steps`` more, to ``max|grad| <= tol``, for
            the others.
        certify_steps: budget of `edt.certify` for each student that is not good: what is called a
            bad minimum is one that so many more Newton steps do not move. 0: take `edt.converge`'s
            word.
        good: a run is good at or below this loss, as a share of the target's variance; on real
            data, within this share above the lowest loss that any student of width r or less has.
    """

    def check(self) -> None:
        super().check()
        if self.task == "rosenbrock" and math.isqrt(self.samples) ** 2 != self.samples:
            raise ValueError(f"samples must be a square for rosenbrock, got {self.samples}")

    @property
    def reference_width(self) -> int:
        """r, whose scale students of every width start at."""
        return self.teacher_width

    @property
    def first_seed(self) -> int:
        """Number of the first seed."""
        return 0

    @property
    def init_scale(self) -> float:
        """What the scheme is multiplied by."""
        return 1.0

    @property
    def fixed_scale(self) -> bool:
        """Whether students of every width start at the scale of width r."""
        return True

    @property
    def targets(self) -> int:
        """Number of targets: teachers, or those of the data."""
        if self.realisable:
            return self.teachers
        return int(self.task.get("sizes", (1,))[0]) if isinstance(self.task, Mapping) else 1

    @property
    def realisable(self) -> bool:
        """Whether loss 0 can be reached."""
        return learnable(self.task).realisable

    @property
    def networks(self) -> int:
        """Networks trained in all."""
        return self.targets * len(self.widths) * self.seeds
