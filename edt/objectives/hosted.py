"""Calls on a GPU for optimisers whose own state lies on the CPU.

Parameters and vectors are copied to the device for every call, results back: 16 bytes a parameter,
beside 6 N multiply-adds or more.
"""

from __future__ import annotations

import torch

from edt.objectives.coordinates import repeated
from edt.ops.calls import Calls
from edt.ops.memory import room_for_hessians

__all__ = ["Hosted"]


class Hosted:
    """The calls of an `edt.ops.calls.Calls` with tensors on the CPU, given and written.

    Args:
        calls: on a GPU.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._device = calls.device
        self._sizes = calls.problem.layer_sizes.sum(1)

    def predict(
        self, theta: torch.Tensor, out: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """See `Calls`."""
        there = theta.to(self._device)
        found = there.new_empty(out.shape)
        self._calls.predict(there, found, self._there(active))
        if active is None:
            out.copy_(found)
        else:
            chosen = torch.nonzero(active).flatten()
            out[chosen] = found[chosen.to(self._device)].cpu()

    def vjp(
        self,
        theta: torch.Tensor,
        cotangent: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """See `Calls`."""
        there = theta.to(self._device)
        found = torch.empty_like(there)
        self._calls.vjp(there, cotangent.to(self._device), found, self._there(active))
        _fill(out, found, self._spread(active))

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """See `Calls`."""
        found = torch.empty(loss.shape, dtype=torch.float64, device=self._device)
        self._calls.loss(theta.to(self._device), found, self._there(active))
        _fill(loss, found, active)

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """See `Calls`."""
        there = theta.to(self._device)
        found = torch.empty(loss.shape, dtype=torch.float64, device=self._device)
        slope = torch.empty_like(there)
        self._calls.loss_and_grad(there, found, slope, self._there(active))
        _fill(loss, found, active)
        _fill(grad, slope, self._spread(active))

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """See `Calls`."""
        given = vectors.to(self._device)
        found = torch.empty_like(given)
        self._calls.hvp(theta.to(self._device), given, found, self._there(active), ggn=ggn)
        _fill(out, found, self._spread(active))

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """See `Calls`.

        Raises:
            MemoryError: they do not fit the device.
        """
        there, coords = theta.to(self._device), self._calls.coords
        room_for_hessians(out.numel(), coords, there)
        found = there.new_zeros(out.numel())
        self._calls.hessian(there, found, offsets, self._there(active), ggn=ggn)
        host = found.cpu()
        chosen = range(coords.numel()) if active is None else torch.nonzero(active).flatten()
        for b in map(int, chosen):
            start, size = int(offsets[b]), int(coords[b])
            place = slice(start, start + size * size)
            out[place] = host[place]

    def _there(self, active: torch.Tensor | None) -> torch.Tensor | None:
        return None if active is None else active.to(self._device)

    def _spread(self, active: torch.Tensor | None) -> torch.Tensor | None:
        """The parameters of the active networks, bool ``[total]``."""
        return None if active is None else repeated(active.bool(), self._sizes)


def _fill(out: torch.Tensor, found: torch.Tensor, where: torch.Tensor | None) -> None:
    """What was found to its places in ``out``, whose last dimension ``where`` counts."""
    if where is None:
        out.copy_(found)
    else:
        chosen = where.bool()
        out[..., chosen] = found.cpu()[..., chosen]
