"""What a width sweep is: every number that its tables depend on, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edt.ensemble.activations import check_activation
from edt.errors import unknown_choice
from edt.limits import whole_numbers
from edt.runs.experiment import Spec
from edt.scalars import integer
from edt.tasks.table import own_task

TASKS = ("teacher", "rosenbrock", "diabetes")
INPUTS = ("gaussian", "uniform", "grid", "sobol")


@dataclass(frozen=True)
class WidthSweepSpec(Spec):
    """A width sweep: targets x widths x seeds, trained and converged, then split.

    Two equal specs give the same tables, bit for bit, on any number of threads and with any
    interruptions. The fields are the command line's options and are written beside the results.

    Attributes:
        task: "teacher" (students learn random teacher networks: loss 0 is possible), "rosenbrock"
            (the modified Rosenbrock function on a square grid: it is not) or "diabetes"
            (scikit-learn's 442 patients, inputs and target standardised: nor is it); or data of
            your own, as `edt.SweepSpec` takes them: a file, "module:function" or an `edt.Task`.
        widths: hidden widths of the students.
        seeds: networks per (target, width); seed s gives the same start whatever else is run.
        first_seed: number of the first one.
        teachers: number of teachers.
        teacher_width: hidden neurons of each teacher.
        teacher_gain: length of their input weights: the larger, the sharper the target.
        reference_width: r, the width whose success rate is the price of one lottery ticket.
        d_in, samples, inputs: the teachers' data: inputs per sample, samples, distribution. For
            "rosenbrock" ``samples`` must be the square of the grid's points per axis.
        task_seed: of teachers and inputs.
        activation, bias: of students and teachers.
        init: initialisation scheme of `edt.Ensemble.init`; init_scale multiplies it.
        fixed_scale: start every student at the scale the scheme gives to width r, so that any r
            neurons of a wide student are distributed like a student of width r. That is what the
            lottery presumes; schemes shrink with width otherwise.
        steps, lr, schedule: full-batch Adam in the kernel.
        lbfgs_rounds: rounds of ``lbfgs_steps`` L-BFGS iterations that come next, at most; a network
            leaves when it has reached the good loss or a round gains it less than a hundredth.
        lbfgs_steps, newton_steps, tol: `edt.converge`, to ``max|grad| <= tol``, for the others.
        certify_steps: budget of `edt.certify` for each run that is not good: what is called a bad
            minimum is one that so many more Newton steps do not move. 0: take `edt.converge`'s
            word.
        good: a run succeeds at or below this loss, as a share of the target's variance when loss 0
            is possible; otherwise it succeeds within this share above the lowest loss any network
            of width r or less has reached.
        split_widths: widths whose bad minima are split.
        split_levels: at most this many loss levels per (target, width), the commonest first.
        escape_lbfgs_steps, escape_newton_steps: budget of `edt.converge` from each split.
        mus: output shares (mu, 1 - mu) of the two copies.
    """

    task: Any = "teacher"
    widths: tuple[int, ...] = tuple(range(2, 17))
    seeds: int = 100
    first_seed: int = 0
    teachers: int = 3
    teacher_width: int = 4
    teacher_gain: float = 3.0
    reference_width: int = 4
    d_in: int = 2
    samples: int = 256
    inputs: str = "gaussian"
    task_seed: int = 0
    activation: str = "tanh"
    bias: bool = True
    init: str = "glorot"
    init_scale: float = 1.0
    fixed_scale: bool = True
    steps: int = 3000
    lr: float = 0.01
    schedule: str = "cosine"
    lbfgs_rounds: int = 40
    lbfgs_steps: int = 1000
    newton_steps: int = 60
    tol: float = 1e-10
    certify_steps: int = 600
    good: float = 1e-8
    split_widths: tuple[int, ...] = (2, 3, 4, 5, 6)
    split_levels: int = 12
    escape_lbfgs_steps: int = 2000
    escape_newton_steps: int = 150
    mus: tuple[float, ...] = (0.5, 1.5)

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", own_task(self.task, TASKS))
        if self.inputs not in INPUTS:
            raise unknown_choice("inputs", self.inputs, list(INPUTS))
        check_activation(self.activation)
        check_widths("widths", self.widths, least=1)
        check_widths("split_widths", self.split_widths, least=0)
        counts_from_zero = (
            "first_seed",
            "task_seed",
            "steps",
            "lbfgs_rounds",
            "lbfgs_steps",
            "newton_steps",
            "certify_steps",
            "split_levels",
            "escape_lbfgs_steps",
            "escape_newton_steps",
        )
        self.check_numbers(from_zero=counts_from_zero)
        if self.task == "rosenbrock" and math.isqrt(self.samples) ** 2 != self.samples:
            raise ValueError(f"samples must be a square for rosenbrock, got {self.samples}")
        for mu in self.mus:
            if not math.isfinite(mu) or mu in (0.0, 1.0):
                raise ValueError(f"mus must be finite and neither 0 nor 1, got {mu}")

    @property
    def targets(self) -> int:
        """Number of targets: teachers, or those of the data."""
        if self.task == "teacher":
            return self.teachers
        return int(self.task.get("sizes", (1,))[0]) if isinstance(self.task, Mapping) else 1

    @property
    def realisable(self) -> bool:
        """Whether loss 0 can be reached."""
        return bool(self.task == "teacher")

    @property
    def networks(self) -> int:
        """Networks trained in all."""
        return self.targets * len(self.widths) * self.seeds


def parse_widths(text: str) -> tuple[int, ...]:
    """Widths from text: ``"2..16"`` or ``"2-16"``, ``"2,3,4,8"``, ``"2..6,8,12"``, ``"2..16:2"``.

    Raises:
        ValueError: not of that form; the message shows it.

    Example:
        >>> parse_widths("2..4,8")
        (2, 3, 4, 8)
    """
    return whole_numbers(
        text, "widths", "2..16, 2,3,4,8 or 2..16:2", "rising and at least 1", least=1
    )


def format_widths(widths: Sequence[int]) -> str:
    """Short text of a rising list of widths; the inverse of `parse_widths`.

    Example:
        >>> format_widths((2, 3, 4, 8))
        '2..4,8'
    """
    parts: list[str] = []
    run: list[int] = []
    for width in [*widths, None]:
        if width is not None and (not run or width == run[-1] + 1):
            run.append(width)
            continue
        if len(run) > 2:
            parts.append(f"{run[0]}..{run[-1]}")
        else:
            parts += [str(w) for w in run]
        run = [] if width is None else [width]
    return ",".join(parts)


def check_widths(name: str, widths: tuple[int, ...], least: int) -> None:
    """Insist on rising, distinct widths of at least 1, and on ``least`` of them.

    Raises:
        TypeError: not integers. ValueError: anything else.
    """
    if len(widths) < least:
        raise ValueError(f"{name} must hold at least one width")
    for width in widths:
        integer(f"{name} entries", width)
    if list(widths) != sorted(set(widths)):
        raise ValueError(f"{name} must be rising and distinct, got {list(widths)}")
