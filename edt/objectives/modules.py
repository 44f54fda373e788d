"""The objective of torch modules: losses and derivatives by `torch.func`, networks side by side.

Networks of one architecture are evaluated together by `vmap`, gradients of those made of the layers
of `Stack` by it; a module that vmap refuses is evaluated one network at a time, by plain autograd
(`ModuleObjective.looped` says why). Products with the Hessian of what the core computes are its own
where the loss adds up over samples. Others differentiate the gradient once more in reverse; those
with the Gauss-Newton matrix go forward through the outputs (``J v``), through the loss
(``l'' J v``) and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from edt.ensemble.masks import TRAINABLE
from edt.errors import ShapeError
from edt.objectives.batches import Batch, evaluation
from edt.objectives.chain_steps import ChainSteps
from edt.objectives.dropout import keys_of
from edt.objectives.module_group import ModuleGroup
from edt.objectives.single_module import VECTORS

if TYPE_CHECKING:
    from edt.ensemble.module_ensemble import ModuleEnsemble
    from edt.tasks.module_task import ModuleTask

__all__ = ["ModuleObjective"]

#: Networks of one architecture evaluated side by side.
AT_ONCE = 64
#: Numbers in the inputs of networks side by side; activations take tens of times their room.
ROOM = 2**24
#: Numbers in the columns of a Hessian that are formed together.
COLUMNS = 2**22


class ModuleObjective:
    """``L_b(theta_b)`` of module networks; see `edt.objectives.Objective`.

    A network's bits may depend on the company it is evaluated in (`vmap` turns its products into
    batched ones), except where the core evaluates it; the same call gives the same bits.

    Args:
        networks: the modules.
        task: data of their dtype, on their device.
        task_index: int64 ``[B]``.

    Attributes:
        groups: networks of one architecture each.
        looped: why a module's networks go one by one, by its class; empty if none do.
        unread: why a module has no layers that the core or `Stack` could take, by its class.
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
        self._room: torch.Tensor | None = None  # a step's inputs
        # Where all are trainable nothing is to be put to 0.
        self._mask = None if bool(self.trainable.all()) else self.trainable
        self.groups = [
            ModuleGroup(architecture, task, networks.input_shape, members, self._states(members))
            for architecture, members in networks.groups()
        ]
        self.unread = {
            type(group.architecture.skeleton).__name__: group.unread
            for group in self.groups
            if group.unread
        }
        self.buffered = any(group.buffered for group in self.groups)

    def _states(self, members: torch.Tensor) -> torch.Tensor | None:
        """States of networks of one architecture ``[n, P]``, as they are now; None: trainable."""
        if self._mask is None:
            return None
        spans = zip(self.offsets[members].tolist(), self.offsets[members + 1].tolist(), strict=True)
        states = torch.stack([self.networks.state[first:last] for first, last in spans])
        return None if bool((states == TRAINABLE).all()) else states

    @cached_property
    def chained(self) -> bool:
        """Whether gradients of the networks are the core's work."""
        return all(group.chained(self.networks.theta) for group in self.groups)

    @cached_property
    def steps(self) -> ChainSteps | None:
        """Training steps that the core takes by itself; None: torch does its part in them."""
        return ChainSteps.of(self)

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
            place = self._place(grad, members) if len(batches) == 1 else None
            slope, value, _ = self._sum(group, members, batches, "gradient", rows, into=place)
            loss[members.to(loss.device)] = value.double().to(loss.device)
            if slope is not place:
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
            apart = out.untyped_storage().data_ptr() != vectors.untyped_storage().data_ptr()
            place = self._place(out, members) if apart and len(batches) == 1 else None
            found = self._products(group, members, batches, theta, given, ggn, place)
            if found is not place:
                self._write(out, members, found)

    def _products(
        self,
        group: ModuleGroup,
        members: torch.Tensor,
        batches: list[Batch],
        theta: torch.Tensor,
        vectors: torch.Tensor,
        ggn: bool,
        into: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Products of some networks with vectors ``[n, K, P]``."""
        if ggn and not self.task.splits:
            raise ValueError(
                "ggn needs a loss of outputs and targets; this task has step=(module, batch)"
            )
        what, rows = "ggn" if ggn else "hvp", self._rows(theta, members)
        found: torch.Tensor = self._sum(group, members, batches, what, rows, vectors, into=into)
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
            place = self._place(grad, members) if samples or len(batches) == 1 else None
            # Layers of chains are the same in every mode, and going through them takes time.
            mode = nullcontext() if self.chained else evaluation(module, "train")
            with mode, torch.no_grad():
                if samples is None:
                    found: Any = None
                    for k, batch in enumerate(batches):
                        part = group.run(
                            "gradient", members, rows, batch, keys=_part(mine, k), into=place
                        )
                        rows = part[2]
                        found = _sums(found, part[:2])
                    slope, value = found
                else:
                    picked = self._picked(members, [samples(b) for b in members.tolist()])
                    if draws is not None:
                        changed = self._augmented(group, picked[0], map(draws, members.tolist()))
                        picked = (changed, *picked[1:])
                    slope, value, rows = group.run(
                        "step", members, rows, None, *picked, keys=mine, into=place
                    )
            loss[members.to(loss.device)] = value.double().to(loss.device)
            if slope is not place:
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
            return self._gathered(x, index), y[index], self._shares(index, given, share, x)
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

    def _gathered(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """``x[index]``, in memory that the next step writes again: fresh pages cost as much."""
        size = (index.numel(), *x.shape[1:])
        if self._room is None or self._room.shape != size or self._room.dtype != x.dtype:
            self._room = x.new_empty(size)
        torch.index_select(x, 0, index.flatten(), out=self._room)
        return self._room.view(*index.shape, *x.shape[1:])

    def _shares(
        self, index: torch.Tensor, given: torch.Tensor | None, share: float, x: torch.Tensor
    ) -> torch.Tensor:
        """Weights of chosen samples that stand for all."""
        if given is None:
            return x.new_full(index.shape, share / self.task.N, dtype=self.networks.dtype)
        return given[index] * share

    def _augmented(
        self, group: ModuleGroup, inputs: torch.Tensor, draws: Iterable[torch.Generator]
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
        self, theta: torch.Tensor, group: ModuleGroup, members: torch.Tensor, rows: torch.Tensor
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
                    found = group.run("outputs", members, rows, batch, keys=_part(keys, number))
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
    ) -> Iterator[tuple[ModuleGroup, torch.Tensor, list[Batch]]]:
        """(group, networks of one target, that target's batches), some networks at a time.

        Networks of different targets come together where they need not be ``apart``.
        """
        for group in self.groups:
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
        group: ModuleGroup,
        members: torch.Tensor,
        batches: list[Batch],
        what: str,
        *rows: torch.Tensor,
        into: torch.Tensor | None = None,
    ) -> Any:
        """Sum of what a group finds over batches, in order."""
        module, mine = group.module(self.networks.device), self._keys(members)
        total: Any = None
        with evaluation(module, self.task.mode), torch.no_grad():
            for k, batch in enumerate(batches):
                keys = _part(mine, k)
                found = group.run(what, members, rows[0], batch, *rows[1:], keys=keys, into=into)
                total = _sums(total, found)
        for reason in filter(None, (group.reason, group.refused_draws)):
            self.looped[type(module).__name__] = reason
        return total

    def _together(self, members: torch.Tensor) -> slice | None:
        """Where networks of one size lie one after the other; None: they do not."""
        first, last = int(members[0]), int(members[-1])
        if last - first + 1 != members.numel():
            return None
        return slice(int(self.offsets[first]), int(self.offsets[last + 1]))

    def _place(self, flat: torch.Tensor, members: torch.Tensor) -> torch.Tensor | None:
        """``[n, ..., P]``, the chosen networks' parts themselves; None: they lie apart."""
        span, n = self._together(members), members.numel()
        if span is None:
            return None
        return flat[span].view(n, -1) if flat.dim() == 1 else _parts(flat, span, n)

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
        given = _parts(vectors.detach(), span, n)
        if self._mask is None:
            return given
        out = torch.empty_like(given)
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


def _parts(flat: torch.Tensor, span: slice, n: int) -> torch.Tensor:
    """``[K, total] -> [n, K, P]``, a view."""
    return flat[:, span].view(flat.shape[0], n, -1).transpose(0, 1)


def _sums(total: Any, found: Any) -> Any:
    """``total + found``, of tensors or tuples of them; None: nothing yet."""
    if total is None:
        return found
    if isinstance(found, tuple):
        return tuple(a + b for a, b in zip(total, found, strict=True))
    return total + found


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
