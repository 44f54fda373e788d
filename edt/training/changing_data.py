"""Data that change while networks train: ``masked_train(data=...)``.

A network's data of an epoch are a function of its ``data_seed`` and the epoch's number, so that a
run can be cut and gone on with anywhere, and no network depends on another.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from edt.ensemble.philox import draws
from edt.errors import ShapeError
from edt.tasks.function_task import FunctionTask
from edt.tasks.module_task import ModuleTask
from edt.tasks.task import Task
from edt.training.state import RUNNING, Rule, State, Trainer
from edt.training.stepping import advance

__all__ = ["ChangingData", "ChangingTrainer", "changing_data"]

#: Which of a seed's sequences keys of epochs come from; the core shuffles by the first.
_STREAM = 2**31 + 1
#: Numbers in the data of the networks that go together.
ROOM = 2**25
#: Status of networks that wait while others take their steps.
_ASIDE = 5
#: No call of an epoch's trainer ends the run.
_NEVER = 2**62
KINDS = (Task, ModuleTask, FunctionTask)


def epoch_keys(seed: int, epoch: int, count: int) -> list[int]:
    """Keys of 64 random bits of one epoch under one ``data_seed``."""
    held = np.array([seed % 2**64], dtype=np.uint64)
    name = np.array([epoch], dtype=np.uint64)
    keys: list[int] = draws(held, name, _STREAM, np.array([count], dtype=np.int64)).tolist()
    return keys


class ChangingData:
    """What an argument ``data`` draws for an epoch.

    Args:
        source: a function ``(epoch, generator)``, or a dataset.
        task: what is learned, whose loss, sizes and kind the data must have.
    """

    def __init__(self, source: Any, task: Any) -> None:
        self._source, self._task = source, task
        self._dataset = not callable(source)

    @property
    def name(self) -> str:
        """For checkpoints."""
        own = getattr(self._source, "__qualname__", None)
        if own is None:
            # A dataclass says its numbers; a default repr has an address, which the next run lacks.
            said = repr(self._source)
            own = type(self._source).__qualname__ if " at 0x" in said else said
        return str(own)

    def at(self, seed: int, epoch: int) -> Any:
        """The data of an epoch under a ``data_seed``, as a task.

        Raises:
            TypeError, ValueError: they are not such data; names the epoch.
        """
        try:
            drawn = self._items(seed, epoch) if self._dataset else self._call(seed, epoch)
            if isinstance(drawn, (tuple, list)) and len(drawn) == 2:
                drawn = self._task.with_samples(*drawn)
            self._check(drawn)
        except (TypeError, ValueError) as error:
            raise type(error)(f"data (epoch {epoch}): {error}") from error
        return drawn.to(self._task.dtype) if isinstance(drawn, Task) else drawn

    def _call(self, seed: int, epoch: int) -> Any:
        generator = torch.Generator().manual_seed(epoch_keys(seed, epoch, 1)[0])
        return self._source(epoch, generator)

    def _items(self, seed: int, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Every item of a dataset, each with all generators seeded for it alone."""
        keys = epoch_keys(seed, epoch, len(self._source))
        items = []
        with _generators_kept():
            for k, key in enumerate(keys):
                torch.manual_seed(key)
                random.seed(key)
                np.random.seed(key % 2**32)  # noqa: NPY002 (what transforms draw from)
                items.append(self._source[k])
        if not all(isinstance(item, (tuple, list)) and len(item) == 2 for item in items):
            raise TypeError("items of the dataset must be pairs (input, target)")
        x, y = torch.utils.data.default_collate(items)
        if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor):
            raise TypeError("items of the dataset must be pairs of tensors, arrays or numbers")
        if isinstance(self._task, ModuleTask):
            return x, y
        # Chains see vectors; one number a sample is a column.
        single = y.is_floating_point() and y.dim() == 1
        return x.reshape(len(x), -1), y[:, None] if single else y

    def _check(self, drawn: Any) -> None:
        task = self._task
        if not isinstance(drawn, type(task)):
            raise TypeError(
                f"must be (x, y) or {_article(type(task).__name__)} like the task, got "
                f"{_article(type(drawn).__name__)}"
            )
        for size in ("N", "T", "d_in", "d_out", "loss"):
            mine, other = getattr(task, size, None), getattr(drawn, size, None)
            if mine != other:
                raise ShapeError(f"must have {size}={mine} like the task, got {other}")

    def fingerprint(self, seed: int) -> str:
        """Identifies the data in checkpoints: by the first epoch.

        Raises:
            TypeError, ValueError: see `at`; or two calls for one epoch differ.
        """
        first, again = (self.at(seed, 0).fingerprint() for _ in range(2))
        if first != again:
            raise ValueError(
                "data must be a function of the epoch and the generator it is given: two calls for "
                "epoch 0 differ. Draw from that generator, as in torch.randn(..., "
                "generator=generator)"
            )
        return f"{self.name}/{first}"


