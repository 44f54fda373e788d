"""What a table of spurious minima is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from edt.landscape.safran_shamir import FINISH
from edt.runs.values import Count, OneOf, Rising, Widths
from edt.studies.common.spec_parts import Seeded, Tolerance


@dataclass(frozen=True)
class SafranShamirSpec(Tolerance, Seeded, tol=2e-9):
    """Which cells of the table, and how.

    Attributes:
        teachers: teacher widths k, rising.
        extra: neurons a student has more than its teacher, rising, from 0.
        starts: per cell.
        seed: of the starts, >= 0.
        tol: ``max|grad|`` at which a run has ended.
        max_steps: of gradient descent.
        finish: "all" drives every run to ``tol``; "spurious" leaves a run once ``F <= 1e-3``
            (the loss only falls from there).
    """

    teachers: Widths = tuple(range(6, 21))
    extra: Annotated[tuple[int, ...], Rising(least=1, start=0)] = (0, 1, 2)
    starts: Count = 1000
    max_steps: Count = 200_000
    finish: Annotated[str, OneOf(FINISH)] = "all"

    @property
    def cells(self) -> list[tuple[int, int]]:
        """(teacher width, student width) of every cell, those of few neurons first."""
        return [(k, k + more) for more in self.extra for k in self.teachers]
