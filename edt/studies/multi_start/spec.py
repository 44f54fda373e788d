"""What a multi-start experiment is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.studies.common.spec_parts import FromTeachers, WideSpec


@dataclass(frozen=True)
class MultiStartSpec(FromTeachers, WideSpec, widths=(4, 8, 12, 16), seeds=100):
    """Wide networks, and the narrow ones inside each, trained together and apart.

    Attributes:
        widths: hidden widths m of the wide networks, at least r = teacher_width; each holds
            floor(m / r) disjoint tickets.
    """

    @property
    def networks(self) -> int:
        """Networks trained: wide ones and tickets."""
        inside = sum(1 + width // self.teacher_width for width in self.widths)
        return self.teachers * self.seeds * inside