def changing_data(value: Any, task: Any, tol: float) -> ChangingData | None:
    """What an argument ``data`` names; None: the task's data stay.

    Raises:
        TypeError: neither a function nor a dataset. ValueError: ``tol`` beside it, a task that is
            no finite data, a dataset of another length.
    """
    if value is None:
        return None
    indexed = callable(getattr(value, "__getitem__", None)) and hasattr(value, "__len__")
    plain = isinstance(value, (type, str, bytes, torch.Tensor, np.ndarray, tuple, list, dict))
    if plain or not (callable(value) or indexed):
        hint = ""
        if isinstance(value, torch.utils.data.IterableDataset):
            hint = "; one that can only be iterated has no epochs to go back to"
        raise TypeError(
            "data must be a function (epoch, generator) -> (x, y) or a torch Dataset with a length "
            f"and items, got {_article(type(value).__name__)}{hint}"
        )
    if not isinstance(task, KINDS):
        raise ValueError(
            "data changes finite data: task must be an edt.Task, ModuleTask or FunctionTask, got "
            f"{_article(type(task).__name__)}"
        )
    if tol > 0.0:
        raise ValueError("tol needs data that stay: the gradient of changing data is noise")
    if not callable(value):
        if isinstance(task, ModuleTask) and not task.splits:
            raise ValueError("a Dataset needs a loss of outputs and targets; this task has step=")
        if len(value) != task.N:
            raise ShapeError(
                f"data must have as many items as the task, {task.N}, got {len(value)}"
            )
    return ChangingData(value, task)


class ChangingTrainer:
    """`edt.training.state.Trainer` whose steps see an epoch's data.

    An epoch is a pass through the data: ``ceil(N / batch_size)`` steps, one with full batches. What
    is recorded, what ``loss_target`` looks at (at the ends of epochs), and every loss and gradient
    outside a step are of the task itself.

    Args:
        data: where they come from.
        networks: B. index: int64 ``[B]``, which target each learns.
        task: of the networks' dtype, where losses are computed.
        engine: makes a trainer of (task, networks, task_index).
    """

    def __init__(
        self,
        data: ChangingData,
        networks: Any,
        task: Any,
        index: torch.Tensor,
        engine: Callable[[Any, Any, torch.Tensor], Trainer],
    ) -> None:
        self._data, self._networks, self._task = data, networks, task
        self._index, self._engine = index, engine
        self._fixed = engine(task, networks, index)
        self._sizes = networks.offsets.diff()
        self.loss, self.loss_and_grad = self._fixed.loss, self._fixed.loss_and_grad
        self.wait = self._fixed.wait
        #: By steps an epoch and seeds: (epoch, trainers with their networks), where that is one.
        self._known: dict[
            tuple[int, ...], tuple[int, list[tuple[torch.Tensor, Trainer]]]
        ] = {}  # fmt: skip

    def train(self, run: State, rule: Rule, until: int) -> None:
        """Run every running network to step ``until``; see `Trainer`."""
        size, aim = int(rule.hyper["batch_size"]), float(rule.hyper["loss_target"])
        length = -(-self._task.N // size) if size else 1
        hyper = {**rule.hyper, "tol": 0.0, "loss_target": -float("inf"), "last_step": _NEVER}
        within = replace(rule, hyper=hyper, record=rule.record[:0].clone())

        def decides(now: int) -> bool:
            return aim > -float("inf") and now % length == 0

        def move(now: int, _: torch.Tensor, end: int) -> None:
            epoch = now // length
            for members, engine in self._of_epoch(epoch, length, rule.seeds):
                _train_some(engine, members, run, within, min(end, (epoch + 1) * length))

        advance(run, rule, until, self._sizes, self._fixed, decides, move)

    def _of_epoch(
        self, epoch: int, length: int, seeds: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, Trainer]]:
        """(networks bool ``[B]``, their trainer on the epoch's data), some at a time."""
        key = (length, *seeds.tolist())
        known = self._known.get(key)
        if known is not None and known[0] == epoch:
            yield from known[1]
            return
        pairs = list(zip(seeds.tolist(), self._index.tolist(), strict=True))
        distinct = list(dict.fromkeys(pairs))
        several = hasattr(self._task, "joined")
        numbers = max(1, getattr(self._task, "numbers", 1))
        many = max(1, ROOM // numbers) if several else 1
        for first in range(0, len(distinct), many):
            part = distinct[first : first + many]
            places = {pair: k for k, pair in enumerate(part)}
            drawn = {seed: self._data.at(seed, epoch) for seed in {seed for seed, _ in part}}
            task = drawn[part[0][0]]
            if several:
                task = task.joined([(drawn[seed], t) for seed, t in part])
            networks = self._networks
            where = getattr(self._task, "device", networks.device)
            task = task.to(networks.dtype, device=where)
            index = torch.tensor([places.get(pair, 0) if several else 0 for pair in pairs])
            members = torch.tensor([pair in places for pair in pairs], device=networks.device)
            found = (members, self._engine(task, networks, index))
            if len(distinct) <= many:
                self._known[key] = (epoch, [found])
            yield found


def _train_some(engine: Trainer, members: torch.Tensor, run: State, rule: Rule, stop: int) -> None:
    others = ~members & (run.status == RUNNING)
    run.status[others] = _ASIDE
    try:
        engine.train(run, rule, stop)
        engine.wait()
    finally:
        run.status[others] = RUNNING


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Leaves the global generators of torch (of the CPU), Python and numpy as they were."""
    python, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)  # noqa: NPY002


def _article(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
