"""The objective of torch modules: losses and derivatives by `torch.func`, networks side by side.

Networks of one architecture are evaluated together by `vmap`, gradients of plain chains of layers
by `Stack`; a module that vmap refuses is evaluated one network at a time, by plain autograd
(`ModuleObjective.looped` says why). Products with the Hessian of chains are the core's where the
loss adds up over samples. Others differentiate the gradient once more in reverse; those with the
Gauss-Newton matrix go forward through the outputs (``J v``), through the loss (``l'' J v``) and
back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call, grad, grad_and_value, jvp, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from edt.errors import ShapeError
from edt.objectives.dropout import KeyedDropout, keys_of
from edt.objectives.function import output_curvature
from edt.objectives.stacked import Stack

if TYPE_CHECKING:
    from edt.ensemble.architecture import Architecture
    from edt.ensemble.module_ensemble import ModuleEnsemble
    from edt.objectives.chained import CoreChain
    from edt.tasks.module_task import ModuleTask

__all__ = ["Batch", "ModuleObjective", "evaluation"]

#: Networks of one architecture evaluated side by side.
AT_ONCE = 64
#: Numbers in the inputs of networks side by side; activations take tens of times their room.
ROOM = 2**24
#: Vectors multiplied by `vmap` in one pass.
VECTORS = 32
#: Numbers in the columns of a Hessian that are formed together.
COLUMNS = 2**22
#: Outputs of networks whose Hessian products are the core's: it is given squares of them.
MOST_OUTPUTS = 64


@dataclass(frozen=True)
class Batch:
    """Samples that are evaluated together.

    Attributes:
        content: what ``step`` is given; or (inputs, target).
        share: of the whole data's weight.
        weights: ``[n]``, of the samples, adding up to ``share``; None: alike.
        n: samples.
    """

    content: Any
    share: float
    weights: torch.Tensor | None
    n: int

    @property
    def each(self) -> torch.Tensor:
        """The samples' weights, float64 ``[n]``."""
        if self.weights is None:
            return torch.full((self.n,), self.share / self.n, dtype=torch.float64)
        return self.weights.double()


