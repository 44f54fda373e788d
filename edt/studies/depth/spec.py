"""What a study of depth is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.runs.values import Widths
from edt.studies.common.spec_parts import Bottom, Students, TeacherSpec

#: Hidden layers: chains this long learn nothing, and are long to write down.
DEEPEST = 1000


@dataclass(frozen=True)
class DepthSpec(
    Bottom,
    Students,
    TeacherSpec,
    teachers=4,
    teacher_width=3,
    seeds=12,
    samples=96,
    steps=2000,
    lbfgs_rounds=2,
):
    """Depths and widths of the students, and how far they are driven.

    Attributes:
        depths: numbers of hidden layers.
        widths: neurons of each hidden layer of the students.
        seeds: students per depth, width and teacher.
    """

    depths: Widths = (1, 2, 3)

    def check(self) -> None:
        super().check()
        if self.depths[-1] > DEEPEST:
            raise ValueError(f"depths must be at most {DEEPEST:,}, got {self.depths[-1]:,}")
