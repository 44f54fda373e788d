"""What a study of barriers is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.runs.values import Count, Sizes
from edt.studies.common.spec_parts import StudentSpec


@dataclass(frozen=True)
class BarriersSpec(StudentSpec, widths=(3, 4, 6, 10), seeds=16, teachers=4, d_in=2, samples=96):
    """Students, pairs and pushes.

    Attributes:
        pairs: pairs of good ends of each teacher and width, at most.
        ends: good ends, and certified bad minima, that are pushed, of each at most.
        radii: lengths of the pushes, in units of the norm.
        pushes: of every end and radius.
    """

    pairs: Count = 6
    ends: Count = 3
    radii: Sizes = (0.03, 0.1, 0.3, 1.0)
    pushes: Count = 4