class ModuleObjective:
    """``L_b(theta_b)`` of module networks; see `edt.objectives.Objective`.

    A network's bits may depend on the company it is evaluated in (`vmap` turns its products into
    batched ones), except where the core evaluates it; the same call gives the same bits.

    Args:
        networks: the modules.
        task: data of their dtype, on their device.
        task_index: int64 ``[B]``.

    Attributes:
        looped: why a module's networks go one by one, by its class; empty if none do.
        buffered: whether networks hold numbers that training steps change, such as running
            statistics.
    """

    def __init__(
        self, networks: ModuleEnsemble, task: ModuleTask, task_index: torch.Tensor
    ) -> None:
        self.networks, self.task = networks, task
        self.task_index = task_index.to(torch.int64)
        self.B = networks.B
        self.offsets = networks.offsets
        self.coords = networks.coords
        self.trainable = networks.state == 1
        self.squares = task.squares
        self.scale = task.target_size()[self.task_index]
        self.looped: dict[str, str] = {}
        self._groups = [
            _Group(architecture, members, task, networks.input_shape)
            for architecture, members in networks.groups()
        ]
        self.buffered = any(group.buffered for group in self._groups)
        # Where all are trainable nothing is to be put to 0.
        self._mask = None if bool(self.trainable.all()) else self.trainable

    @cached_property
    def chained(self) -> bool:
        """Whether gradients of the networks are the core's work."""
        return all(group.chained(self.networks.theta) for group in self._groups)

    @property
    def products_in_core(self) -> bool:
        """Whether products with vectors are: then their bits depend on no thread."""
        return self.task.per_sample is not None and self.chained

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Objective`."""
        for group, members, batches in self._work(active):
            rows = self._rows(theta, members)
            value = self._sum(group, members, batches, "value", rows)
            loss[members.to(loss.device)] = value.double().to(loss.device)

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Objective`."""
        for group, members, batches in self._work(active):
            rows = self._rows(theta, members)
            slope, value, _ = self._sum(group, members, batches, "gradient", rows)
            loss[members.to(loss.device)] = value.double().to(loss.device)
            self._write(grad, members, slope)

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Products with K vectors; see `Objective`.

        Raises:
            ValueError: ``ggn`` of a loss that is no function of outputs, or an operation without
                the derivatives that this needs.
        """
        for group, members, batches in self._work(active):
            given = self._live(vectors, members)
            self._write(out, members, self._products(group, members, batches, theta, given, ggn))

    def _products(
        self,
        group: _Group,
        members: torch.Tensor,
        batches: list[Batch],
        theta: torch.Tensor,
        vectors: torch.Tensor,
        ggn: bool,
    ) -> torch.Tensor:
        """Products of some networks with vectors ``[n, K, P]``."""
        if ggn and not self.task.splits:
            raise ValueError(
                "ggn needs a loss of outputs and targets; this task has step=(module, batch)"
            )
        what, rows = "ggn" if ggn else "hvp", self._rows(theta, members)
        found: torch.Tensor = self._sum(group, members, batches, what, rows, vectors)
        return found

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        out_offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Hessians or Gauss-Newton matrices, some columns at a time; see `Objective`."""
        for group, members, batches in self._work(active):
            for b in members.tolist():
                start, stop = int(self.offsets[b]), int(self.offsets[b + 1])
                where = torch.nonzero(self.trainable[start:stop]).flatten()
                size = int(where.numel())
                at = int(out_offsets[b])
                matrix = out[at : at + size * size].view(size, size)
                together = max(VECTORS, COLUMNS // max(1, stop - start))
                for first in range(0, size, together):
                    columns = where[first : first + together]
                    unit = theta.new_zeros(1, columns.numel(), stop - start)
                    unit[0, torch.arange(columns.numel()), columns] = 1.0
                    found = self._products(group, torch.tensor([b]), batches, theta, unit, ggn)
                    matrix[first : first + together] = found[0][:, where]
                matrix.copy_(0.5 * (matrix + matrix.T))

    def step_gradient(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        chosen: torch.Tensor,
        samples: Callable[[int], torch.Tensor] | None = None,
        draws: Callable[[int], torch.Generator] | None = None,
        keys: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradients of a training step, in train mode.

        Writes losses and gradients of the chosen networks, and what the step makes of their
        buffers (running statistics) into ``theta``.

        Args:
            theta: flat; buffers are changed in place.
            loss: float64 ``[B]``.
            grad: flat.
            chosen: int64, networks.
            samples: network -> the samples it takes, int64, as many for all; scaled to stand for
                the whole data. None: all data.
            draws: network -> what the task's ``augment`` draws from; None: inputs as they are.
            keys: int64 ``[B, 3]`` of `edt.objectives.dropout.keys_of`, what dropout and other draws
                of a network's forward pass come from; None: torch's generator.

        Raises:
            ValueError: ``samples`` of a task made of batches.
        """
        active = torch.zeros(self.B, dtype=torch.uint8)
        active[chosen.cpu()] = 1
        for group, members, batches in self._work(active, apart=samples is None):
            rows = self._rows(theta, members)
            module = group.module(theta.device)
            mine = None if keys is None else keys[members]
            with evaluation(module, "train"), torch.no_grad():
                if samples is None:
                    slope, value = torch.zeros_like(rows), rows.new_zeros(rows.shape[0])
                    for k, batch in enumerate(batches):
                        more, part, rows = group.run("gradient", rows, batch, keys=_part(mine, k))
                        slope, value = slope + more, value + part
                else:
                    picked = self._picked(members, [samples(b) for b in members.tolist()])
                    if draws is not None:
                        changed = self._augmented(group, picked[0], map(draws, members.tolist()))
                        picked = (changed, *picked[1:])
                    slope, value, rows = group.run("step", rows, None, *picked, keys=mine)
            loss[members.to(loss.device)] = value.double().to(loss.device)
            self._write(grad, members, slope)
            self._keep_buffers(theta, group, members, rows)

    def _picked(
        self, members: torch.Tensor, chosen: list[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        """(inputs, targets, weights) of each network's samples, ``[n, batch, ...]``."""
        share = self.task.N / chosen[0].numel()
        first, alike = int(self.task_index[members[0]]), self.task_index[members]
        whole = self.task.full_batch(first)
        if whole is not None and bool((alike == first).all()):
            x, y, given = whole
            index = torch.stack(chosen).to(x.device)
            return x[index], y[index], self._shares(index, given, share, x)
        inputs, targets, weights = [], [], []
        for t, index in zip(self.task_index[members].tolist(), chosen, strict=True):
            whole = self.task.full_batch(t)
            if whole is None:
                raise ValueError(
                    "batch_size needs samples to choose from; this task is made of batches, which "
                    "are added up: use batch_size=None, or a ModuleTask of (x, y)"
                )
            x, y, given = whole
            index = index.to(x.device)
            inputs.append(x[index])
            targets.append(y[index])
            weights.append(self._shares(index, given, share, x))
        return torch.stack(inputs), torch.stack(targets), torch.stack(weights)

    def _shares(
        self, index: torch.Tensor, given: torch.Tensor | None, share: float, x: torch.Tensor
    ) -> torch.Tensor:
        """Weights of chosen samples that stand for all."""
        if given is None:
            return x.new_full(index.shape, share / self.task.N, dtype=self.networks.dtype)
        return given[index] * share

    def _augmented(
        self, group: _Group, inputs: torch.Tensor, draws: Iterable[torch.Generator]
    ) -> torch.Tensor:
        """Inputs ``[n, batch, ...]``, each network's changed by its own draws."""
        augment = self.task.augment
        assert augment is not None
        shape = inputs.shape[2:] if group.input_shape is None else group.input_shape
        parts = []
        for mine, generator in zip(inputs, draws, strict=True):
            given = mine.reshape(mine.shape[0], *shape)
            changed = augment(given, generator)
            if not isinstance(changed, torch.Tensor) or changed.shape != given.shape:
                got = list(changed.shape) if isinstance(changed, torch.Tensor) else type(changed)
                raise ShapeError(f"augment must return inputs {list(given.shape)}, got {got}")
            parts.append(changed)
        return torch.stack(parts)

    def _keep_buffers(
        self, theta: torch.Tensor, group: _Group, members: torch.Tensor, rows: torch.Tensor
    ) -> None:
        spans = [block.span for block in group.architecture.blocks if block.role == "buffer"]
        for k, b in enumerate(members.tolist()):
            start = int(self.offsets[b])
            for span in spans:
                theta[start + span.start : start + span.stop] = rows[k, span]

    def predict(self, theta: torch.Tensor) -> list[torch.Tensor]:
        """Outputs of every network, ``[N, ...]`` each."""
        out: dict[int, list[torch.Tensor]] = {b: [] for b in range(self.B)}
        for group, members, batches in self._work(None):
            rows = self._rows(theta, members)
            with evaluation(group.module(theta.device), self.task.mode):
                keys = self._keys(members)
                for number, batch in enumerate(batches):
                    found = group.run("outputs", rows, batch, keys=_part(keys, number))
                    for k, b in enumerate(members.tolist()):
                        out[b].append(found[k].detach())
        return [torch.cat(parts) for parts in out.values()]

    def jacobian(self, theta: torch.Tensor) -> list[torch.Tensor]:
        """``[rows, P_b]`` of every network over its coordinates, outputs in order."""
        out: dict[int, list[torch.Tensor]] = {b: [] for b in range(self.B)}
        for group, members, batches in self._work(None):
            rows = self._rows(theta, members)
            with evaluation(group.module(theta.device), self.task.mode):
                for batch in batches:
                    for k, b in enumerate(members.tolist()):
                        start, stop = int(self.offsets[b]), int(self.offsets[b + 1])
                        found = group.jacobian(rows[k], batch)
                        out[b].append(found[:, self.trainable[start:stop]])
        return [torch.cat(parts) for parts in out.values()]

    # ---------------------------------------------------------------------------------------

    def _work(
        self, active: torch.Tensor | None, apart: bool = True
    ) -> Iterator[tuple[_Group, torch.Tensor, list[Batch]]]:
        """(group, networks of one target, that target's batches), some networks at a time.

        Networks of different targets come together where they need not be ``apart``.
        """
        for group in self._groups:
            members = group.members
            if active is not None:
                members = members[active.cpu()[members].bool()]
            for t in range(self.task.T if apart else 1):
                mine = members[self.task_index.cpu()[members] == t] if apart else members
                for part in torch.split(mine, _side_by_side(self.task.targets[t])):
                    if part.numel():
                        yield group, part, self.task.targets[t]

    def _keys(self, members: torch.Tensor) -> torch.Tensor | None:
        """What draws of a loss in train mode come from: the networks' names, so that they stay."""
        if self.task.mode == "eval":
            return None
        return keys_of([0] * members.numel(), self.networks.network_ids[members].tolist())

    def _sum(
        self,
        group: _Group,
        members: torch.Tensor,
        batches: list[Batch],
        what: str,
        *rows: torch.Tensor,
    ) -> Any:
        """Sum of what a group finds over batches, in order."""
        module, mine = group.module(self.networks.device), self._keys(members)
        total: Any = None
        with evaluation(module, self.task.mode), torch.no_grad():
            for k, batch in enumerate(batches):
                keys = _part(mine, k)
                found = group.run(what, rows[0], batch, *rows[1:], keys=keys)
                if total is None:
                    total = found
                elif isinstance(found, tuple):
                    total = tuple(a + b for a, b in zip(total, found, strict=True))
                else:
                    total = total + found
        for reason in filter(None, (group.reason, group.refused_draws)):
            self.looped[type(module).__name__] = reason
        return total

    def _together(self, members: torch.Tensor) -> slice | None:
        """Where networks of one size lie one after the other; None: they do not."""
        first, last = int(members[0]), int(members[-1])
        if last - first + 1 != members.numel():
            return None
        return slice(int(self.offsets[first]), int(self.offsets[last + 1]))

    def _rows(self, flat: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
        """``[..., total] -> [n, ..., P]``, the chosen networks' parts."""
        span = self._together(members)
        if span is not None and flat.dim() == 1 and not self.buffered:
            return flat.detach()[span].view(members.numel(), -1)
        parts = [
            flat[..., int(self.offsets[b]) : int(self.offsets[b + 1])] for b in members.tolist()
        ]
        return torch.stack(parts).detach()

    def _live(self, vectors: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
        """``[K, total] -> [n, K, P]``, 0 off the coordinates."""
        span, n = self._together(members), members.numel()
        if span is None:
            return self._rows(vectors * self.trainable, members)
        given = vectors.detach()[:, span].view(vectors.shape[0], n, -1).transpose(0, 1)
        out = torch.empty(given.shape, dtype=given.dtype, device=given.device)
        if self._mask is None:
            return out.copy_(given)
        return torch.mul(given, self._mask[span].view(n, 1, -1), out=out)

    def _write(self, flat: torch.Tensor, members: torch.Tensor, rows: torch.Tensor) -> None:
        """The chosen networks' parts ``[n, ..., P]`` to their places; 0 off the coordinates."""
        span = self._together(members)
        if span is not None:
            target = flat[..., span].view(*flat.shape[:-1], members.numel(), -1)
            given = rows if rows.dim() == 2 else rows.transpose(0, 1)
            if self._mask is None:
                target.copy_(given)
            else:
                torch.mul(given, self._mask[span].view(target.shape[-2:]), out=target)
            return
        for k, b in enumerate(members.tolist()):
            span = slice(int(self.offsets[b]), int(self.offsets[b + 1]))
            flat[..., span] = rows[k] * self.trainable[span]


def _part(keys: torch.Tensor | None, k: int) -> torch.Tensor | None:
    """The keys of batch k."""
    return None if keys is None else torch.cat([keys[:, :2], keys[:, 2:] + k], 1)


def _side_by_side(batches: list[Batch]) -> int:
    """Networks evaluated side by side: as many as their inputs leave room for."""
    inputs = [
        leaf.numel()
        for batch in batches
        for leaf in pytree.tree_leaves(batch.content)
        if isinstance(leaf, torch.Tensor)
    ]
    return max(1, min(AT_ONCE, ROOM // max([1, *inputs])))


@dataclass
class _Group:
    """Networks of one architecture on one task.

    Attributes:
        architecture, members, task: whose.
        input_shape: of a sample, or None: as the data has it.
        reason: why vmap is not used; empty while it is.
        refused_draws: likewise where networks draw; empty while dropout alone does.
    """

    architecture: Architecture
    members: torch.Tensor
    task: ModuleTask
    input_shape: tuple[int, ...] | None
    reason: str = ""
    refused_draws: str = ""

    def __post_init__(self) -> None:
        #: Their layers, where they are a chain of those that have a faster way than vmap's.
        self.stack = Stack.of(self.architecture.skeleton, self.architecture.blocks)
        self.buffered = any(block.role == "buffer" for block in self.architecture.blocks)
        self._kept: tuple[torch.Tensor, torch.Tensor, Batch] | None = None

    def chained(self, theta: torch.Tensor) -> bool:
        """Whether the core evaluates them on all batches."""
        if self.stack is None or not self.task.splits:
            return False
        row = theta.new_empty(1, self.architecture.size)
        inputs = [self._inputs(batch) for part in self.task.targets for batch in part]
        return all(
            isinstance(x, torch.Tensor) and self.stack.core(row, x[None]) is not None
            for x in inputs
        )

    def module(self, device: torch.device) -> torch.nn.Module:
        """What is called."""
        return self.architecture.module_on(device)

    def jacobian(self, row: torch.Tensor, batch: Batch) -> torch.Tensor:
        """``[outputs, P]`` of one network."""
        point = row.clone().requires_grad_(True)
        out = self._outputs(point, batch).reshape(-1)
        parts = [
            torch.autograd.grad(out[k], point, retain_graph=True)[0] for k in range(out.numel())
        ]
        return torch.stack(parts).detach()

    def run(
        self,
        what: str,
        rows: torch.Tensor,
        batch: Batch | None,
        *more: torch.Tensor,
        keys: torch.Tensor | None = None,
    ) -> Any:
        """One of the calls below for networks side by side, or one by one where vmap refuses.

        Args:
            what, rows, batch, more: the call's name and arguments.
            keys: int64 ``[n, 3]``, what each network draws from. Side by side that is dropout only;
                networks that draw otherwise go one by one, with torch's generator seeded for each.
        """
        refused = self.reason or ("" if keys is None else self.refused_draws)
        given = more if keys is None else (keys.to(rows.device), *more)
        if not refused:
            try:
                if self.stack is not None:
                    at_once = self._stacked(what, self.stack, rows, batch, *more)
                    if at_once is not None:
                        return at_once
                if what == "hvp" and len(rows) == 1 and keys is None:
                    # Nothing to put side by side, and one vector after the other shares the
                    # gradient.
                    assert batch is not None
                    with suppress(RuntimeError, NotImplementedError):
                        return self._hvp_alone(rows[0], batch, more[0][0])[None].detach()
                side = vmap(
                    partial(self._drawing, f"_{what}", batch, keys is not None),
                    randomness="different" if keys is None else "error",
                )
                return side(rows, *given)
            except (ShapeError, TypeError):
                raise
            except (RuntimeError, NotImplementedError, ValueError) as error:
                refused = str(error).splitlines()[0] if str(error) else type(error).__name__
        name = f"_{what}_alone" if hasattr(self, f"_{what}_alone") else f"_{what}"
        devices = [] if rows.device.type == "cpu" else [rows.device]
        try:
            with torch.random.fork_rng(devices=devices, enabled=keys is not None):
                found = []
                for k, row in enumerate(rows):
                    if keys is not None:
                        first, second, part = keys[k].tolist()
                        torch.manual_seed((first << 32 | second) ^ part)
                    mine = (each[k] for each in given)
                    found.append(self._drawing(name, batch, keys is not None, row, *mine))
        except (RuntimeError, NotImplementedError) as error:
            kind = type(self.architecture.skeleton).__name__
            asked = f"{what}, which needs second derivatives of all it does" * (what == "hvp")
            raise ValueError(
                f"{kind} cannot be evaluated on this task ({asked or what}): "
                f"{str(error).splitlines()[0]}"
            ) from error
        if keys is None:
            self.reason = refused
        else:
            self.refused_draws = refused
        if isinstance(found[0], tuple):
            return tuple(torch.stack(part).detach() for part in zip(*found, strict=True))
        return torch.stack(found).detach()

    def _drawing(
        self, name: str, batch: Batch | None, keyed: bool, row: torch.Tensor, *more: torch.Tensor
    ) -> Any:
        """A call of one network, whose draws come from ``more[0]`` where they are keyed."""
        call = getattr(self, name)
        if not keyed:
            return call(row, batch, *more)
        self._kept = None  # it may have drawn otherwise
        with KeyedDropout(more[0]):
            return call(row, batch, *more[1:])

    def _stacked(
        self, what: str, stack: Stack, rows: torch.Tensor, batch: Batch | None, *drawn: torch.Tensor
    ) -> Any:
        """What `run` returns, of a chain of layers (`Stack`); None: it is no such case.

        ``drawn``: of a step its inputs, targets and weights; of products the vectors.
        """
        if not self.task.splits:
            return None
        count = rows.shape[0]
        if batch is None:
            x, y, weights = drawn
        else:
            x, y = batch.content
            if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor):
                return None
            x, y = (part.expand(count, *part.shape) for part in (x, y))
            weights = None
            if batch.weights is not None:
                weights = batch.weights.expand(count, *batch.weights.shape)
        if self.input_shape is not None:
            x = x.reshape(*x.shape[:2], *self.input_shape)
        if x.dtype != rows.dtype:
            return None
        core = stack.core(rows, x)
        if what in ("hvp", "ggn"):
            assert batch is not None
            return (
                None
                if core is None
                else self._by_core(core, rows, x, batch, drawn[0], what == "ggn")
            )
        if core is not None and what == "outputs":
            return core.outputs(rows, x)
        share, n = (1.0 if batch is None else batch.share), int(x.shape[1])

        def value(outputs: torch.Tensor, part: slice) -> torch.Tensor:
            def one(out: torch.Tensor, target: Any, weight: Any = None) -> torch.Tensor:
                return self.task.criterion(out, target, Batch((x, y), share, weight, n))

            more = () if weights is None else (weights[part],)
            losses: torch.Tensor = vmap(one)(outputs, y[part], *more)
            return losses

        if core is not None and what == "value":
            return value(core.outputs(rows, x), slice(None))
        if core is not None:
            return *core.gradient(rows, x, partial(value, part=slice(None))), rows
        together = stack.fits(x.shape[2:], int(x.shape[1]))
        if what in ("value", "outputs") or not together:
            return None
        return *stack.gradient(rows, x, value, together), rows

    def _by_core(
        self,
        core: CoreChain,
        rows: torch.Tensor,
        x: torch.Tensor,
        batch: Batch,
        vectors: torch.Tensor,
        ggn: bool,
    ) -> torch.Tensor | None:
        """Products with vectors ``[B, K, P]``; None: the core does not take such a loss."""
        each, y = self.task.per_sample, batch.content[1]
        if each is None or len(core.shape) != 1 or core.shape[0] > MOST_OUTPUTS:
            return None
        second = partial(output_curvature, each, y=y, lift=ggn and self.task.each is not None)

        def curvature(f: torch.Tensor) -> torch.Tensor:
            return batch.each.to(f.dtype)[:, None, None] * second(f=f)

        def value(f: torch.Tensor) -> torch.Tensor:
            return self.task.criterion(f, y, batch)

        return core.products(rows, x, value, curvature, vectors, ggn=ggn)

    # One network, by torch.func ------------------------------------------------------------

    def _call(self, flat: torch.Tensor) -> tuple[Callable[..., Any], dict[str, torch.Tensor]]:
        """(the module with these numbers, its buffers, which calls may change)."""
        parameters, buffers = self.architecture.tensors(flat)
        module = self.module(flat.device)

        def called(*args: Any, **kwargs: Any) -> Any:
            return functional_call(module, (parameters, buffers), args, kwargs)

        return called, buffers

    def _inputs(self, batch: Batch) -> Any:
        inputs = batch.content[0]
        if self.input_shape is not None and isinstance(inputs, torch.Tensor):
            return inputs.reshape(inputs.shape[0], *self.input_shape)
        return inputs

    def _outputs(self, flat: torch.Tensor, batch: Batch) -> torch.Tensor:
        called, _ = self._call(flat)
        return self.task.outputs(called, self._inputs(batch))

    def _value_and_buffers(
        self, flat: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        called, buffers = self._call(flat)
        if self.task.splits:
            outputs = self.task.outputs(called, self._inputs(batch))
            value = self.task.criterion(outputs, batch.content[1], batch)
        else:
            value = self.task.value(called, batch)
        after = [
            buffers[block.name].detach().reshape(-1).to(flat.dtype)
            for block in self.architecture.blocks
            if block.role == "buffer"
        ]
        learned = self.architecture.size - sum(part.numel() for part in after)
        kept = flat.detach()[:learned]
        return value, torch.cat([kept, *after]) if after else kept

    def _value(self, flat: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self._value_and_buffers(flat, batch)[0]

    def _gradient(
        self, flat: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        def value(point: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self._value_and_buffers(point, batch)

        found = grad_and_value(value, has_aux=True)(flat)
        return found[0], found[1][0], found[1][1]

    def _step(
        self,
        flat: torch.Tensor,
        _: None,
        x: torch.Tensor,
        y: torch.Tensor,
        weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self._gradient(flat, self._drawn(x, y, weights))

    def _step_alone(
        self,
        flat: torch.Tensor,
        _: None,
        x: torch.Tensor,
        y: torch.Tensor,
        weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self._gradient_alone(flat, self._drawn(x, y, weights))

    @staticmethod
    def _drawn(x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> Batch:
        return Batch((x, y), 1.0, weights, int(x.shape[0]))

    def _hvp(self, flat: torch.Tensor, batch: Batch, vectors: torch.Tensor) -> torch.Tensor:
        def value(point: torch.Tensor) -> torch.Tensor:
            return self._value(point, batch)

        pull: Any = vjp(grad(value), flat)[1]
        product: torch.Tensor = vmap(lambda v: pull(v)[0], chunk_size=VECTORS)(vectors)
        return product

    def _ggn(self, flat: torch.Tensor, batch: Batch, vectors: torch.Tensor) -> torch.Tensor:
        def outputs(point: torch.Tensor) -> torch.Tensor:
            return self._outputs(point, batch)

        found = vjp(outputs, flat)
        f, pull = found[0], found[1]
        slope = grad(lambda out: self.task.criterion(out, batch.content[1], batch))
        lifted = self._lifted(f, batch)

        def product(v: torch.Tensor) -> torch.Tensor:
            moved = jvp(outputs, (flat,), (v,))[1]
            if lifted is None:
                bent = jvp(slope, (f,), (moved,))[1]
            else:
                bent = (lifted @ moved[..., None])[..., 0]
            back: torch.Tensor = pull(bent)[0]
            return back

        many: torch.Tensor = vmap(product, chunk_size=VECTORS)(vectors)
        return many

    # One network, by plain autograd: for what torch.func does not take -----------------------

    def _gradient_alone(
        self, flat: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with torch.enable_grad():
            point = flat.clone().requires_grad_(True)
            value, after = self._value_and_buffers(point, batch)
            (slope,) = torch.autograd.grad(value, point)
        return slope, value.detach(), after

    def _lifted(self, f: torch.Tensor, batch: Batch) -> torch.Tensor | None:
        """``w_n [l''_n]_+`` of a loss that may bend down, ``[n, o, o]``; None: it is as it is."""
        each = self.task.each
        if each is None:
            return None
        assert batch.weights is not None
        return batch.weights[:, None, None] * output_curvature(each, f, batch.content[1], lift=True)

    def _hvp_alone(self, flat: torch.Tensor, batch: Batch, vectors: torch.Tensor) -> torch.Tensor:
        point, slope = self._slope_of(flat, batch)
        rows = [torch.autograd.grad(slope, point, v, retain_graph=True)[0] for v in vectors]
        return torch.stack(rows)

    def _slope_of(self, flat: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(a point, the gradient there, with its graph); the last one is kept.

        So a product after the first costs one pass back instead of a pass forward and two back.
        """
        if self._kept is not None:
            point, slope, known = self._kept
            if known is batch and torch.equal(point, flat):
                return point, slope
        self._kept = None  # before another graph takes its room
        with torch.enable_grad():
            point = flat.clone().requires_grad_(True)
            value = self._value(point, batch)
            (slope,) = torch.autograd.grad(value, point, create_graph=True)
        self._kept = (point, slope, batch)
        return point, slope

    def _ggn_alone(self, flat: torch.Tensor, batch: Batch, vectors: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            point = flat.clone().requires_grad_(True)
            f = self._outputs(point, batch)
            # J v as the derivative of u -> J^T u, which is linear in u.
            u = torch.zeros_like(f, requires_grad=True)
            (back,) = torch.autograd.grad(f, point, u, create_graph=True)
            cut = f.detach().requires_grad_(True)
            value = self.task.criterion(cut, batch.content[1], batch)
            (slope,) = torch.autograd.grad(value, cut, create_graph=True)
            rows, lifted = [], self._lifted(f.detach(), batch)
            for v in vectors:
                (moved,) = torch.autograd.grad(back, u, v, retain_graph=True)
                if lifted is None:
                    (bent,) = torch.autograd.grad(slope, cut, moved, retain_graph=True)
                else:
                    bent = (lifted @ moved[..., None])[..., 0]
                (found,) = torch.autograd.grad(f, point, bent, retain_graph=True)
                rows.append(found)
        return torch.stack(rows)


@contextmanager
def evaluation(module: torch.nn.Module, mode: str) -> Iterator[None]:
    """The module in a mode, with attention that can be differentiated twice; as before after."""
    modes = {part: part.training for part in module.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        torch.backends.mha.set_fastpath_enabled(False)
        module.train(mode == "train")
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for part, training in modes.items():
                part.training = training
