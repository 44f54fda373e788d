"""What a study of all subsets is."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

from edt.runs.values import Count
from edt.studies.common.spec_parts import WideSpec


@dataclass(frozen=True)
class SubsetsSpec(WideSpec, widths=(5, 6, 8), seeds=40):
    """Wide networks, and the tickets of all their subsets of r neurons.

    Attributes:
        most: tickets trained of each network: all C(m, r) where there are no more, else a random
            sample of so many.
    """

    most: Count = 500

    def tickets(self, width: int) -> int:
        """Tickets trained of a network of this width."""
        return min(comb(width, self.teacher_width), self.most)

    @property
    def networks(self) -> int:
        """Networks trained: wide ones and tickets."""
        inside = sum(1 + self.tickets(width) for width in self.widths)
        return self.teachers * self.seeds * inside
