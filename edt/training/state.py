"""What a run of training keeps fixed step after step, and what it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from edt import _core

__all__ = [
    "CONVERGED",
    "DIVERGED",
    "RUNNING",
    "TARGET",
    "Rule",
    "State",
    "TrainingEngine",
    "train_arguments",
]

#: Codes of a network's status, as the core has them.
RUNNING, CONVERGED, DIVERGED, TARGET = (
    _core.CODES["training"].index(name) for name in ("running", "converged", "diverged", "target")
)
#: What a training call changes, and what it is told.
_CHANGED = ("m", "v", "steps", "status", "loss", "grad_norm", "history_loss", "history_grad")
_FIXED = ("lr", "weight_decay", "seeds", "factors", "record")


@dataclass
class Rule:
    """How a step is taken, and when it is recorded.

    Attributes:
        hyper: optimiser, its constants, ``batch_size``, ``tol``, ``loss_target`` and ``last_step``
            (of the run: a call of `TrainingEngine.train` that ends before it leaves the evaluation
            at its last step to the next call).
        lr, weight_decay: float64 ``[B]``.
        seeds: int64 ``[B]``, of the minibatches.
        factors: float64 ``[T]``, learning-rate factors of steps 0..T-1.
        record: int64 ``[R]``, steps at which loss and gradient are recorded, ascending.
    """

    hyper: dict[str, Any]
    lr: torch.Tensor
    weight_decay: torch.Tensor
    seeds: torch.Tensor
    factors: torch.Tensor
    record: torch.Tensor


@dataclass
class State:
    """Everything that changes during a run; what a checkpoint holds.

    Attributes:
        theta: flat parameters.
        m, v: flat moments, None where the optimiser has none.
        steps: int64 ``[B]``, steps taken.
        status: int8 ``[B]``, codes above.
        loss, grad_norm: float64 ``[B]``, at the last evaluation; ``grad_norm`` is ``max|grad|``.
        history_loss, history_grad: float64 ``[R, B]``, at the recorded steps.
        history_params: ``[R, total]``, or None.
        target: step that the last chunk was to reach.
        seconds: wall-clock time spent.
        settled: False while a chunk is unfinished: some networks may lack their evaluation at
            ``target``.
        interrupted: whether the run was cut.
    """

    theta: torch.Tensor
    m: torch.Tensor | None
    v: torch.Tensor | None
    steps: torch.Tensor
    status: torch.Tensor
    loss: torch.Tensor
    grad_norm: torch.Tensor
    history_loss: torch.Tensor
    history_grad: torch.Tensor
    history_params: torch.Tensor | None
    target: int = 0
    seconds: float = 0.0
    settled: bool = False
    interrupted: bool = False

    @classmethod
    def start(cls, theta: torch.Tensor, networks: int, rule: Rule, params: bool) -> State:
        """State before the first step; ``theta`` is copied."""
        optimizer = rule.hyper["optimizer"]
        adaptive = optimizer in ("adam", "adamw")
        heavy = optimizer == "sgd" and rule.hyper["momentum"] != 0.0
        rows = int(rule.record.numel())
        nan, where = float("nan"), theta.device
        return cls(
            theta=theta.detach().clone().contiguous(),
            m=torch.zeros_like(theta) if adaptive or heavy else None,
            v=torch.zeros_like(theta) if adaptive else None,
            steps=torch.zeros(networks, dtype=torch.int64, device=where),
            status=torch.zeros(networks, dtype=torch.int8, device=where),
            loss=theta.new_full((networks,), nan, dtype=torch.float64),
            grad_norm=theta.new_full((networks,), nan, dtype=torch.float64),
            history_loss=theta.new_full((rows, networks), nan, dtype=torch.float64),
            history_grad=theta.new_full((rows, networks), nan, dtype=torch.float64),
            history_params=(theta.new_full((rows, theta.numel()), nan) if params else None),
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors by name; absent ones are left out."""
        named = {
            name: getattr(self, name)
            for name in (
                "theta",
                "m",
                "v",
                "steps",
                "status",
                "loss",
                "grad_norm",
                "history_loss",
                "history_grad",
                "history_params",
            )
        }
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def to_cpu(self) -> None:
        """Bring all tensors to the CPU."""
        for name, tensor in self.tensors().items():
            setattr(self, name, tensor.cpu())


def train_arguments(
    state: State, rule: Rule, until: int, address: Callable[[torch.Tensor], int]
) -> dict[str, int]:
    """The arguments of a training call by name (``TrainState`` in ``csrc/layout/training.h``).

    Args:
        state, rule, until: see `TrainingEngine.train`.
        address: of what a rule holds, in the memory of the engine.
    """
    changed = {name: getattr(state, name) for name in _CHANGED}
    own = {name: 0 if t is None else int(t.data_ptr()) for name, t in changed.items()}
    fixed = {name: address(getattr(rule, name)) for name in _FIXED}
    return {**own, **fixed, "until": int(until), "n_record": int(rule.record.numel())}


class TrainingEngine(Protocol):
    """One ensemble on one task, on one device.

    Attributes:
        B: number of networks.
        offsets: int64 ``[B + 1]``; network b owns ``theta[offsets[b]:offsets[b + 1]]``.
    """

    B: int
    offsets: torch.Tensor

    def train(self, state: State, rule: Rule, until: int) -> None:
        """Run every network with status 0 to step ``until``, at most ``len(rule.factors)``.

        The tensors of ``state`` are updated in place; ``target`` and what follows it is not
        touched.
        """

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Write loss float64 ``[B]`` and gradient (flat) of the active networks."""

    def wait(self) -> None:
        """Return when all calls so far have finished."""
