"""What a run of exclusive or is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from edt.runs.values import Listed, OneOf, Positive
from edt.studies.common.spec_parts import FirstOrder, FirstSeed, Students

#: Successes of 1,000 seeds at each width in the reference run.
REFERENCE: dict[int, int] = {2: 198, 3: 417, 4: 621, 6: 831, 8: 916, 10: 962}
REFERENCE_SEEDS = 1000
#: Variance of the output weights at width m: the two readings of "He-type" for a lottery.
STARTS: dict[str, str] = {
    "fixed": "output weights N(0, 2) at every width, so that any two neurons start as width 2 does",
    "he": "output weights N(0, 2/m), He's rule for a layer of m inputs",
}


@dataclass(frozen=True)
class XorSpec(
    FirstOrder,
    FirstSeed,
    Students,
    widths=tuple(REFERENCE),
    seeds=REFERENCE_SEEDS,
    steps=12_000,
    lr=0.2,
):
    """2-m-1 relu networks with biases on the four points of exclusive or.

    Attributes:
        widths: m.
        seeds: networks a width and start.
        starts: see `STARTS`; input weights are N(0, 2/2), biases 0.
        steps, lr: full-batch gradient descent.
        success: a run succeeds below this mean cross-entropy.
    """

    starts: Annotated[tuple[str, ...], Listed(OneOf(STARTS))] = tuple(STARTS)
    success: Positive = 0.02

    @property
    def networks(self) -> int:
        """Networks trained in all."""
        return len(self.starts) * len(self.widths) * self.seeds

    @property
    def comparable(self) -> bool:
        """Whether the protocol is that of the reference (seeds and widths are free)."""
        other = XorSpec()
        return (self.steps, self.lr, self.success) == (other.steps, other.lr, other.success)
