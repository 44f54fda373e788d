"""What a study of several kinds of target is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from edt.runs.values import Count, Listed, OneOf, Positive
from edt.studies.common.spec_parts import Bottom, Students, TeacherSpec

#: Targets: words for figures.
TARGETS = {
    "clean": "teachers without noise",
    "noisy": "teachers with noise",
    "rosenbrock": "a function out of reach",
    "diabetes": "diabetes data",
}


@dataclass(frozen=True)
class TargetsSpec(
    Bottom,
    Students,
    TeacherSpec,
    teachers=4,
    widths=(2, 3, 4, 6, 8),
    seeds=12,
    samples=100,
    steps=2000,
    lbfgs_rounds=2,
):
    """What is learned, by whom.

    Attributes:
        targets: of `TARGETS`.
        noise: standard deviation of the noise, in those of the target.
        test_samples: of the test data of teachers.
        widths, seeds: of the students, for every target.
        share: what is good where there is no other measure: so far above the lowest loss.
    """

    targets: Annotated[tuple[str, ...], Listed(OneOf(TARGETS))] = tuple(TARGETS)
    noise: Positive = 0.2
    test_samples: Count = 1000
    share: Positive = 0.01
