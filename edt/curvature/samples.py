"""Gradients of single samples, of chains and of networks of modules.

Chains: from their Jacobians. Modules: one sample at a time by `torch.func`, side by side by `vmap`
or, where a module refuses that, one after the other. What needs products only makes a task of them
(`sliced`) and leaves out forming them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch.func import functional_call, grad, vmap
from torch.utils import _pytree as pytree

from edt.curvature.inputs import prepare
from edt.curvature.slopes import Slopes
from edt.ensemble import ModuleEnsemble
from edt.ensemble.architecture import Architecture
from edt.ensemble.kinds import chains
from edt.errors import ShapeError
from edt.functional import jacobian, predict
from edt.objectives.batches import Batch, evaluation
from edt.objectives.modules import ModuleObjective
from edt.ops.losses import LOSSES
from edt.tasks import Task
from edt.tasks.given import index_of, task_and_networks
from edt.tasks.module_task import ModuleTask

__all__ = ["Samples", "finite_data", "given_modules", "sample_rows", "sliced"]

#: Samples whose gradients are formed side by side.
AT_ONCE = 256
#: ``[K, N, P_b]`` gradients of the columns of every sample, and the samples' weights ``[N]``.
Samples = tuple[torch.Tensor, torch.Tensor]


def sample_rows(
    task: Any, networks: Any, theta: torch.Tensor | None, task_index: Any, slopes: Slopes
) -> Iterator[Samples]:
    """``J_n^T s_nk`` over coordinates, of one network after the other, float64 on the CPU.

    Args:
        task: an `edt.Task`, ``(x, y)`` or for modules any `edt.ModuleTask` of outputs.
        networks, theta, task_index: as in `edt.hessian`.
        slopes: which s.

    Raises:
        TypeError, ValueError: not such data or networks.
    """
    if isinstance(task_and_networks(task, networks)[1], ModuleEnsemble):
        yield from _of_modules(*given_modules(task, networks, theta, task_index), slopes)
        return
    data, nets, flat, index = finite_data(task, networks, theta, task_index)
    loss = LOSSES[data.loss]
    rows = jacobian(data, nets, flat, index)
    outputs = predict(data, nets, flat, index).detach()
    problem = data.objective(nets, index).problem
    for b in range(nets.B):
        t = problem.task_of(b)
        f = outputs[b]
        slope = slopes.at(loss, f, problem.targets(t), slopes.generator())
        own = rows[b].reshape(*f.shape, -1)
        yield torch.einsum("kno,nop->knp", slope, own), problem.coef[t]


def finite_data(
    task: Any, networks: Any, theta: torch.Tensor | None, task_index: Any
) -> tuple[Task, Any, torch.Tensor, torch.Tensor]:
    """(task, chains, parameters, targets) on the CPU in float64.

    Raises:
        TypeError: no finite data, or no chains.
    """
    prepare(task, networks, theta, task_index)
    data, nets = task_and_networks(task, networks)
    chains(nets, "what is made of single samples")
    if not isinstance(data, Task):
        raise TypeError(f"task must be an edt.Task or a pair (x, y), got {type(data).__name__}")
    flat = (nets.theta if theta is None else theta).detach().cpu().double()
    data = data.to(nets.dtype, device="cpu").to(torch.float64)
    index = index_of(data, nets, task_index)
    return data, nets.to(torch.float64, device="cpu"), flat, index


def given_modules(
    task: Any, networks: Any, theta: torch.Tensor | None, task_index: Any
) -> tuple[ModuleTask, ModuleEnsemble, list[int]]:
    """(task, networks with these parameters, targets) on the CPU in float64.

    Raises:
        TypeError: a loss that is no function of outputs. ValueError: samples that depend on each
            other (batch statistics).
    """
    objective, flat = prepare(task, networks, theta, task_index)
    nets = task_and_networks(task, networks)[1]
    data = objective.task if isinstance(objective, ModuleObjective) else None
    if data is None or not data.splits:
        raise TypeError(
            "what is made of single samples needs a loss of outputs and targets, got "
            f"{getattr(data, 'loss', type(task).__name__)}"
        )
    if data.mode == "train":
        raise ValueError(
            "what is made of single samples needs mode='eval': batch statistics and dropout make "
            "samples depend on each other"
        )
    assert isinstance(objective, ModuleObjective)
    data = data.to(nets.dtype).to(torch.float64, torch.device("cpu"))
    nets = nets.to(torch.float64, device="cpu").with_theta(flat.double())
    return data, nets, objective.task_index.tolist()


def sliced(
    task: ModuleTask, nets: ModuleEnsemble, index: list[int], slopes: Slopes
) -> tuple[ModuleTask, torch.Tensor]:
    """(task, targets) whose Gauss-Newton matrices here are ``sum_n c_n sum_k J^T s s^T J``.

    ``L_b = 1/2 sum_n c_n sum_k (s_nk . f_n)^2``, every network with a target of its own: products
    with it and its eigenvalues are those of any task.
    """
    targets = []
    for b, t in enumerate(index):
        batches = []
        for batch, slope in _slopes(task, nets, b, t, slopes):
            size = batch.each.sqrt().reshape(-1, *[1] * (slope.dim() - 1))
            content = (batch.content[0], size * slope.movedim(0, 1))
            batches.append(Batch(content, 1.0, None, batch.n))
        targets.append(batches)
    return task.with_targets(targets, _half_squares, slopes.kind), torch.arange(nets.B)


def _half_squares(f: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    """``1/2 sum_nk (s_nk . f_n)^2`` of outputs ``[n, ...]`` and ``[n, K, ...]``."""
    along = (f[:, None] * slopes).flatten(2).sum(2)
    return 0.5 * along.square().sum()


def _of_modules(
    task: ModuleTask, nets: ModuleEnsemble, index: list[int], slopes: Slopes
) -> Iterator[Samples]:
    architectures = {
        b: architecture for architecture, own in nets.groups() for b in own.tolist()
    }  # fmt: skip
    for b, t in enumerate(index):
        first, last = int(nets.offsets[b]), int(nets.offsets[b + 1])
        live, flat = nets.state[first:last] == 1, nets.theta[first:last].detach()
        rows, weights = [], []
        for batch, slope in _slopes(task, nets, b, t, slopes):
            found = _pulled(
                task, architectures[b], flat, _inputs(batch, nets.input_shape), slope
            )  # fmt: skip
            rows.append(found[:, :, live])
            weights.append(batch.each)
        yield torch.cat(rows, 1), torch.cat(weights)


def _slopes(
    task: ModuleTask, nets: ModuleEnsemble, b: int, t: int, slopes: Slopes
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Every batch with its s, ``[K, n, ...]``."""
    module, generator = nets.to_module(b), slopes.generator()
    with evaluation(module, "eval"), torch.no_grad():
        for batch in task.targets[t]:
            f = task.outputs(module, _inputs(batch, nets.input_shape))
            if slopes.kind == "empirical":
                yield batch, _own_slopes(task, f, batch)[None]
                continue
            if f.dim() != 2:
                raise ShapeError(
                    f"kind={slopes.kind!r} needs outputs [N, d_out], got {list(f.shape)}"
                )
            yield batch, slopes.at(LOSSES[task.loss], f, batch.content[1], generator)


