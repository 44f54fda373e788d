"""What a multi-start experiment on networks of modules is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from edt.runs.values import Count, OneOf, Rising
from edt.studies.common.net_spec import NetSpec

__all__ = ["MultiStartNetSpec"]

CUTS = ("units", "weights")


@dataclass(frozen=True)
class MultiStartNetSpec(NetSpec, factor=1.0, level=0.75):
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

    parts: Annotated[tuple[int, ...], Rising(start=2)] = (2, 4)
    cut: Annotated[str, OneOf(CUTS)] = "units"
    seeds: Count = 24

    def check(self) -> None:
        super().check()
        if self.cut == "units" and self.net == "resnet20":
            raise ValueError("cut 'units' is for networks without shortcuts; take cut 'weights'")

    @property
    def networks(self) -> int:
        """Networks trained."""
        return self.seeds * (1 + sum(self.parts))
