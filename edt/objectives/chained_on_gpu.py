"""Chains of layers on the CUDA engine, many networks a launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from edt.objectives.chained import CoreChain, Masks, laid_alike, seconds, slopes_of
from edt.ops import cuda
from edt.ops.cuda_chain import CudaChain

if TYPE_CHECKING:
    from edt.objectives.layers import Layer

__all__ = ["GpuChain"]


class GpuChain(CoreChain):
    """`CoreChain` for tensors on a GPU.

    Its sums have an order of their own, so results differ from the CPU's in their last digits.

    Args:
        layers: in order.
        shape: of a sample.
        parameters: numbers of a network.
    """

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
        slopes, losses = slopes_of(value, out)
        grad = torch.empty_like(rows) if into is None else into
        self._engine.gradient(forward, slopes, grad)
        return grad, losses

    def products(
        self,
        rows: torch.Tensor,
        inputs: torch.Tensor,
        value: Callable[[torch.Tensor], torch.Tensor],
        curvature: Callable[[torch.Tensor], torch.Tensor],
        vectors: torch.Tensor,
        masks: Masks = (),
        into: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> torch.Tensor:
        """Products with K vectors, ``[B, K, P]``; see `CoreChain`."""
        A, u = seconds(self.outputs(rows, inputs, masks), value, curvature, ggn=ggn)
        vectors, out = laid_alike(vectors, into)
        self._engine.products(rows, inputs, u, A, vectors, out, masks)
        return out
