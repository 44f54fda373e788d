"""edt's side of the comparisons, through its public functions."""

from __future__ import annotations

import numpy as np
import torch

import edt
from benchmarks.workload import BETA1, BETA2, EPSILON, LEARNING_RATE


def train(
    ens: edt.Ensemble, task: edt.Task, steps: int, batch_size: int | None = None
) -> edt.TrainResult:
    """Adam; argument checks, set-up and the final evaluation are part of the time."""
    return edt.masked_train(
        task,
        ens,
        optimizer="adam",
        steps=steps,
        lr=LEARNING_RATE,
        betas=(BETA1, BETA2),
        eps=EPSILON,
        batch_size=batch_size,
        record=None,
        progress=False,
    )


def losses(ens: edt.Ensemble, task: edt.Task, steps: int) -> np.ndarray:
    """Loss of every network after some steps."""
    return np.asarray(train(ens, task, steps).loss.numpy())


def products(ens: edt.Ensemble, task: edt.Task, vectors: torch.Tensor) -> torch.Tensor:
    """Hessian-vector products ``[K, total]``."""
    return edt.hvp(ens, task, vectors)


def hessians(ens: edt.Ensemble, task: edt.Task) -> list[torch.Tensor]:
    """Hessian of every network."""
    return edt.hessian(ens, task)
