"""Training: first-order (`masked_train`) and to the bottom (`converge`)."""

from __future__ import annotations

from edt.arguments import checked
from edt.training.checkpoint import CheckpointError
from edt.training.converge_run import ConvergeResult, converge
from edt.training.masked import masked_train
from edt.training.result import TrainResult
from edt.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    Linear,
    Milestones,
    OneCycle,
    Schedule,
    Step,
    Warmup,
)

__all__ = [
    "CheckpointError",
    "Constant",
    "ConvergeResult",
    "Cosine",
    "Exponential",
    "Linear",
    "Milestones",
    "OneCycle",
    "Schedule",
    "Step",
    "TrainResult",
    "Warmup",
    "converge",
    "masked_train",
]

checked(__name__)
