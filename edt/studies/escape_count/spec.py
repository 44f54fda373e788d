"""What a study of neurons until an escape is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.runs.values import Count
from edt.studies.common.spec_parts import Failed, StudentSpec


@dataclass(frozen=True)
class EscapeCountSpec(Failed, StudentSpec, widths=(2, 3, 4), seeds=12, d_in=2, samples=128):
    """Students whose bad minima are grown, and how far.

    Attributes:
        each: bad minima of each width and teacher: the first that are met.
        most: neurons added at most.
    """

    most: Count = 4
