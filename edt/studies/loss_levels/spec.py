"""What a study of loss levels is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from edt.runs.values import Count, Positive, Whole, Widths
from edt.studies.common.spec_parts import Bottom, FirstSeed, Lbfgs, Networks, Tolerance


@dataclass(frozen=True)
class LossLevelsSpec(
    Bottom,
    Lbfgs,
    Tolerance,
    FirstSeed,
    Networks,
    activation="g",
    newton_steps=200,
    certify_steps=600,
):
    """Which networks, and how they are taken down.

    Attributes:
        widths: hidden widths r, rising.
        biases: settings tried: without, with.
        starts: s; width r gets ``s 2^r`` starts.
        points: of the target's grid, per axis. The paper has 101 (10,201 points) and s = 50.
        activation: of the networks.
        max_time: end of the gradient flow.
        rtol: its tolerance; that of small parameters is a hundredth of it.
        norm_limit: parameter norm at which a flow is left.
        tol: ``max|grad|`` to converge to afterwards.
        lbfgs_steps, newton_steps: as in `edt.converge`.
    """

    widths: Widths = (1, 2, 3, 4, 5)
    biases: tuple[bool, ...] = (False, True)
    starts: Count = 10
    points: Annotated[int, Whole(2)] = 31
    max_time: Positive = 1e6
    rtol: Positive = 1e-3
    norm_limit: Positive = 1e3

    def check(self) -> None:
        super().check()
        if list(self.biases) not in ([False], [True], [False, True]):
            raise ValueError(
                f"biases must be false, true, or false and true, got {list(self.biases)}"
            )

    def starts_of(self, width: int) -> int:
        """Starts of one width and bias setting."""
        return int(self.starts * 2**width)

    @property
    def networks(self) -> int:
        """Networks trained in all."""
        return len(self.biases) * sum(self.starts_of(width) for width in self.widths)
