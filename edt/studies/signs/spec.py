"""What a study of the signs of eigenvalues is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.runs.values import Count
from edt.studies.index_loss.spec import IndexLossSpec


@dataclass(frozen=True)
class SignsSpec(IndexLossSpec, widths=(2, 3, 4, 5), seeds=40):
    """Where critical points are looked for, and how finely their losses are cut.

    Attributes:
        levels: parts of equal size into which each teacher's points of a width are cut, by loss.
    """

    levels: Count = 3
