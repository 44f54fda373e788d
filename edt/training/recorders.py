"""Ready-made functions for ``masked_train(on_record=...)``: measurements kept, and loggers.

A recorder keeps what a function of the networks was at every recorded step; a logger writes losses
to TensorBoard or to Weights & Biases. Both see copies, so that a run with them has the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from edt.arguments import checked
from edt.curvature import count_directions, extreme_eigenpairs
from edt.ensemble.kinds import chains
from edt.errors import unknown_choice
from edt.functional import jacobian, predict
from edt.objectives import segment_max
from edt.ops.losses import LOSSES
from edt.scalars import integer
from edt.tasks.given import index_of, task_and_networks

__all__ = [
    "Recorder",
    "accuracy",
    "negative_directions",
    "neuron_trajectories",
    "ntk_spectrum",
    "tensorboard",
    "top_eigenvalue",
    "wandb",
]

NAN = float("nan")
Measure = Callable[[Any, torch.Tensor], Any]


class Recorder:
    """Keeps ``measure(networks, losses)`` of every recorded step.

    Args:
        measure: returns a tensor, or a list of one tensor a network where they differ in shape.

    Attributes:
        steps: where it was called.
        values: what the measurement was there.

    Example:
        >>> norms = Recorder(lambda networks, losses: networks.theta.norm())
        >>> _ = edt.masked_train(task, ens, steps=10, record=5, on_record=norms)  # doctest: +SKIP
        >>> norms.steps  # doctest: +SKIP
        [0, 5, 10]
    """

    def __init__(self, measure: Measure) -> None:
        if not callable(measure):
            raise TypeError(f"measure must be a function, got {measure!r:.60}")
        self._measure = measure
        self.steps: list[int] = []
        self.values: list[Any] = []

    def __call__(self, step: int, networks: Any, losses: torch.Tensor) -> None:
        value = self._measure(networks, losses)
        # A step that is reported again, because its call was cut, takes the place of the first.
        if self.steps and self.steps[-1] == step:
            self.steps.pop(), self.values.pop()
        self.steps.append(step)
        self.values.append(value)

    def stacked(self) -> Any:
        """Values over steps: ``[R, ...]``, or one such tensor a network for lists."""
        if self.values and isinstance(self.values[0], list):
            return [torch.stack(parts) for parts in zip(*self.values, strict=True)]
        return torch.stack(self.values)


def _hits(loss: str, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Whether outputs ``[N, d_out]`` name the target, bool ``[N]``."""
    if loss == "cross_entropy":
        return f.argmax(-1) == y
    if loss == "soft_cross_entropy":
        return f.argmax(-1) == y.argmax(-1)
    if loss == "bce":
        return ((f > 0.0) == (y > 0.5)).all(-1)
    return ((f > 0.0) == (y > 0.0)).all(-1)


ACCURATE = ("cross_entropy", "soft_cross_entropy", "bce", "logistic", "squared_hinge")


def accuracy(task: Any, task_index: Any = None) -> Recorder:
    """Share of samples whose class is named, weighted as in the loss: float64 ``[B]`` a step.

    The class is the largest output (cross-entropy), or the sign of every output (bce, logistic,
    squared hinge).

    Args:
        task: an `edt.Task` with one of these losses, or an `edt.ModuleTask` of ``(x, y)`` with
            "cross_entropy".
        task_index: int64 ``[B]``.

    Raises:
        ValueError: the loss has no classes.
    """
    if getattr(task, "loss", None) not in ACCURATE:
        raise unknown_choice("the task's loss", getattr(task, "loss", None), ACCURATE)

    def measure(networks: Any, losses: torch.Tensor) -> torch.Tensor:
        data, nets = task_and_networks(task, networks)
        data = data.to(nets.dtype, device=nets.device)
        outputs = predict(data, nets, task_index=task_index)
        index = [0] * nets.B if task_index is None else torch.as_tensor(task_index).tolist()
        shares = []
        for b, t in enumerate(index):
            y, weights = _targets(data, t)
            hits = _hits(data.loss, outputs[b], y).double()
            shares.append((hits * weights).sum() / weights.sum())
        return torch.stack(shares).cpu()

    return Recorder(measure)


