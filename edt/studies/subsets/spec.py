"""What a study of all subsets is."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

from edt.studies.common.teachers import TeacherSpec
from edt.studies.width.spec import check_widths


@dataclass(frozen=True)
class SubsetsSpec(TeacherSpec):
    """Wide networks, and the tickets of all their subsets of r neurons.

    Attributes:
        widths: hidden widths m, at least r = teacher_width.
        seeds: networks per width and teacher.
        most: tickets trained of each network: all C(m, r) where there are no more, else a random
            sample of so many.
    """

    widths: tuple[int, ...] = (5, 6, 8)
    seeds: int = 40
    most: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths("widths", self.widths, least=1)
        if min(self.widths) < self.teacher_width:
            raise ValueError(
                f"widths must be at least teacher_width ({self.teacher_width}), got "
                f"{min(self.widths)}"
            )

    def tickets(self, width: int) -> int:
        """Tickets trained of a network of this width."""
        return min(comb(width, self.teacher_width), self.most)

    @property
    def networks(self) -> int:
        """Networks trained: wide ones and tickets."""
        inside = sum(1 + self.tickets(width) for width in self.widths)
        return self.teachers * self.seeds * inside
