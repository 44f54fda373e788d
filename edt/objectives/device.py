"""The objective of finite data on a GPU, for optimisers whose own state lies on the CPU.

Optimisers, flows and spectra decide network by network on a few numbers each, and factorise one
matrix at a time with LAPACK: on the CPU. What costs time grows with the samples (losses,
gradients, Hessians, products with them, outputs) and runs on the device. Parameters and vectors are
copied there for every call, results back: 16 bytes a parameter, beside 6 N multiply-adds or more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edt.objectives.coordinates import repeated
from edt.objectives.data import DataObjective
from edt.ops.cuda import Launcher, device_data, device_plan
from edt.ops.memory import room_for_hessians

if TYPE_CHECKING:
    from edt.ensemble import Ensemble
    from edt.tasks import Task

__all__ = ["DeviceObjective"]


class DeviceObjective:
    """`edt.objectives.DataObjective` with its work on the networks' device.

    Tensors given and written are on the CPU. Jacobians, bends and residuals, which
    Levenberg-Marquardt asks for, are the CPU's.

    Args:
        ens: the networks, on a GPU; only their structure is used.
        task: data of the dtype of ``ens``.
        task_index: int64 ``[B]``.
    """

    def __init__(self, ens: Ensemble, task: Task, task_index: torch.Tensor) -> None:
        self._device = ens.device
        there = task.to(device=ens.device)
        self._host = DataObjective(
            ens.to(device="cpu"), task.to(device="cpu"), task_index.to("cpu", torch.int64)
        )
        self._launcher = Launcher(
            device_plan(ens.state, ens.layer_widths, ens.has_bias, ens.device),
            device_data(there.x, there.y, there.coef, there.loss, there.d_out),
            task_index.to(torch.int64),
            ens.activation,
        )
        self._shape = (int(ens.B), there.N, there.d_out)
        self.B = self._host.B
        self.offsets = self._host.offsets
        self.coords = self._host.coords
        self.trainable = self._host.trainable
        self.scale = self._host.scale
        self.squares = self._host.squares
        self.rows = self._host.rows
        self.residual = self._host.residual
        self.jacobians = self._host.jacobians
        self.bend = self._host.bend

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Objective`."""
        found = torch.empty(self.B, dtype=torch.float64, device=self._device)
        self._launcher.losses(theta.to(self._device), found, active=self._there(active))
        self._fill(loss, found, active)

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Objective`."""
        there = theta.to(self._device)
        found = torch.empty(self.B, dtype=torch.float64, device=self._device)
        slope = torch.empty_like(there)
        self._launcher.losses(there, found, slope, self._there(active))
        self._fill(loss, found, active)
        self._fill(grad, slope, self._spread(active))

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        out_offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Exact Hessians or Gauss-Newton matrices; see `Objective`.

        Raises:
            MemoryError: they do not fit the device.
        """
        there = theta.to(self._device)
        room_for_hessians(out.numel(), self.coords, there)
        found = torch.zeros(out.numel(), dtype=out.dtype, device=self._device)
        self._launcher.matrices(
            there, found, out_offsets.to(self._device), self._there(active), ggn=ggn
        )
        host = found.cpu()
        chosen = range(self.B) if active is None else torch.nonzero(active).flatten().tolist()
        for b in chosen:
            start, size = int(out_offsets[b]), int(self.coords[b])
            place = slice(start, start + size * size)
            out[place] = host[place]

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Products with K vectors in one pass; see `Objective`."""
        count, total = vectors.shape
        given = vectors.to(self._device)
        found = torch.empty_like(given)
        self._launcher.call(
            "hvp",
            "curvature",
            theta.to(self._device),
            given.data_ptr(),
            found.data_ptr(),
            total,
            ggn,
            active=self._there(active),
            vectors=count,
        )
        self._fill(out, found, self._spread(active))

    def outputs(self, theta: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Outputs ``[B, N, d_out]``; only the rows of the chosen networks are written."""
        active = torch.zeros(self.B, dtype=torch.uint8)
        active[chosen] = 1
        found = torch.empty(self._shape, dtype=theta.dtype, device=self._device)
        self._launcher.call(
            "evaluate",
            "forward",
            theta.to(self._device),
            found.data_ptr(),
            0,
            0,
            0,
            active=self._there(active),
        )
        out = torch.empty(self._shape, dtype=theta.dtype)
        out[chosen] = found[chosen.to(self._device)].cpu()
        return out

    def _there(self, active: torch.Tensor | None) -> torch.Tensor | None:
        return None if active is None else active.to(self._device)

    def _spread(self, active: torch.Tensor | None) -> torch.Tensor | None:
        """The parameters of the active networks, bool ``[total]``."""
        if active is None:
            return None
        return repeated(active.bool(), self.offsets[1:] - self.offsets[:-1])

    @staticmethod
    def _fill(out: torch.Tensor, found: torch.Tensor, where: torch.Tensor | None) -> None:
        """What was found to its places in ``out``, whose last dimension ``where`` counts."""
        if where is None:
            out.copy_(found)
        else:
            chosen = where.bool()
            out[..., chosen] = found.cpu()[..., chosen]
