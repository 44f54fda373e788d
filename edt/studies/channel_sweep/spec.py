"""What a sweep of channels is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from edt.runs.values import Budget, Count, Listed, OneOf, Widths
from edt.scalars import integer
from edt.studies.common.spec_parts import FirstOrder, Good, Lbfgs, Newton, Seeded, Teachers

READOUTS = ("mean", "positions")


@dataclass(frozen=True)
class ChannelSweepSpec(
    Seeded,
    Good,
    Newton,
    Lbfgs,
    FirstOrder,
    Teachers,
    teachers=10,
    samples=160,
    steps=600,
    lr=0.02,
    lbfgs_steps=300,
    newton_steps=15,
):
    """Convolutional teachers and students of one layer.

    Attributes:
        readouts: "mean" over positions, "positions" one by one, or both.
        teachers: random teachers a readout.
        teacher_channels: r, channels of each.
        teacher_gain: length of their kernels: the larger, the sharper the target.
        side, kernel: of images and kernels, in pixels.
        samples: images, of independent normal pixels.
        channels: of the students.
        seeds: students per readout, teacher and number of channels.
        steps, lr: of full-batch Adam with a cosine schedule.
        lbfgs_steps: that follow.
        newton_steps: of `edt.converge`, for minima whose channels are split.
        minima: of each part, bad ones, that channels are split of, lowest first.
        shares: of the first copy.
        good: a student wins at or below this loss, as a share of the target's variance.
        seed: of teachers and images.
    """

    readouts: Annotated[tuple[str, ...], Listed(OneOf(READOUTS))] = READOUTS
    teacher_channels: Count = 3
    side: Count = 5
    kernel: Count = 3
    channels: Widths = (2, 3, 4)
    seeds: Count = 8
    minima: Budget = 1
    shares: tuple[float, ...] = (0.5, 1.5)

    def check(self) -> None:
        super().check()
        integer("kernel", self.kernel, 1, self.side)
