"""Noise on inputs and labels while networks train: `masked_train(data=Noisy(task, ...))`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.ops.losses import LOSSES
from edt.scalars import number
from edt.tasks.task import Task

__all__ = ["Noisy"]

#: Losses whose targets are signs, and shares: what a wrong label of theirs is.
_SIGNS, _SHARES = ("logistic", "squared_hinge"), ("bce",)


@dataclass(frozen=True)
class Noisy:
    """A task whose inputs and labels are disturbed anew in every epoch.

    ``x + inputs * z`` with z normal; and, of a share ``labels`` of the samples, a wrong label:
    another class, the other sign, ``1 - y``. Targets that are numbers get ``labels * z`` instead.

    Attributes:
        task: what is disturbed.
        inputs: standard deviation of the noise on inputs, >= 0.
        labels: share of labels that are wrong, in [0, 1]; standard deviation of the noise on
            targets of "mse" and "huber".

    Raises:
        TypeError, ValueError: no such numbers, or soft targets, which have no wrong label.

    Example:
        >>> noisy = Noisy(edt.tasks.digits(), inputs=0.1, labels=0.05)  # doctest: +SKIP
        >>> edt.masked_train(task, networks, batch_size=32, data=noisy)  # doctest: +SKIP

    Reference: C. M. Bishop, "Training with noise is equivalent to Tikhonov regularization",
    Neural Computation 1995.
    """

    task: Task
    inputs: float = 0.0
    labels: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task):
            raise TypeError(f"task must be an edt.Task, got {type(self.task).__name__}")
        number("inputs", self.inputs)
        number("labels", self.labels)
        loss = self.task.loss
        if self.labels and loss == "soft_cross_entropy":
            raise ValueError("labels needs classes, signs or numbers, got soft targets")
        wrong = LOSSES[loss].classes or loss in _SIGNS or loss in _SHARES
        if wrong and self.labels > 1.0:
            raise ValueError(f"labels must be a share in [0, 1], got {self.labels}")

    def __call__(self, epoch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of an epoch, of the task's shapes.

        Args:
            epoch: 0, 1, ...; what it changes comes by way of the generator.
            generator: of the CPU.
        """
        x, y, loss = self.task.x, self.task.y, self.task.loss
        if self.inputs:
            x = x + self.inputs * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        if not self.labels:
            return x, y
        if LOSSES[loss].classes:
            other = torch.randint(1, self.task.d_out, y.shape, generator=generator)
            return x, torch.where(self._wrong(y, generator), (y + other) % self.task.d_out, y)
        if loss in _SIGNS:
            return x, torch.where(self._wrong(y, generator), -y, y)
        if loss in _SHARES:
            return x, torch.where(self._wrong(y, generator), 1.0 - y, y)
        return x, y + self.labels * torch.randn(y.shape, generator=generator, dtype=y.dtype)

    def _wrong(self, y: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(y.shape, generator=generator, dtype=torch.float64) < self.labels
