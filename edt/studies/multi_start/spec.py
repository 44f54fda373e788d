"""What a multi-start experiment is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.errors import unknown_choice
from edt.studies.common.teachers import TeacherSpec
from edt.studies.width.spec import check_widths


@dataclass(frozen=True)
class MultiStartSpec(TeacherSpec):
    """Wide networks, and the narrow ones inside each, trained together and apart.

    Attributes:
        task: "teacher-student".
        widths: hidden widths m of the wide networks, at least r = teacher_width; each holds
            floor(m / r) disjoint tickets.
        seeds: networks per width and teacher.
    """

    task: str = "teacher-student"
    widths: tuple[int, ...] = (4, 8, 12, 16)
    seeds: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task != "teacher-student":
            raise unknown_choice("task", self.task, ["teacher-student"])
        check_widths("widths", self.widths, least=1)
        if min(self.widths) < self.teacher_width:
            raise ValueError(
                f"widths must be at least teacher_width ({self.teacher_width}), got "
                f"{min(self.widths)}"
            )

    @property
    def networks(self) -> int:
        """Networks trained: wide ones and tickets."""
        inside = sum(1 + width // self.teacher_width for width in self.widths)
        return self.teachers * self.seeds * inside
