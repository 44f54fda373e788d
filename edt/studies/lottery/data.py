"""Training, validation and test data of the lottery experiment."""

from __future__ import annotations

from typing import NamedTuple

import torch

from edt.studies.common.nets import load
from edt.studies.lottery.spec import LotterySpec
from edt.tasks import Task
from edt.tasks.inputs import permutation


class Splits(NamedTuple):
    """Three disjoint parts."""

    train: Task
    validation: Task
    test: Task


def load_splits(spec: LotterySpec) -> Splits:
    """Data in float32, classes with cross-entropy; the validation part is drawn by ``spec.seed``.

    Raises:
        FileNotFoundError, IdxError, CifarError: files. ImportError: a package is missing.
        ValueError: too few samples.
    """
    whole, test = load(spec.task, spec.folder)
    order = permutation(spec.seed, whole.N)
    if spec.samples:
        order = order[: spec.samples]
    held = max(1, round(spec.validation_share * order.numel()))
    if order.numel() <= held:
        raise ValueError(f"samples must leave some for training, got {spec.samples}")
    return Splits(
        _part(whole, order[held:].sort().values), _part(whole, order[:held].sort().values), test
    )


def _part(task: Task, chosen: torch.Tensor) -> Task:
    return Task(task.x[chosen], task.y[chosen], task.loss, name=task.name, n_classes=task.d_out)