def _own_slopes(task: ModuleTask, f: torch.Tensor, batch: Batch) -> torch.Tensor:
    """``dl_n / df_n`` of the task's own loss, ``[n, ...]``."""
    target, point = batch.content[1], f.detach().requires_grad_()
    one = torch.ones(1, dtype=f.dtype)
    with torch.enable_grad():
        total = sum(
            task.criterion(
                point[n : n + 1], target[n : n + 1], Batch(None, 1.0, one, 1)
            )
            for n in range(batch.n)
        )  # fmt: skip
        assert isinstance(total, torch.Tensor)
    return torch.autograd.grad(total, point)[0]


def _inputs(batch: Batch, shape: tuple[int, ...] | None) -> Any:
    inputs = batch.content[0]
    if shape is not None and isinstance(inputs, torch.Tensor):
        return inputs.reshape(inputs.shape[0], *shape)
    return inputs


def _pulled(
    task: ModuleTask, architecture: Architecture, flat: torch.Tensor, inputs: Any, slope: Any
) -> torch.Tensor:
    """``J_n^T s_nk``, ``[K, n, P]``."""
    module = architecture.module_on(flat.device)

    def along(point: torch.Tensor, x: Any, s: torch.Tensor) -> torch.Tensor:
        call = partial(functional_call, module, architecture.tensors(point))

        def called(*args: Any) -> Any:
            return call(args)

        alone = pytree.tree_map(lambda part: part[None], x)
        return (task.outputs(called, alone)[0] * s).sum()

    def by_hand(x: Any, s: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            point = flat.clone().requires_grad_()
            return torch.autograd.grad(along(point, x, s), point)[0]

    def picked(n: int) -> Any:
        return pytree.tree_map(lambda part: part[n], inputs)

    with ExitStack() as stack:
        stack.enter_context(evaluation(module, "eval"))
        samples = vmap(partial(grad(along), flat), chunk_size=AT_ONCE)
        try:
            return torch.stack([samples(inputs, ways) for ways in slope])
        except (RuntimeError, NotImplementedError, ValueError):
            return torch.stack([
                torch.stack([by_hand(picked(n), way) for n, way in enumerate(ways)])
                for ways in slope
            ])  # fmt: skip
