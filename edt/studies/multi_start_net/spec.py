"""What a multi-start experiment on networks of modules is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.errors import unknown_choice
from edt.scalars import integer
from edt.studies.common.net_spec import NetSpec

__all__ = ["MultiStartNetSpec"]

CUTS = ("units", "weights")


@dataclass(frozen=True)
class MultiStartNetSpec(NetSpec):
    """Wide networks, and the disjoint tickets inside each, trained together and apart.

    Attributes:
        factor: width factor of the wide networks.
        parts: numbers of tickets that networks are cut into.
        cut: "units" (narrow networks of a share of the channels; not for residual networks) or
            "weights" (sparse networks of a share of each layer's weights).
        seeds: wide networks.
        level: quantile of the accuracies of tickets alone, where there are fewest of them, at and
            above which a network wins.
    """

    factor: float = 1.0
    parts: tuple[int, ...] = (2, 4)
    cut: str = "units"
    seeds: int = 24
    level: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts:
            raise ValueError("parts must hold at least one number of parts")
        for parts in self.parts:
            integer("parts entries", parts, 2)
        if list(self.parts) != sorted(set(self.parts)):
            raise ValueError(f"parts must be rising and distinct, got {self.parts}")
        if self.cut not in CUTS:
            raise unknown_choice("cut", self.cut, CUTS)
        if self.cut == "units" and self.net == "resnet20":
            raise ValueError("cut 'units' is for networks without shortcuts; take cut 'weights'")

    @property
    def networks(self) -> int:
        """Networks trained."""
        return self.seeds * (1 + sum(self.parts))
