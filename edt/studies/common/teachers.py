"""The teacher-student setting that the lottery's experiments share."""

from __future__ import annotations

from dataclasses import dataclass

from edt.ensemble import ACTIVATIONS, SCHEMES
from edt.errors import unknown_choice
from edt.lottery import Protocol, Recipe
from edt.runs.experiment import Spec
from edt.studies.width.spec import INPUTS


@dataclass(frozen=True)
class TeacherSpec(Spec):
    """Teachers, their data, how students start, and how they are trained.

    Attributes:
        teachers: number of random teachers.
        teacher_width: r, hidden neurons of each teacher, and of a ticket.
        teacher_gain: length of their input weights: the larger, the sharper the target.
        d_in, samples, inputs: inputs per sample, samples, distribution.
        task_seed: of teachers and inputs.
        activation, bias: of students and teachers.
        init: scheme of `edt.Ensemble.init`; students of every width start at the scale it gives to
            width r, so that any r neurons start as a network of width r does.
        steps, lr, schedule: full-batch Adam in the kernel.
        lbfgs_rounds, lbfgs_steps: rounds of L-BFGS that come next, for networks that have not won.
        good: a network wins at or below this loss, as a share of the target's variance.
        seed: of every draw of the experiment (perturbations, controls).
    """

    teachers: int = 5
    teacher_width: int = 4
    teacher_gain: float = 3.0
    d_in: int = 2
    samples: int = 128
    inputs: str = "gaussian"
    task_seed: int = 0
    activation: str = "tanh"
    bias: bool = True
    init: str = "glorot"
    steps: int = 3000
    lr: float = 0.01
    schedule: str = "cosine"
    lbfgs_rounds: int = 4
    lbfgs_steps: int = 1000
    good: float = 1e-6
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("inputs", INPUTS), ("activation", ACTIVATIONS), ("init", SCHEMES)):
            value = getattr(self, name)
            if value not in allowed:
                raise unknown_choice(name, value, list(allowed))
        self.check_numbers(from_zero=self._from_zero())

    def _from_zero(self) -> tuple[str, ...]:
        """Integer fields that may be 0."""
        return ("task_seed", "seed", "steps", "lbfgs_rounds", "lbfgs_steps")

    @property
    def recipe(self) -> Recipe:
        """How students start."""
        return Recipe(self.init, reference_width=self.teacher_width)

    @property
    def protocol(self) -> Protocol:
        """How students are trained."""
        return Protocol(
            self.steps, self.lr, self.schedule, self.lbfgs_rounds, self.lbfgs_steps, self.good
        )
