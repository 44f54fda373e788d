"""A network's Hessian as a scipy `LinearOperator`, applied without being formed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from edt import ops
from edt.ensemble import Ensemble
from edt.tasks import Task


class HessianOperator(LinearOperator):  # type: ignore[misc]
    """``v -> H v`` over the coordinates of one network.

    ``H = d^2 L / d theta^2`` restricted to the trainable parameters, in flat order; symmetric.
    ``matmat`` sends all K columns through the kernel in one pass.

    Args:
        ens: B networks.
        task: data.
        network: which one.
        task_index: which target; int, default 0.
        ggn: the Gauss-Newton part instead of the Hessian.

    Raises:
        IndexError: no such network.
    """

    def __init__(
        self, ens: Ensemble, task: Task, network: int = 0, task_index: int = 0, *, ggn: bool = False
    ) -> None:
        if not 0 <= network < int(ens.B):
            raise IndexError(f"network must be in 0..{int(ens.B) - 1}, got {network}")
        self._network = ens.network(network)
        self._task = task
        self._task_index = torch.tensor([int(task_index)], dtype=torch.int64)
        self._product = ops.ggn_vp if ggn else ops.hvp
        self._positions = torch.nonzero(self._network.state == 1).flatten()
        size = self._positions.numel()
        kind = np.float64 if self._network.dtype == torch.float64 else np.float32
        super().__init__(dtype=np.dtype(kind), shape=(size, size))

    def _matmat(self, columns: Any) -> Any:
        rows = torch.as_tensor(np.ascontiguousarray(np.asarray(columns).T))
        vectors = torch.zeros(
            (rows.shape[0], self._network.theta.numel()), dtype=self._network.dtype
        )
        vectors[:, self._positions] = rows.to(self._network.dtype)
        out = self._product(self._network, self._task, vectors, task_index=self._task_index)
        return out[:, self._positions].T.numpy()

    def _matvec(self, vector: Any) -> Any:
        return self._matmat(np.asarray(vector).reshape(-1, 1))[:, 0]

    def _adjoint(self) -> HessianOperator:
        return self


def lanczos(
    ens: Ensemble,
    task: Task,
    network: int = 0,
    k: int = 6,
    *,
    which: str = "SA",
    task_index: int = 0,
    tol: float = 0.0,
    seed: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Extreme eigenpairs of one network's Hessian by implicitly restarted Lanczos (ARPACK).

    Args:
        ens, task, network, task_index: as in `HessianOperator`.
        k: how many, fewer than the number of coordinates.
        which: "SA" smallest, "LA" largest, "LM" largest in magnitude, "BE" both ends.
        tol: relative accuracy, 0 for machine precision.
        seed: of the starting vector, so that the result is reproducible.

    Returns:
        (eigenvalues ``[k]`` ascending, eigenvectors ``[k, P]``), float64.

    Raises:
        ValueError: k or ``which`` out of range.

    Reference: R. Lehoucq, D. Sorensen, C. Yang, "ARPACK Users' Guide", 1998.
    """
    operator = HessianOperator(ens, task, network, task_index)
    size = operator.shape[0]
    if which not in ("SA", "LA", "LM", "BE"):
        raise ValueError(f"which must be 'SA', 'LA', 'LM' or 'BE', got {which!r}")
    if not 1 <= k < size:
        raise ValueError(f"k must be in 1..{size - 1} (fewer than the coordinates), got {k}")
    start = np.random.default_rng(seed).standard_normal(size).astype(operator.dtype)
    values, vectors = eigsh(operator, k=k, which=which, v0=start, tol=tol)
    order = np.argsort(values)
    return (
        torch.from_numpy(values[order].astype(np.float64)),
        torch.from_numpy(np.ascontiguousarray(vectors[:, order].T).astype(np.float64)),
    )
