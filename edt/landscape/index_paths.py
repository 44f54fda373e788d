"""Index along training: how many escape dimensions are open on gradient descent's path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from edt import functional
from edt.curvature import count_directions
from edt.ensemble import Ensemble
from edt.tasks import Task
from edt.training import TrainResult, checks

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["index_along_path", "plateaus"]


def index_along_path(
    task: Task,
    path: TrainResult | torch.Tensor,
    networks: Ensemble | None = None,
    *,
    task_index: Any = None,
    progress: bool = True,
) -> xr.Dataset:
    """Signs of the Hessian's eigenvalues at every recorded step of every network.

    Away from critical points the index still counts the directions in which the loss curves
    down; on a plateau, where the gradient is small, those are the ways out.

    Args:
        task: data.
        path: a `TrainResult` of `edt.masked_train` with ``record_params=True``, or parameters
            ``[R, total]`` of R moments.
        networks: structure, if ``path`` is a tensor.
        task_index: int64 ``[B]``; default: that of the result, or 0.
        progress: show a progress bar on a terminal.

    Returns:
        dataset over (step, network): ``index``, ``n_flat``, ``n_pos``, ``min_eig``, ``eps_H``,
        ``loss`` and ``grad_norm`` (largest entry). Where parameters are not finite (after a
        network's end) counts are -1 and numbers NaN.

    Raises:
        ValueError: the result holds no parameters, or shapes do not fit.

    Example:
        >>> trained = edt.masked_train(task, ens, optimizer="gd",
        ...                            record_params=True)  # doctest: +SKIP
        >>> index_along_path(task, trained)["index"].plot.line(x="step")  # doctest: +SKIP
    """
    import xarray as xr  # heavy, and rarely needed

    if isinstance(path, TrainResult):
        if "params" not in path.history:
            raise ValueError("path holds no parameters: train with record_params=True")
        networks, index = path.networks, path.task_index
        steps = path.history["step"].to_numpy()
        thetas = torch.from_numpy(path.history["params"].to_numpy())
    else:
        if networks is None:
            raise ValueError("networks must be given with a tensor of parameters")
        index = torch.zeros(networks.B, dtype=torch.int64)
        thetas, steps = path, np.arange(path.shape[0])
    if task_index is not None:
        index = checks.index_per_network("task_index", task_index, networks.B, task.T)
    if thetas.dim() != 2 or thetas.shape[1] != networks.total:
        raise ValueError(
            f"path must have shape [R, {networks.total}], got {list(thetas.shape)}"
        )  # fmt: skip
    thetas = thetas.to(networks.dtype)
    if task.dtype != networks.dtype:
        task = task.to(networks.dtype)
    counts = {name: np.full((len(steps), networks.B), -1) for name in ("index", "n_flat", "n_pos")}
    sizes = {
        name: np.full((len(steps), networks.B), np.nan)
        for name in ("min_eig", "eps_H", "loss", "grad_norm")
    }
    lengths = networks.offsets[1:] - networks.offsets[:-1]
    for row, theta in enumerate(thetas):
        wrong = torch.segment_reduce((~torch.isfinite(theta)).double(), "sum", lengths=lengths)
        alive = (wrong == 0).nonzero().flatten()
        if not alive.numel():
            continue
        part = networks.with_theta(theta).select(alive)
        found = count_directions(part, task, task_index=index[alive])
        loss, grad = functional.loss_and_grad(part, task, task_index=index[alive])
        steepest = torch.segment_reduce(
            grad.abs().double(), "max", lengths=part.offsets[1:] - part.offsets[:-1], initial=0.0
        )
        place = (row, alive.numpy())
        for name, value in (("index", found.n_neg), ("n_flat", found.n_zero),
                            ("n_pos", found.n_pos)):  # fmt: skip
            counts[name][place] = value.numpy()
        for name, number in (("min_eig", found.min_eig), ("eps_H", found.eps_H), ("loss", loss),
                             ("grad_norm", steepest)):  # fmt: skip
            sizes[name][place] = number.numpy()
    return xr.Dataset(
        {name: (("step", "network"), value) for name, value in (counts | sizes).items()},
        coords={"step": steps, "network": np.arange(networks.B)},
    )


def plateaus(path: xr.Dataset, *, depth: float = 0.3) -> pd.DataFrame:
    """Plateaus of each run: moments at which the gradient is smallest before it grows again.

    A recorded moment is a plateau when its ``grad_norm`` is a local minimum and both before and
    after it, up to the next deeper minimum, the gradient is larger by a factor ``1 / depth``.

    Args:
        path: from `index_along_path`.
        depth: see above, in (0, 1); smaller finds fewer.

    Returns:
        One row a plateau: ``network``, ``step``, ``loss``, ``grad_norm``, ``index``, ``n_flat``,
        ``min_eig``; the last recorded moment is never one.

    Raises:
        ValueError: depth out of range.
    """
    if not 0.0 < depth < 1.0:
        raise ValueError(f"depth must lie between 0 and 1, got {depth}")
    rows = []
    grad = path["grad_norm"].to_numpy()
    for b in range(grad.shape[1]):
        known = np.flatnonzero(np.isfinite(grad[:, b]))
        for place in dips(grad[known, b], depth):
            row = {"network": int(path["network"][b]), "step": int(path["step"][known[place]])}
            for name in ("loss", "grad_norm", "index", "n_flat", "min_eig"):
                row[name] = path[name].to_numpy()[known[place], b].item()
            rows.append(row)
    columns = ["network", "step", "loss", "grad_norm", "index", "n_flat", "min_eig"]
    return pd.DataFrame(rows, columns=columns)


def dips(values: np.ndarray, depth: float) -> list[int]:
    """Indices of minima whose walls on both sides are ``1 / depth`` times as high."""
    found = []
    for i in range(1, len(values) - 1):
        here = values[i]
        if not (here <= values[i - 1] and here < values[i + 1]):
            continue
        walls = []
        for side in (values[i - 1 :: -1], values[i + 1 :]):
            deeper = np.flatnonzero(side < here)
            reach = side[: deeper[0]] if deeper.size else side
            walls.append(reach.max() if reach.size else here)
        if min(walls) * depth >= here:
            found.append(i)
    return found
