"""Chains of layers on the CUDA engine, many networks a launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from edt.objectives.chained import CoreChain, Masks
from edt.ops import cuda
from edt.ops.cuda_chain import CudaChain

if TYPE_CHECKING:
    from edt.objectives.stacked import Layer

__all__ = ["GpuChain"]


class GpuChain(CoreChain):
    """`CoreChain` for tensors on a GPU.

    Its sums have an order of their own, so results differ from the CPU's in their last digits.

    Args:
        layers: in order.
        shape: of a sample.
        parameters: numbers of a network.
    """

    #: Whether products with vectors are the engine's too.
    multiplies = False

    def __init__(self, layers: Sequence[Layer], shape: Sequence[int], parameters: int) -> None:
        super().__init__(layers, shape, parameters)
        self._engine = CudaChain(self._chain)

    @classmethod
    def on(
        cls, layers: Sequence[Layer], shape: Sequence[int], parameters: int, device: torch.device
    ) -> GpuChain | None:
        """The chain, or None where the engine is not usable or lacks a layer."""
        if not cuda.usable():
            return None
        made = cls.of(layers, shape, parameters)
        if not isinstance(made, cls) or not CudaChain.takes(made._chain, device):
            return None
        return made

    def outputs(self, rows: torch.Tensor, inputs: torch.Tensor, masks: Masks = ()) -> torch.Tensor:
        """``[B, N, ...]``; see `CoreChain`."""
        out = rows.new_empty(*inputs.shape[:2], *self.shape)
        self._engine.outputs(rows, inputs, out, masks)
        return out

    def gradient(
        self,
        rows: torch.Tensor,
        inputs: torch.Tensor,
        value: Callable[[torch.Tensor], torch.Tensor],
        masks: Masks = (),
        into: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(gradients ``[B, P]``, losses ``[B]``); see `CoreChain`."""
        out = rows.new_empty(*inputs.shape[:2], *self.shape)
        forward = self._engine.outputs(rows, inputs, out, masks, keep=True)
        with torch.enable_grad():
            losses = value(out.requires_grad_(True))
            (slopes,) = torch.autograd.grad(losses.sum(), out)
        grad = torch.empty_like(rows) if into is None else into
        self._engine.gradient(forward, slopes.contiguous(), grad)
        return grad, losses.detach()
