"""What a sweep of the width of networks of modules is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.runs.values import Count, Share, Sizes
from edt.scalars import number
from edt.studies.common.net_spec import NetTask

__all__ = ["WidthNetSpec"]


@dataclass(frozen=True)
class WidthNetSpec(NetTask, net="conv2", steps=400, milestones=(200, 300)):
    """Networks of several widths from many starts, trained alike.

    Attributes:
        factors: width factors, rising; the first is that of one ticket.
        task: "digits" (scikit-learn's 8 x 8 images), "mnist1d" (with net lenet300), or "mnist",
            "fashion_mnist", "cifar10", "cifar100" (files in ``folder``); or data of your own with
            classes: a file, "module:function" or an `edt.Task`, as a table with a ``shape`` where
            the samples are images.
        seeds: networks of each width.
        fits: share of the training samples that a network must have right to win.
        steps, lr, batch: of SGD with momentum.
        seed: of every draw of the experiment.
    """

    factors: Sizes = (0.03125, 0.046875, 0.0625, 0.09375, 0.125)
    seeds: Count = 64
    fits: Share = 0.95

    def check(self) -> None:
        number("factors entries", self.factors[-1], below=1e4, strict=True)
        super().check()
        if list(self.factors) != sorted(set(self.factors)):
            raise ValueError(f"factors must be rising and distinct, got {list(self.factors)}")

    @property
    def widest(self) -> float:
        """The last."""
        return self.factors[-1]

    @property
    def networks(self) -> int:
        """Networks trained."""
        return self.seeds * len(self.factors)
