"""What a run of training keeps fixed step after step, and what it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from edt import _core
from edt.ops.training import Rule
from edt.training.optimizers import OPTIMIZERS

__all__ = [
    "CONVERGED",
    "DIVERGED",
    "RUNNING",
    "STOPPED",
    "TARGET",
    "OptimizerState",
    "Rule",
    "State",
    "Trainer",
]

#: Codes of a network's status, as the core has them.
RUNNING, CONVERGED, DIVERGED, TARGET, STOPPED = (
    _core.CODES["training"].index(name)
    for name in ("running", "converged", "diverged", "target", "stopped")
)


@dataclass(frozen=True)
class OptimizerState:
    """What a run goes on with besides the networks: see ``masked_train(continue_from=...)``.

    Attributes:
        name: "sgd", "adam" or "adamw".
        m, v: flat moments, None where the optimiser has none.
        target: step that the last call of the kernel was to reach.
        settled: whether it did.
        heard: last step that was reported to ``on_record``.
        remasked: last step before which masks were changed.
    """

    name: str
    m: torch.Tensor | None
    v: torch.Tensor | None
    target: int
    settled: bool
    heard: int
    remasked: int = -1


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
        heard: last step that was reported to ``on_record``.
        remasked: last step before which masks were changed.
        masks: uint8 ``[total]``, states of the parameters; None where masks do not change.
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
    heard: int = -1
    remasked: int = -1
    masks: torch.Tensor | None = None
    interrupted: bool = False

    @classmethod
    def start(cls, theta: torch.Tensor, networks: int, rule: Rule, params: bool) -> State:
        """State before the first step; ``theta`` is copied."""
        first, second = OPTIMIZERS[rule.hyper["optimizer"]].moments(rule.hyper)
        rows = int(rule.record.numel())
        nan, where = float("nan"), theta.device
        return cls(
            theta=theta.detach().clone().contiguous(),
            m=torch.zeros_like(theta) if first else None,
            v=torch.zeros_like(theta) if second else None,
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
                "masks",
            )
        }
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def to_cpu(self) -> None:
        """Bring all tensors to the CPU."""
        for name, tensor in self.tensors().items():
            setattr(self, name, tensor.cpu())


class Trainer(Protocol):
    """What `edt.training.run` drives: `edt.ops.calls.Calls`, or any objective in PyTorch."""

    def train(self, run: State, rule: Rule, until: int) -> None:
        """Run every network with status 0 to step ``until``; see `edt.ops.calls.Calls`."""

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Write the losses float64 ``[B]`` of the active networks."""

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