def _targets(data: Any, t: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(targets, weights float64 ``[N]``) of target t of finite data."""
    if hasattr(data, "whole"):
        found = data.full_batch(t)
        if found is None:
            raise ValueError("accuracy needs an edt.ModuleTask of (x, y), not one of batches")
        x, y, weights = found
        return y, torch.ones(len(x)).double().to(y.device) if weights is None else weights.double()
    problem_y = data.y if data.y.dim() == LOSSES[data.loss].dims else data.y[t]
    return problem_y, data.coef[t].double()


def top_eigenvalue(task: Any, task_index: Any = None, **options: Any) -> Recorder:
    """Largest eigenvalue of every network's Hessian: float64 ``[B]`` a step, NaN without one.

    Args:
        task, task_index, options: as in `edt.extreme_eigenpairs` (k=1, which="LA").
    """

    def measure(networks: Any, losses: torch.Tensor) -> torch.Tensor:
        out = torch.full((networks.B,), float("nan"), dtype=torch.float64)
        data, nets, index, live = _precise(task, networks, losses, task_index)
        if live.numel():
            found = extreme_eigenpairs(data, nets, 1, which="LA", task_index=index, **options)
            for b, pairs in zip(live.tolist(), found, strict=True):
                if pairs.values.numel():
                    out[b] = pairs.values[-1]
        return out

    return Recorder(measure)


def negative_directions(task: Any, task_index: Any = None) -> Recorder:
    """Index of every network's Hessian, its eigenvalues below zero: int64 ``[B]`` a step.

    A network without a finite loss has -1.

    Args:
        task, task_index: as in `edt.count_directions`.
    """

    def measure(networks: Any, losses: torch.Tensor) -> torch.Tensor:
        out = torch.full((networks.B,), -1, dtype=torch.int64)
        data, nets, index, live = _precise(task, networks, losses, task_index)
        if live.numel():
            out[live] = count_directions(data, nets, task_index=index).n_neg.cpu()
        return out

    return Recorder(measure)


def ntk_spectrum(task: Any, k: int | None = None, task_index: Any = None) -> Recorder:
    """Eigenvalues of ``J J^T``, ``J = df/dtheta``, descending: a list of ``[k_b]`` a step.

    They are those of ``J^T J``, which is formed where there are fewer coordinates than outputs.

    Args:
        task: samples.
        k: how many, at most ``min(N d_out, P_b)``; None: all of these. NaN for a network with
            parameters that are not finite.
        task_index: int64 ``[B]``.

    Reference: A. Jacot, F. Gabriel, C. Hongler, "Neural tangent kernel", NeurIPS 2018.
    """

    def measure(networks: Any, losses: torch.Tensor) -> list[torch.Tensor]:
        data, nets, index, live = _precise(task, networks, torch.zeros(networks.B), task_index)
        found = dict(zip(live.tolist(), jacobian(data, nets, task_index=index), strict=True))
        rows = next(iter(found.values())).shape[0] if found else 0
        spectra = []
        for b, size in enumerate(networks.coords.tolist()):
            matrix = found.get(b)
            if matrix is None:
                spectra.append(torch.full((min(rows, size),), NAN, dtype=torch.float64)[:k])
                continue
            wide = rows <= size
            gram = matrix @ matrix.T if wide else matrix.T @ matrix
            spectra.append(torch.linalg.eigvalsh(gram).flip(0)[:k].cpu())
        return spectra

    return Recorder(measure)


def neuron_trajectories(layer: int = 0) -> Recorder:
    """Every hidden neuron of a layer as a vector: a list of ``[h_b, in + 1 + out]`` a step.

    A row holds the neuron's incoming weights, its bias (where there is one) and its outgoing
    weights.

    Args:
        layer: hidden layer, 0, 1, ...

    Raises:
        TypeError: at a step, networks of modules. ValueError: no such hidden layer.
    """

    def measure(networks: Any, losses: torch.Tensor) -> list[torch.Tensor]:
        nets = chains(networks, "neuron_trajectories")
        integer("layer", layer, 0, nets.depth - 1)
        out = []
        for b in range(nets.B):
            bias = [nets.bias(b, layer)[:, None]] if nets.has_bias else []
            parts = [nets.weight(b, layer), *bias, nets.weight(b, layer + 1).T]
            out.append(torch.cat(parts, 1).detach().clone().cpu())
        return out

    return Recorder(measure)


def _precise(
    task: Any, networks: Any, losses: torch.Tensor, task_index: Any
) -> tuple[Any, Any, Any, torch.Tensor]:
    """(data, networks of finite loss and parameters, their targets, which they are), in float64.

    Data are rounded to the networks' dtype first, as they are trained on.
    """
    data, nets = task_and_networks(task, networks)
    if hasattr(data, "to"):
        data = data.to(nets.dtype).to(torch.float64, device=nets.device)
    sizes = (nets.offsets[1:] - nets.offsets[:-1]).cpu()
    lost = segment_max((~torch.isfinite(nets.theta)).double().cpu(), sizes) > 0.0
    live = torch.nonzero(torch.isfinite(losses.cpu()) & ~lost).flatten()
    index = index_of(data, nets, task_index)[live]
    return data, nets.to(torch.float64).select(live), index, live


def tensorboard(writer: Any) -> Callable[[int, Any, torch.Tensor], None]:
    """Losses to TensorBoard: their quantiles as curves and a histogram a step.

    Args:
        writer: a `torch.utils.tensorboard.SummaryWriter`, or the folder of a new one (needs
            ``pip install edt[tensorboard]``).

    Raises:
        ImportError: TensorBoard is not there.
    """
    if isinstance(writer, (str, os.PathLike)):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("tensorboard needs `pip install edt[tensorboard]`") from error

        writer = SummaryWriter(os.fspath(writer))

    def log(step: int, networks: Any, losses: torch.Tensor) -> None:
        if summary := _summary(losses):
            writer.add_scalars("loss", summary, step)
            writer.add_histogram("log10 loss", losses[losses > 0.0].log10(), step)
            writer.flush()

    return log


def wandb(run: Any) -> Callable[[int, Any, torch.Tensor], None]:
    """Quantiles of the losses to Weights & Biases, and the number of finite ones.

    Args:
        run: of ``wandb.init(...)`` (``pip install edt[wandb]``), or anything with its ``log``.
    """

    def log(step: int, networks: Any, losses: torch.Tensor) -> None:
        entries = {f"loss/{name}": value for name, value in _summary(losses).items()}
        run.log({**entries, "networks": int(torch.isfinite(losses).sum())}, step=step)

    return log


def _summary(losses: torch.Tensor) -> dict[str, float]:
    """Least, median and largest finite loss; empty without one."""
    finite = losses[torch.isfinite(losses)].sort().values.tolist()
    if not finite:
        return {}
    return {"min": finite[0], "median": finite[(len(finite) - 1) // 2], "max": finite[-1]}


checked(__name__)
