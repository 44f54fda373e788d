"""What a census is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.landscape import Tolerances
from edt.runs.values import Positive
from edt.studies.common.spec_parts import StudentSpec


@dataclass(frozen=True)
class CensusSpec(StudentSpec):
    """Students, and what counts as the same minimum.

    Attributes:
        level, function, parameters, reduction: as in `edt.landscape.Tolerances`.
    """

    level: Positive = 1e-6
    function: Positive = 1e-5
    parameters: Positive = 1e-3
    reduction: Positive = 1e-6

    @property
    def tolerances(self) -> Tolerances:
        """What counts as equal."""
        return Tolerances(self.level, self.function, self.parameters, self.reduction)
