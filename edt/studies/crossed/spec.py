"""What a crossed study is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.runs.values import Count
from edt.studies.common.spec_parts import TeacherSpec


@dataclass(frozen=True)
class CrossedSpec(TeacherSpec, teachers=48):
    """Winning tickets and their controls, each with the same rests around it.

    Attributes:
        teachers: number of random teachers; they are the unit of every interval, and cheaper than
            more tickets of each.
        width: m, hidden neurons of the students; a ticket has r = teacher_width of them.
        candidates: students trained per teacher to find tickets in.
        tickets: winning tickets a teacher, at most.
        rests: rests of m - r fresh neurons, the same for all tickets of all teachers.
    """

    width: Count = 8
    candidates: Count = 30
    tickets: Count = 6
    rests: Count = 40

    def check(self) -> None:
        super().check()
        if self.width < 2 * self.teacher_width:
            raise ValueError(
                f"width must be at least twice teacher_width ({self.teacher_width}), so that "
                f"random neurons beside the ticket are left, got {self.width}"
            )
        if min(self.tickets, self.rests) < 2:
            raise ValueError("tickets and rests must be at least 2: a crossed design needs both")
