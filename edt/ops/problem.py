"""What an op needs besides the parameters: tensors and plain values, in the order of its schema."""

from __future__ import annotations

from typing import NamedTuple

import torch

from edt.errors import ChangedError
from edt.ops.cache import versions
from edt.ops.losses import LOSSES

__all__ = ["SCHEMA", "Problem"]

#: The fields of `Problem` in the language of operator schemas.
SCHEMA = (
    "Tensor state, Tensor layer_widths, bool bias, str activation, "
    "Tensor x, Tensor y, Tensor coef, str loss, SymInt d_out, Tensor? task_index"
)


class Problem(NamedTuple):
    """Structure of B networks and the data they are evaluated on.

    Attributes:
        state: uint8 ``[total]``: 0 pruned, 1 trainable, 2 frozen.
        layer_widths: int64 ``[B, D + 2]``: d_in, h_1..h_D, d_out.
        bias: whether every layer has a bias.
        activation: name.
        x: ``[N, d_in]`` or ``[T, N, d_in]``.
        y: ``[N, d_out]`` or ``[T, N, d_out]``, dtype of x; classes int64 ``[N]`` or ``[T, N]``
            where the loss takes those.
        coef: ``[T, N]``, dtype of x; the loss is ``sum_n coef_n l_n``.
        loss: name in `edt.ops.losses.LOSSES`.
        d_out: outputs of every network.
        task_index: int64 ``[B]``, which of the T targets each network has; None: the first.
    """

    state: torch.Tensor
    layer_widths: torch.Tensor
    bias: bool
    activation: str
    x: torch.Tensor
    y: torch.Tensor
    coef: torch.Tensor
    loss: str
    d_out: int
    task_index: torch.Tensor | None

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """What a caller could change in place under something made from it."""
        return self.state, self.layer_widths, self.x, self.y, self.coef

    def cpu(self) -> Problem:
        """The same with all tensors on the CPU."""
        return self._replace(
            state=self.state.cpu(),
            layer_widths=self.layer_widths.cpu(),
            x=self.x.cpu(),
            y=self.y.cpu(),
            coef=self.coef.cpu(),
            task_index=None if self.task_index is None else self.task_index.cpu(),
        )

    def insist_on(self, before: tuple[int, ...]) -> None:
        """Refuse changed tensors.

        Raises:
            ChangedError: their `edt.ops.cache.versions` are others than ``before``.
        """
        if versions(*self.tensors) != before:
            raise ChangedError(
                "data or masks were changed in place since this objective was made; make another "
                "by task.objective(networks, task_index)"
            )

    @property
    def networks(self) -> int:
        """B."""
        return self.layer_widths.shape[0]

    @property
    def layer_sizes(self) -> torch.Tensor:
        """Parameters of every layer, int64 ``[B, D + 1]``."""
        fan_in, fan_out = self.layer_widths[:, :-1], self.layer_widths[:, 1:]
        return (fan_in + int(self.bias)) * fan_out

    @property
    def samples(self) -> int:
        """N."""
        return self.x.shape[-2]

    def spans(self) -> list[slice]:
        """Each network's place in the flat vector."""
        ends = self.layer_sizes.sum(1).cumsum(0).tolist()
        return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    def inputs(self, t: int) -> torch.Tensor:
        """Inputs ``[N, d_in]`` of target t."""
        return self.x if self.x.dim() == 2 else self.x[t]

    def targets(self, t: int) -> torch.Tensor:
        """``[N, d_out]``, or classes ``[N]``, of target t."""
        return self.y if self.y.dim() == LOSSES[self.loss].dims else self.y[t]

    def task_of(self, b: int) -> int:
        """Which target network b has."""
        return 0 if self.task_index is None else int(self.task_index[b])
