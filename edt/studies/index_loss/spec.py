"""What a study of critical points is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from edt.runs.values import Count, Listed, Real, Widths
from edt.studies.common.spec_parts import Students, TeacherSpec


@dataclass(frozen=True)
class IndexLossSpec(Students, TeacherSpec, teachers=3):
    """Where Newton sets out from, and how far it may go.

    Attributes:
        stops: steps of Adam after which each student's path is left.
        noises: sizes of random pushes off those points, as shares of the norm.
        newton_steps: budget of each.
    """

    stops: Widths = (30, 100, 300, 1000, 3000)
    noises: Annotated[tuple[float, ...], Listed(Real(strict=False))] = (0.0, 0.1)
    newton_steps: Count = 200
