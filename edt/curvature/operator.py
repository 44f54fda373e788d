"""A network's Hessian as a scipy `LinearOperator`, applied without being formed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator

from edt import functional
from edt.arguments import checked
from edt.ensemble import Ensemble
from edt.scalars import index, integer
from edt.tasks.given import objective_of, task_and_networks


class HessianOperator(LinearOperator):  # type: ignore[misc]
    """``v -> H v`` over the coordinates of one network.

    ``H = d^2 L / d theta^2`` restricted to the trainable parameters, in flat order; symmetric.
    ``matmat`` sends all K columns through the kernel in one pass.

    Args:
        task: data, on the networks' device.
        networks: B of them, on the CPU or a GPU; vectors are numpy's either way. Either order.
        network: which one.
        task_index: which target; int, default 0.
        ggn: the Gauss-Newton part instead of the Hessian.

    Raises:
        TypeError, ValueError: an argument is wrong; names it. IndexError: no such network.
    """

    def __init__(
        self,
        task: Any,
        networks: Ensemble,
        network: int = 0,
        task_index: int = 0,
        *,
        ggn: bool = False,
    ) -> None:
        task, networks = task_and_networks(task, networks)
        self._network = networks.network(index("network", network, networks.B))
        self._task = task
        self._task_index = torch.tensor([integer("task_index", task_index, 0)], dtype=torch.int64)
        objective_of(task, self._network, self._task_index)
        self._product = functional.ggn_vp if ggn else functional.hvp
        self._positions = torch.nonzero(self._network.state == 1).flatten()
        size = self._positions.numel()
        kind = np.float64 if self._network.dtype == torch.float64 else np.float32
        super().__init__(dtype=np.dtype(kind), shape=(size, size))

    def _matmat(self, columns: Any) -> Any:
        if np.iscomplexobj(columns):
            return self._matmat(columns.real) + 1j * self._matmat(columns.imag)
        rows = torch.as_tensor(np.ascontiguousarray(np.asarray(columns).T))
        vectors = torch.zeros(
            (rows.shape[0], self._network.theta.numel()),
            dtype=self._network.dtype,
            device=self._network.device,
        )
        vectors[:, self._positions] = rows.to(self._network.device, self._network.dtype)
        out = self._product(self._task, self._network, vectors, task_index=self._task_index)
        return out[:, self._positions].T.cpu().numpy()

    def _matvec(self, vector: Any) -> Any:
        return self._matmat(np.asarray(vector).reshape(-1, 1))[:, 0]

    def _adjoint(self) -> HessianOperator:
        return self


checked(__name__)
