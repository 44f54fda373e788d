"""Chains of layers on the CUDA engine: tensors in, launches on torch's current stream.

Where taps and layers lie is a block of bytes that the core writes once for each kind of call and
that stays on the device (`edt.ops.kept`); workspaces are taken per call. Nothing here waits for the
device.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from edt import _core
from edt.ops import cuda
from edt.ops.kept import Kept, current_stream, on_device

__all__ = ["CudaChain", "Forward"]

#: Plans of a chain that are kept: as many as there are kinds of batches and networks in turn.
PLANS = 16
#: Vectors whose products share a pass forward and back.
VECTORS = 8
#: Bytes of a network's samples that go through at once, and a sixteenth of all networks'.
ROOM = 2**26


@dataclass(frozen=True)
class _Plan:
    """Where everything lies in one kind of call.

    Attributes:
        plan: `_core.cuda.ChainPlan`.
        block: its bytes on the device.
        kept: what makes them ready.
        masks: those it was made of, alive so that their ids are theirs.
    """

    plan: Any
    block: torch.Tensor
    kept: Kept
    masks: Sequence[_core.ChainMask]


@dataclass(frozen=True)
class Forward:
    """What a pass forward leaves for its gradient.

    Attributes:
        rows, inputs: as given, contiguous.
        plan: of the call.
        workspace: its memory; None: the samples did not go through at once.
    """

    rows: torch.Tensor
    inputs: torch.Tensor
    plan: _Plan
    workspace: torch.Tensor | None


class CudaChain:
    """Calls of one chain on a GPU.

    Args:
        chain: the core's.
    """

    def __init__(self, chain: _core.Chain) -> None:
        self._chain = chain
        self._plans: OrderedDict[tuple[Any, ...], _Plan] = OrderedDict()

    @staticmethod
    def takes(chain: _core.Chain, device: torch.device) -> bool:
        """Whether the engine has all of a chain's layers."""
        try:
            cuda.engine().ChainPlan(chain, [], 1, 1, False, 0, cuda._index(device), ROOM)
        except ValueError:
            return False
        return True

    def outputs(
        self,
        rows: torch.Tensor,
        inputs: torch.Tensor,
        out: torch.Tensor,
        masks: Sequence[_core.ChainMask],
        *,
        keep: bool = False,
    ) -> Forward:
        """Write outputs ``[B, N, d_out]`` of networks ``rows`` ``[B, P]`` on ``[B, N, ...]``.

        Args:
            rows, inputs: see above; all of one device and dtype.
            out: contiguous.
            masks: of each network, or none.
            keep: for `gradient`.
        """
        theta, x = _given(rows, inputs)
        plan = self._plan(theta, int(inputs.shape[1]), masks)
        workspace = theta.new_empty(plan.plan.workspace_bytes, dtype=torch.uint8)
        keep = keep and plan.plan.whole
        self._call("chain_outputs", plan, workspace, theta, x, out.data_ptr(), keep)
        return Forward(theta, x, plan, workspace if keep else None)

    def gradient(self, forward: Forward, slopes: torch.Tensor, grad: torch.Tensor) -> None:
        """Write gradients ``[B, P]`` from slopes at outputs ``[B, N, d_out]``, both contiguous.

        Args:
            forward: of the same networks and samples.
            slopes, grad: see above.
        """
        workspace, ready = forward.workspace, forward.workspace is not None
        if workspace is None:
            size = forward.plan.plan.workspace_bytes
            workspace = forward.rows.new_empty(size, dtype=torch.uint8)
        self._call(
            "chain_gradient", forward.plan, workspace, forward.rows, forward.inputs,
            slopes.data_ptr(), grad.data_ptr(), ready,
        )  # fmt: skip

    def products(
        self,
        rows: torch.Tensor,
        inputs: torch.Tensor,
        slopes: torch.Tensor | None,
        curvature: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        masks: Sequence[_core.ChainMask],
    ) -> None:
        """Write products ``[B, K, P]`` with ``vectors``, of the same strides as ``out``.

        Args:
            rows, inputs, masks: as in `outputs`.
            slopes: u ``[B, N, d_out]``; None: the Gauss-Newton part alone.
            curvature: A ``[B, N, d_out, d_out]``.
            vectors, out: whose last dimension lies close.
        """
        theta, x = _given(rows, inputs)
        many = int(vectors.shape[1])
        plan = self._plan(theta, int(inputs.shape[1]), masks, min(many, VECTORS))
        workspace = theta.new_empty(plan.plan.workspace_bytes, dtype=torch.uint8)
        u, A = None if slopes is None else slopes.contiguous(), curvature.contiguous()
        self._call(
            "chain_products", plan, workspace, theta, x, 0 if u is None else u.data_ptr(),
            A.data_ptr(), vectors.data_ptr(), many, *vectors.stride()[:2], out.data_ptr(),
        )  # fmt: skip

    def _plan(
        self, theta: torch.Tensor, samples: int, masks: Sequence[_core.ChainMask], vectors: int = 0
    ) -> _Plan:
        key = (
            *(theta.shape[0], samples, theta.dtype, theta.device, vectors),
            *(id(mask) for mask in masks),
        )
        found = self._plans.pop(key, None)
        if found is None:
            device = theta.device
            plan = cuda.engine().ChainPlan(
                self._chain, list(masks), theta.shape[0], samples, theta.dtype == torch.float64,
                vectors, cuda._index(device), ROOM,
            )  # fmt: skip
            block = cuda._upload(plan, device)
            found = _Plan(plan, block, Kept(block), tuple(masks))
        self._plans[key] = found
        while len(self._plans) > PLANS:
            self._plans.popitem(last=False)
        return found

    @staticmethod
    def _call(
        name: str,
        plan: _Plan,
        workspace: torch.Tensor,
        theta: torch.Tensor,
        x: torch.Tensor,
        *more: int | bool,
    ) -> None:
        stream = current_stream(theta.device)
        plan.kept.use(stream)
        head = (
            plan.plan,
            plan.block.data_ptr(),
            workspace.data_ptr(),
            theta.data_ptr(),
            x.data_ptr(),
            0 if x.shape[0] < theta.shape[0] else x[0].numel(),
            0 if stream is None else stream.cuda_stream,
        )
        with on_device(theta.device):
            getattr(cuda.engine(), name)(head, *more)


def _given(rows: torch.Tensor, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Networks and inputs as they are handed over; of inputs that all share one copy."""
    shared = inputs.stride(0) == 0
    return rows.contiguous(), (inputs[:1] if shared else inputs).contiguous()
