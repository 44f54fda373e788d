"""What a study of optimisers is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from edt.runs.values import Count, Listed, OneOf, Positive, Sizes, Widths
from edt.studies.common.spec_parts import Bottom, Students, TeacherSpec

#: Rules: optimiser, batch size (None: all samples), learning rate.
RULES: dict[str, tuple[str, int | None, float]] = {
    "gd": ("gd", None, 0.1),
    "sgd": ("sgd", 16, 0.05),
    "sgd small": ("sgd", 4, 0.02),
    "adam": ("adam", None, 0.01),
}


@dataclass(frozen=True)
class OptimisersSpec(
    Bottom, Students, TeacherSpec, teachers=4, widths=(3, 4, 8), seeds=8, samples=96
):
    """Rules, starts, widths; saddles and batches.

    Attributes:
        rules: of `RULES`.
        scales: factors on the start.
        widths, seeds: students for every rule, scale and teacher.
        saddle_width: of the bad minima that are split; saddles: at most so many a teacher.
        batches: samples a step; those above the number of samples mean all.
        noises: seeds of the batches, for every saddle and batch size.
        leave_steps: steps allowed; leave_lr: their learning rate.
        flows: gradient flows of each teacher; flow_width, flow_scale: of their starts; flow_time:
            where they end.
    """

    rules: Annotated[tuple[str, ...], Listed(OneOf(RULES))] = tuple(RULES)
    scales: Sizes = (0.3, 1.0, 3.0)
    saddle_width: Count = 3
    saddles: Count = 3
    batches: Widths = (4, 16, 96)
    noises: Count = 4
    leave_steps: Count = 20_000
    leave_lr: Positive = 0.1
    flows: Count = 6
    flow_width: Count = 4
    flow_scale: Positive = 0.1
    flow_time: Positive = 1e6
