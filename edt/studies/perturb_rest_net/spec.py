"""What a perturb-rest experiment on networks of modules is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.lottery.perturbations import check_sizes
from edt.studies.common.net_spec import NetSpec

__all__ = ["PerturbRestNetSpec"]


@dataclass(frozen=True)
class PerturbRestNetSpec(NetSpec):
    """Winning tickets of networks of modules, and many rests around each.

    Attributes:
        candidates: dense networks trained to find tickets among.
        rounds: rounds of iterative magnitude pruning.
        share: of each layer's remaining weights that a round prunes; at most half of them may be
            left in the end, so that as many others are there for the control.
        rewind: step the survivors go back to.
        tickets: winning tickets, and losing ones.
        rests: changed rests per ticket and size.
        change: kind of change, see `edt.lottery.perturb_rest`.
        sizes: of the change; 1 is a fresh rest.
    """

    candidates: int = 32
    rounds: int = 2
    share: float = 0.5
    rewind: int = 0
    tickets: int = 12
    rests: int = 8
    change: str = "resample"
    sizes: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "sizes", check_sizes(self.change, tuple(self.sizes), "change"))
        if list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError(f"sizes must be rising and distinct, got {list(self.sizes)}")
        if not 0.0 < self.share < 1.0 or (1.0 - self.share) ** self.rounds > 0.5:
            raise ValueError(
                "share and rounds must leave at most half of the weights, got "
                f"(1 - {self.share})^{self.rounds} = {(1.0 - self.share) ** self.rounds:.2f}"
            )
        if self.rewind >= self.steps:
            raise ValueError(f"rewind must be below steps ({self.steps}), got {self.rewind}")

    def _from_zero(self) -> tuple[str, ...]:
        return (*super()._from_zero(), "rewind")

    @property
    def trainings(self) -> int:
        """Networks with a changed rest, at most."""
        return 4 * self.tickets * self.rests * len(self.sizes)
