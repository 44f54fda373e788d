"""What a perturb-rest experiment on networks of modules is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.runs.values import Budget, Count, Share
from edt.studies.common.net_spec import NetSpec
from edt.studies.common.spec_parts import Changes

__all__ = ["PerturbRestNetSpec"]


@dataclass(frozen=True)
class PerturbRestNetSpec(Changes, NetSpec):
    """Winning tickets of networks of modules, and many rests around each.

    Attributes:
        candidates: dense networks trained to find tickets among.
        rounds: rounds of iterative magnitude pruning.
        share: of each layer's remaining weights that a round prunes; at most half of them may be
            left in the end, so that as many others are there for the control.
        rewind: step the survivors go back to.
        tickets: winning tickets, and losing ones.
        rests: changed rests per ticket and size.
    """

    candidates: Count = 32
    rounds: Count = 2
    share: Share = 0.5
    rewind: Budget = 0
    tickets: Count = 12
    rests: Count = 8

    def check(self) -> None:
        super().check()
        if (1.0 - self.share) ** self.rounds > 0.5:
            raise ValueError(
                "share and rounds must leave at most half of the weights, got "
                f"(1 - {self.share})^{self.rounds} = {(1.0 - self.share) ** self.rounds:.2f}"
            )
        if self.rewind >= self.steps:
            raise ValueError(f"rewind must be below steps ({self.steps}), got {self.rewind}")

    @property
    def trainings(self) -> int:
        """Networks with a changed rest, at most."""
        return 4 * self.tickets * self.rests * len(self.sizes)
