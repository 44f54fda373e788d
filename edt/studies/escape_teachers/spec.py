"""What a study of teachers by their ways down is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edt.runs.values import Count
from edt.studies.common.spec_parts import Bottom, Students, TeacherSpec


@dataclass(frozen=True)
class EscapeTeachersSpec(
    Bottom, Students, TeacherSpec, teachers=12, widths=(4, 5, 6, 7, 8), seeds=60
):
    """Teachers to choose from, and the students that are counted.

    Attributes:
        candidates: teachers drawn.
        teachers: of them, kept: half with the fewest escape dimensions a neuron, half with the
            most.
        pilots: students of width r of each candidate, to find bad minima with.
        minima: distinct bad minima of each whose neurons are split, at most; lowest first.
        widths: of the students that are counted; the first is r = teacher_width.
        newton_steps, certify_steps: of `edt.converge` and `edt.certify`, for the pilots.
    """

    candidates: Count = 40
    pilots: Count = 24
    minima: Count = 6
    certify_steps: Count = 300

    def check(self) -> None:
        super().check()
        if len(self.widths) < 2:
            raise ValueError(f"widths must hold at least two, got {list(self.widths)}")
        if self.widths[0] != self.teacher_width:
            raise ValueError(
                f"widths must begin with teacher_width ({self.teacher_width}), got {self.widths[0]}"
            )
        if not 4 <= self.teachers <= self.candidates:
            raise ValueError(
                f"teachers must be at most candidates ({self.candidates}) and at least 4, got "
                f"{self.teachers}"
            )

    @property
    def drawn(self) -> TeacherSpec:
        """The same with all candidates for teachers."""
        return replace(self, teachers=self.candidates)
