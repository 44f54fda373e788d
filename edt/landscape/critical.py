"""Exact critical points without training: choose the data to fit the network, not the reverse."""

from __future__ import annotations

import numpy as np
import torch

from edt import functional
from edt.ensemble import ModuleEnsemble
from edt.ensemble.arrays import reals
from edt.ensemble.kinds import Networks
from edt.landscape.stages import sample_shaped
from edt.ops.threads import one_blas_thread
from edt.tasks import Task


def critical_task(ens: Networks, x: torch.Tensor, *, residual: float = 1.0, seed: int = 0) -> Task:
    """A task at which every network already stands on a critical point, at any loss.

    For mse the gradient is ``2 J^T C r`` with ``r = f(x; theta) - y`` and J the Jacobian over the
    coordinates. Draw a random R, project it off the range of J and set ``y = f - R``: the gradient
    is zero to rounding, the loss is the mean of R^2.

    Args:
        ens: B networks; ``N * d_out`` must exceed every ``P_b``.
        x: float64 ``[N, d_in]``; networks of modules give it their ``input_shape``.
        residual: root mean square of R before the projection.
        seed: of R, >= 0.

    Returns:
        mse task with T = B targets; use ``task_index=torch.arange(B)``.

    Raises:
        ValueError: too few samples.
    """
    x = reals("x", x)
    ens = ens.to(torch.float64)
    blank = Task(x, x.new_zeros(x.shape[0], _outputs(ens, x)))
    outputs = functional.predict(ens, blank)
    targets = []
    for b, jacobian in enumerate(functional.jacobian(ens, blank)):
        rows, columns = jacobian.shape
        if rows <= columns:
            raise ValueError(
                f"x must have more than P / d_out samples: network {b} has {columns} coordinates, "
                f"{rows} residuals"
            )
        with one_blas_thread():
            basis, _ = torch.linalg.qr(jacobian)
        # Philox keyed by (seed, b): not the stream that torch drew x from, and the same R for
        # network b whatever stands beside it.
        draws = np.random.Generator(np.random.Philox(key=np.array([seed, b], dtype=np.uint64)))
        r = residual * torch.from_numpy(draws.standard_normal(rows))
        for _ in range(3):  # once projects, again removes the rounding of the first
            r = r - basis @ (basis.T @ r)
        targets.append(outputs[b] - r.reshape(outputs[b].shape))
    return Task(x, torch.stack(targets), loss="mse", name="critical")


def _outputs(ens: Networks, x: torch.Tensor) -> int:
    """Outputs of a network."""
    if not isinstance(ens, ModuleEnsemble):
        return int(ens.d_out)
    with torch.no_grad():
        return int(ens.to_module(0)(sample_shaped(ens, x[:1])).shape[-1])
