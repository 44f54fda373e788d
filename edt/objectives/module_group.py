"""Networks of one architecture on one task, side by side.

They go by the core where they are made of layers that it has, by batched products (`Stack`), by
`vmap`, and one by one where vmap refuses them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.func import vmap

from edt.errors import ShapeError
from edt.objectives.batches import Batch
from edt.objectives.chain_steps import learns
from edt.objectives.dropout import KeyedDropout
from edt.objectives.function import output_curvature
from edt.objectives.single_module import SingleModule
from edt.objectives.stacked import Stack
from edt.objectives.traced import Unread
from edt.ops.losses import LOSSES

if TYPE_CHECKING:
    from edt.objectives.chained import CoreChain, Masks

__all__ = ["ModuleGroup"]

#: Outputs of networks whose Hessian products are the core's: it is given squares of them.
MOST_OUTPUTS = 64


@dataclass
class ModuleGroup(SingleModule):
    """Networks of one architecture on one task.

    Attributes:
        members: int64, their numbers, ascending.
        state: uint8 ``[n, P]``, what is pruned and frozen of them; None: nothing.
        unread: why there is no `stack`; empty if there is one.
        reason: why vmap is not used; empty while it is.
        refused_draws: likewise where networks draw; empty while dropout alone does.
    """

    members: torch.Tensor
    state: torch.Tensor | None
    reason: str = ""
    refused_draws: str = ""

    def __post_init__(self) -> None:
        #: Their layers, where they are made of those that have a faster way than vmap's.
        self.stack: Stack | None = None
        self.unread = ""
        try:
            self.stack = Stack.of(self.architecture.skeleton, self.architecture.blocks)
        except Unread as why:
            self.unread = str(why)
        self.buffered = any(block.role == "buffer" for block in self.architecture.blocks)
        self._masks: dict[CoreChain, Masks] = {}

    def chained(self, theta: torch.Tensor) -> bool:
        """Whether the core evaluates them on all batches."""
        if self.stack is None or not self.task.splits:
            return False
        inputs = [self._inputs(batch) for part in self.task.targets for batch in part]
        return all(isinstance(x, torch.Tensor) and self.core(theta, x) is not None for x in inputs)

    def core(self, theta: torch.Tensor, x: torch.Tensor) -> CoreChain | None:
        """Their chain in the core, of inputs ``[N, ...]``; None: they are none."""
        if self.stack is None:
            return None
        if self.input_shape is not None:
            x = x.reshape(x.shape[0], *self.input_shape)
        return self.stack.core(theta.new_empty(1, self.architecture.size), x[None])

    def run(
        self,
        what: str,
        members: torch.Tensor,
        rows: torch.Tensor,
        batch: Batch | None,
        *more: torch.Tensor,
        keys: torch.Tensor | None = None,
        into: torch.Tensor | None = None,
    ) -> Any:
        """One of the calls below for networks side by side, or one by one where vmap refuses.

        Args:
            what: the call's name.
            members: int64, which of the networks.
            rows, batch, more: the call's arguments.
            keys: int64 ``[n, 3]``, what each network draws from. Side by side that is dropout only;
                networks that draw otherwise go one by one, with torch's generator seeded for each.
            into: ``[n, P]`` or ``[n, K, P]``, where gradients or products may be written: if they
                are, what is returned is this very tensor, 0 off the coordinates.
        """
        refused = self.reason or ("" if keys is None else self.refused_draws)
        given = more if keys is None else (keys.to(rows.device), *more)
        if not refused:
            try:
                if self.stack is not None:
                    at_once = self._stacked(
                        what, self.stack, members, rows, batch, *more, into=into
                    )
                    if at_once is not None:
                        return at_once
                given = tuple(part.contiguous() for part in given)
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
        self,
        what: str,
        stack: Stack,
        members: torch.Tensor,
        rows: torch.Tensor,
        batch: Batch | None,
        *drawn: torch.Tensor,
        into: torch.Tensor | None = None,
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
        masks = () if core is None else self.masks_of(core, members)
        if what in ("hvp", "ggn"):
            assert batch is not None
            return (
                None
                if core is None
                else self._by_core(core, masks, rows, x, batch, drawn[0], what == "ggn", into)
            )
        if core is not None and what == "outputs":
            return core.outputs(rows, x, masks)
        share, n = (1.0 if batch is None else batch.share), int(x.shape[1])

        def value(outputs: torch.Tensor, part: slice) -> torch.Tensor:
            known = self._added_up(outputs, y[part], weights if weights is None else weights[part])
            if known is not None:
                return known if weights is not None else known * (share / n)

            def one(out: torch.Tensor, target: Any, weight: Any = None) -> torch.Tensor:
                return self.task.criterion(out, target, Batch((x, y), share, weight, n))

            more = () if weights is None else (weights[part],)
            losses: torch.Tensor = vmap(one)(outputs, y[part], *more)
            return losses

        if core is not None and what == "value":
            return value(core.outputs(rows, x, masks), slice(None))
        if core is not None:
            return *core.gradient(rows, x, partial(value, part=slice(None)), masks, into), rows
        together = stack.fits(x.shape[2:], int(x.shape[1]))
        if what in ("value", "outputs") or not together:
            return None
        return *stack.gradient(rows, x, value, together), rows

    def _added_up(
        self, outputs: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor | None:
        """Sums of a named loss over the samples of each network, all samples in one call.

        None: another loss, or shapes that do not fit, which the way network by network names.
        """
        each = self.task.per_sample
        alike = outputs.shape == y.shape or (outputs.dim() == 3 and y.dim() == 2)
        if self.task.each is not None or each is None or not alike:
            return None
        with suppress(IndexError, RuntimeError):
            found = each(outputs.flatten(0, 1), y.flatten(0, 1)).view(outputs.shape[:2])
            return (found if weights is None else found * weights).sum(1)
        return None

    def masks_of(self, core: CoreChain, members: torch.Tensor) -> Masks:
        """What the core needs to leave out what is pruned: made once, of `state`."""
        if self.state is None:
            return ()
        if core not in self._masks:
            self._masks[core] = [core.mask(row) for row in self.state]
        mine = self._masks[core]
        return [mine[k] for k in torch.searchsorted(self.members, members).tolist()]

    def _by_core(
        self,
        core: CoreChain,
        masks: Masks,
        rows: torch.Tensor,
        x: torch.Tensor,
        batch: Batch,
        vectors: torch.Tensor,
        ggn: bool,
        into: torch.Tensor | None,
    ) -> torch.Tensor | None:
        """Products with vectors ``[B, K, P]``; None: the core does not take such a loss."""
        each, y, named = self.task.per_sample, batch.content[1], self.task.named_loss
        if rows.device.type == "cpu" and named in LOSSES and learns(core, named, x[0], y):
            weights = batch.share if batch.weights is None else batch.weights
            return core.loss_products(rows, x, named, y, weights, vectors, masks, into, ggn=ggn)
        if each is None or len(core.shape) != 1 or core.shape[0] > MOST_OUTPUTS:
            return None
        second = partial(output_curvature, each, y=y, lift=ggn and self.task.each is not None)

        def curvature(f: torch.Tensor) -> torch.Tensor:
            return batch.each.to(f)[:, None, None] * second(f=f)

        def value(f: torch.Tensor) -> torch.Tensor:
            return self.task.criterion(f, y, batch)

        return core.products(rows, x, value, curvature, vectors, masks, into, ggn=ggn)
