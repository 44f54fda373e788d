"""What a call for training steps is told, and what it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

__all__ = ["Rule", "Run", "train_arguments"]

_CHANGED = ("m", "v", "steps", "status", "loss", "grad_norm", "history_loss", "history_grad")
_FIXED = ("lr", "weight_decay", "seeds", "factors", "record", "lr_scale", "clip_norm")


@dataclass
class Rule:
    """How a training step is taken, and when it is recorded.

    Attributes:
        hyper: optimiser, its constants, ``batch_size``, ``tol``, ``loss_target`` and ``last_step``
            (of the run: a call that ends before it leaves the evaluation at its last step to the
            next call).
        lr, weight_decay: float64 ``[B]``.
        seeds: int64 ``[B]``, of the minibatches.
        factors: float64 ``[T]``, learning-rate factors of steps 0..T-1.
        record: int64 ``[R]``, steps at which loss and gradient are recorded, ascending.
        lr_scale: flat, factors of the learning rate, dtype of the parameters; None: 1.
        clip_norm: float64 ``[B]``, largest norm of a step's gradient; None: not clipped.
    """

    hyper: dict[str, Any]
    lr: torch.Tensor
    weight_decay: torch.Tensor
    seeds: torch.Tensor
    factors: torch.Tensor
    record: torch.Tensor
    lr_scale: torch.Tensor | None = None
    clip_norm: torch.Tensor | None = None


class Run(Protocol):
    """What training steps change (see `edt.training.state.State`)."""

    theta: torch.Tensor
    m: torch.Tensor | None
    v: torch.Tensor | None
    steps: torch.Tensor
    status: torch.Tensor
    loss: torch.Tensor
    grad_norm: torch.Tensor
    history_loss: torch.Tensor
    history_grad: torch.Tensor


def train_arguments(
    run: Run, rule: Rule, until: int, address: Callable[[torch.Tensor], int]
) -> dict[str, int]:
    """The arguments of a training call by name (``TrainState`` in ``csrc/layout/training.h``).

    Args:
        run, rule, until: see `edt.ops.calls.Calls.train`.
        address: of what a rule holds, in the memory of the engine.
    """
    changed = {name: getattr(run, name) for name in _CHANGED}
    own = {name: 0 if t is None else int(t.data_ptr()) for name, t in changed.items()}
    given = {name: getattr(rule, name) for name in _FIXED}
    fixed = {name: 0 if t is None else address(t) for name, t in given.items()}
    return {**own, **fixed, "until": int(until), "n_record": int(rule.record.numel())}
