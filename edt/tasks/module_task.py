"""`ModuleTask`: what torch modules learn, from tensors, batches or a loss of one's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence, Sized
from contextlib import suppress
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from edt.ensemble.arrays import as_tensor
from edt.ensemble.module_ensemble import ModuleEnsemble
from edt.errors import ShapeError, unknown_choice
from edt.frames import card
from edt.objectives.batches import Batch
from edt.objectives.function import SampleLoss
from edt.objectives.modules import ModuleObjective
from edt.ops.losses import LOSSES, Loss
from edt.scalars import integer
from edt.tasks.task import Task

__all__ = ["ModuleTask"]


def _summed(loss: Loss) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A loss's value for each sample, over outputs of any shape."""
    return lambda f, y: loss.sample(f.reshape(f.shape[0], -1), y.reshape(f.shape[0], -1))


#: Losses by name, ``(outputs, target) -> one number a sample``.
PER_SAMPLE: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    **{name: _summed(loss) for name, loss in LOSSES.items()},
    # Classes on axis 1, mean over further axes (sequences).
    "cross_entropy": lambda f, y: (
        F.cross_entropy(f, y, reduction="none").reshape(f.shape[0], -1).mean(1)
    ),
}
MODES = ("eval", "train")


class ModuleTask:
    """Data and a loss for networks of any kind: ``L_b = sum_k share_k loss(batch_k; theta_b)``.

    The loss of the data is the mean over samples. Batches are added in order, so every call gives
    the same bits; they are kept in memory. (Batch norm in ``mode="train"`` uses each batch's own
    statistics: then the loss depends on how the samples are split.)

    Args:
        data: ``(x [N, ...], y [N, ...])`` of tensors, an `edt.Task`, or batches: a list, or a
            `torch.utils.data.DataLoader` that does not shuffle (read once).
        loss: a loss of `edt.Task` (default "mse" where y of ``(x, y)`` is floating),
            "cross_entropy" (the default else; classes on axis 1 of the outputs, mean over further
            axes), or a function ``(outputs, target) -> mean over the
            batch``, differentiable twice.
        step: instead of ``loss``, a function ``(module, batch) -> mean over the batch`` of a batch
            of any form, e.g. ``lambda module, batch: module(**batch).loss``.
        size: samples of a batch, for ``step``: a function ``batch -> int``; default: the first
            axis of its first tensor.
        mode: "eval", or "train" for batch statistics and dropout.
        augment: a function ``(inputs [n, ...], generator) -> inputs``, random changes of what
            training steps see (`edt.tasks.CropFlip`); drawn anew by ``data_seed`` and step.
        at_once: samples of ``(x, y)`` evaluated together.
        name: for tables and pictures.

    Attributes:
        N: samples. T: targets, 1 unless made of an `edt.Task` with several.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.

    Example:
        >>> task = ModuleTask((torch.randn(20, 1, 8, 8), torch.arange(20) % 10), "cross_entropy")
        >>> task
        ModuleTask(20 samples in 1 batch, cross_entropy)
    """

    #: See `edt.tasks.given.moves`.
    moves = True

    def __init__(
        self,
        data: Any,
        loss: Any = None,
        *,
        step: Callable[[Any, Any], torch.Tensor] | None = None,
        size: Callable[[Any], int] | None = None,
        mode: str = "eval",
        augment: Callable[[Any, torch.Generator], Any] | None = None,
        at_once: int = 1024,
        name: str | None = None,
    ) -> None:
        if mode not in MODES:
            raise unknown_choice("mode", str(mode), MODES)
        at_once = integer("at_once", at_once)
        if step is not None and (loss is not None or not callable(step)):
            raise TypeError(
                "step must be a function (module, batch) -> loss, given instead of loss"
            )
        if augment is not None and not callable(augment):
            raise TypeError(f"augment must be a function (inputs, generator), got {augment!r:.60}")
        if isinstance(data, Task):
            same = loss is None or (isinstance(loss, str) and loss == data.loss)
            if step is not None or not same:
                raise ValueError(f"an edt.Task has a loss of its own ({data.loss}), got another")
            loss = data.loss
        elif step is None:
            loss = _usual(data) if loss is None else loss
            if not callable(loss) and not (isinstance(loss, str) and loss in PER_SAMPLE):
                raise unknown_choice("loss", loss, [*PER_SAMPLE, "a function"])
        self.mode, self.name, self.step, self.augment = mode, name, step, augment
        self._loss = loss
        #: Name of the loss.
        self.loss: str = _name_of(step if loss is None else loss)
        #: ``(outputs, target) -> [n]`` of a `FunctionTask`: weighted by sample.
        self.each: SampleLoss | None = None
        self._temperature = 1.0
        self._whole = _samples(data, step)
        self._at_once = at_once
        if augment is not None and self._whole is None:
            raise ValueError(
                "augment needs samples to change; this task is made of batches: change them there"
            )
        self.targets: list[list[Batch]] = (
            _given(data, step, size)
            if self._whole is None
            else [_split(x, y, weights, at_once) for x, y, weights in self._whole]
        )
        self.N = sum(batch.n for batch in self.targets[0])
        self.T = len(self.targets)

    @classmethod
    def of_samples(
        cls, x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor, each: SampleLoss, name: str
    ) -> ModuleTask:
        """``L = sum_n weights_n each(f_n, y_n)``; where ``each`` bends down, Gauss-Newton takes 0.

        Args:
            x, y: ``[N, ...]``. weights: ``[N]``.
            each: ``(outputs, y) -> [n]``, a number a sample that depends on nothing but the sample.
            name: of the loss.
        """
        out = cls((x, y), each)
        out.each, out.loss = each, name
        out._whole = [(x, y, weights)]
        out.targets = [_split(x, y, weights, out._at_once)]
        return out

    def with_temperature(self, temperature: float) -> ModuleTask:
        """The loss of outputs divided by a number.

        Raises:
            TypeError: a loss that is not one of outputs by name.
        """
        if self._loss not in PER_SAMPLE or self.each is not None:
            raise TypeError(f"temperature needs a loss of outputs by name, got {self.loss}")
        out = object.__new__(type(self))
        out.__dict__.update(self.__dict__)
        out._temperature = self._temperature * temperature
        return out

    def with_targets(
        self, targets: list[list[Batch]], loss: Callable[[Any, Any], torch.Tensor], name: str
    ) -> ModuleTask:
        """Other batches and a loss of their own, in the same mode.

        Args:
            targets: batches of each target.
            loss: ``(outputs, target) -> a number``, multiplied by each batch's share.
            name: of the loss.
        """
        out = object.__new__(type(self))
        out.__dict__.update(self.__dict__)
        out._loss, out.loss, out.step, out.each, out._whole = loss, name, None, None, None
        out.targets, out.T = targets, len(targets)
        return out

    @classmethod
    def of(cls, task: Any) -> ModuleTask:
        """A task as modules take it: itself, or one made of an `edt.Task` or ``(x, y)``."""
        return task if isinstance(task, ModuleTask) else cls(task)

    @property
    def splits(self) -> bool:
        """Whether the loss is a function of outputs, as Gauss-Newton products need."""
        return self.step is None

    def full_batch(self, t: int) -> tuple[Any, Any, torch.Tensor | None] | None:
        """(inputs, targets, weights) of all samples of target t; None where batches are given."""
        return None if self._whole is None else self._whole[t]

    @property
    def named_loss(self) -> str | None:
        """The loss's name where it is one of the table, of outputs as they are."""
        plain = isinstance(self._loss, str) and self.each is None and self._temperature == 1.0
        return self.loss if plain else None

    @property
    def squares(self) -> bool:
        """Whether the loss is a mean of squares."""
        return bool(self._loss == "mse")

    def value(self, module: Callable[..., Any], batch: Batch) -> torch.Tensor:
        """The batch's part of the loss, a number."""
        if self.step is not None:
            return batch.share * self._number(self.step(module, batch.content))
        inputs, target = batch.content
        return self.criterion(self.outputs(module, inputs), target, batch)

    def outputs(self, module: Callable[..., Any], inputs: Any) -> torch.Tensor:
        """What the module makes of inputs."""
        out = module(*inputs) if isinstance(inputs, tuple) else module(inputs)
        if not isinstance(out, torch.Tensor):
            raise TypeError(
                f"a module must return a tensor for loss={self.loss!r}, got {type(out).__name__}; "
                "give ModuleTask(step=...) to make a loss of it"
            )
        return out

    def criterion(self, outputs: torch.Tensor, target: Any, batch: Batch) -> torch.Tensor:
        """The batch's part of the loss from its outputs."""
        if self._temperature != 1.0:
            outputs = outputs / self._temperature
        if self.each is not None:
            found = self.each(outputs, target)
            if not isinstance(found, torch.Tensor) or tuple(found.shape) != (batch.n,):
                given = list(found.shape) if isinstance(found, torch.Tensor) else type(found)
                raise ShapeError(f"loss must return a tensor [{batch.n}], got {given}")
            assert batch.weights is not None
            return (found * batch.weights).sum()
        if callable(self._loss):
            return batch.share * self._number(self._loss(outputs, target))
        if self._loss != "cross_entropy" and outputs.shape != target.shape:
            raise ShapeError(
                f"targets must have the shape of the outputs {list(outputs.shape)}, got "
                f"{list(target.shape)}"
            )
        each = self._each(outputs, target)
        if batch.weights is None:
            return each.sum() * (batch.share / batch.n)
        return (each * batch.weights).sum()

    @property
    def per_sample(self) -> SampleLoss | None:
        """``(outputs, target) -> [n]`` of a loss that adds up over samples; None: any other."""
        found = self.each
        if found is None and self.splits and not callable(self._loss):
            found = PER_SAMPLE[self._loss]
        if found is None or self._temperature == 1.0:
            return found
        plain = found
        return lambda f, y: plain(f / self._temperature, y)

    def _each(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Losses of the samples, of outputs that fit the targets."""
        if self._loss == "cross_entropy" and (
            outputs.dim() < 2 or outputs.shape[:1] != target.shape[:1]
        ):
            raise ShapeError(
                f"modules must return outputs [{', '.join(map(str, target.shape[:1]))}, classes] "
                f"for targets {list(target.shape)}, got {list(outputs.shape)}"
            )
        try:
            return PER_SAMPLE[self._loss](outputs, target)
        except IndexError as error:
            raise ShapeError(
                "modules must return an output for every class, got "
                f"{outputs.shape[1]}: {str(error).rstrip('.').lower()}"
            ) from error

    def _number(self, value: Any) -> torch.Tensor:
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            got = (
                f"shape {list(value.shape)}"
                if isinstance(value, torch.Tensor)
                else type(value).__name__
            )
            raise ShapeError(f"loss {self.loss!r} must return one number a batch, got {got}")
        return value.reshape(())

    @property
    def numbers(self) -> int:
        """How many numbers one target's samples are."""
        leaves = (leaf for b in self.targets[0] for leaf in pytree.tree_leaves(b.content))
        return sum(leaf.numel() for leaf in leaves if isinstance(leaf, torch.Tensor))

    def with_samples(self, x: Any, y: Any) -> ModuleTask:
        """The same task with other inputs and targets; loss, mode and sample weights stay.

        Args:
            x, y: tensors ``[N, ...]``.

        Raises:
            TypeError, ValueError: not as many samples, or a task made of batches.
        """
        if self._whole is None or self.T > 1:
            raise TypeError(
                "(x, y) can only replace those of one target; this task is made of batches or has "
                f"{self.T} targets: give a whole ModuleTask"
            )
        inputs, targets, weights = self._whole[0]
        given = []
        for name, part, like in (("x", x, inputs), ("y", y, targets)):
            part = as_tensor(name, part)
            if part.dim() < 1 or part.shape[0] != self.N:
                raise ShapeError(f"{name} must have {self.N} samples, got {list(part.shape)}")
            if part.is_floating_point() != like.is_floating_point():
                raise TypeError(f"{name} must be {like.dtype} like the task's, got {part.dtype}")
            given.append(part.to(like.dtype))
        out = object.__new__(type(self))
        out.__dict__.update(self.__dict__)
        out._whole = [(given[0], given[1], weights)]
        out.targets = [_split(given[0], given[1], weights, self._at_once)]
        return out

    @classmethod
    def joined(cls, parts: Sequence[tuple[ModuleTask, int]]) -> ModuleTask:
        """The task whose targets are those of others: for each pair, target t of a task.

        Args:
            parts: (task, t), tasks of one loss and mode; at least one.
        """
        first = parts[0][0]
        out = object.__new__(cls)
        out.__dict__.update(first.__dict__)
        if first._whole is not None:
            out._whole = [task._whole[t] for task, t in parts if task._whole is not None]
        out.targets = [task.targets[t] for task, t in parts]
        out.T = len(parts)
        return out

    def to(self, dtype: torch.dtype | None = None, device: Any = None) -> ModuleTask:
        """The same with floating tensors in a dtype and all on a device."""

        def move(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            kind = dtype if dtype is not None and value.is_floating_point() else value.dtype
            return value.to(value.device if device is None else device, kind)

        out = object.__new__(type(self))
        out.__dict__.update(self.__dict__)
        if self._whole is not None:
            out._whole = pytree.tree_map(move, self._whole)
        out.targets = [
            [
                Batch(pytree.tree_map(move, b.content), b.share, move(b.weights), b.n)
                for b in batches
            ]
            for batches in self.targets
        ]
        return out

    def objective(self, networks: Any, task_index: torch.Tensor | None = None) -> ModuleObjective:
        """The losses of module networks, an `edt.objectives.ModuleObjective`.

        Args:
            networks: an `edt.ModuleEnsemble`; data are taken to its dtype and device.
            task_index: int64 ``[B]``, default the first target.

        Raises:
            TypeError: other networks.
        """
        if not isinstance(networks, ModuleEnsemble):
            raise TypeError(
                f"a ModuleTask needs an edt.ModuleEnsemble, got {type(networks).__name__}; "
                "edt.Task is for both kinds of networks"
            )
        if task_index is None:
            task_index = torch.zeros(networks.B, dtype=torch.int64)
        return ModuleObjective(networks, self.to(networks.dtype, networks.device), task_index)

    def target_size(self) -> torch.Tensor:
        """float64 ``[T]``, weighted mean of the squared targets; 1 where the loss is no square."""
        if not self.squares:
            return torch.ones(self.T, dtype=torch.float64)
        sums = []
        for batches in self.targets:
            total = torch.zeros((), dtype=torch.float64)
            for batch in batches:
                each = batch.content[1].double().reshape(batch.n, -1).square().sum(1)
                weights = batch.weights
                total += (
                    each.sum() * (batch.share / batch.n)
                    if weights is None
                    else (each * weights.double()).sum()
                ).cpu()
            sums.append(total)
        return torch.stack(sums)

    def fingerprint(self) -> str:
        """Identifies data, loss and mode in checkpoints."""
        heat = "" if self._temperature == 1.0 else f"/{self._temperature}"
        mark = hashlib.sha256(f"{self.loss}/{self.mode}{heat}".encode())
        for batches in self.targets:
            for batch in batches:
                leaves, shape = pytree.tree_flatten((batch.content, batch.weights, batch.share))
                mark.update(repr(shape).encode())
                for leaf in leaves:
                    if isinstance(leaf, torch.Tensor):
                        data = leaf.detach().cpu().contiguous()
                        mark.update(f"{data.dtype}{list(data.shape)}".encode())
                        mark.update(data.reshape(-1).view(torch.uint8).numpy().tobytes())
                    else:
                        mark.update(repr(leaf).encode())
        if self.augment is not None:
            known = getattr(self.augment, "__qualname__", None)
            mark.update((known or repr(self.augment)).encode())
        return f"modules/{mark.hexdigest()[:32]}"

    def _repr_html_(self) -> str:
        """What notebooks show: the batches of each target."""
        rows = [
            {"target": t, "batch": k, "samples": batch.n, "share": f"{batch.share:.4g}",
             "tensors": ", ".join(
                 str(list(leaf.shape)) for leaf in pytree.tree_leaves(batch.content)
                 if isinstance(leaf, torch.Tensor))}
            for t, batches in enumerate(self.targets)
            for k, batch in enumerate(batches)
        ]  # fmt: skip
        return card(repr(self), rows[:12], len(rows))

    def __repr__(self) -> str:
        count = len(self.targets[0])
        many = f", {self.T} targets" if self.T > 1 else ""
        mode = ", train mode" if self.mode == "train" else ""
        return (
            f"ModuleTask({self.N:,} samples in {count} batch{'es' if count > 1 else ''}, "
            f"{self.loss}{many}{mode})"
        )


def _usual(data: Any) -> str:
    """The loss of data that come without one: classes have whole numbers."""
    pair = data if isinstance(data, (tuple, list)) and len(data) == 2 else None
    target = pair[1] if pair else None
    floating = isinstance(target, torch.Tensor) and target.is_floating_point()
    return "mse" if floating else "cross_entropy"


def _name_of(loss: Any) -> str:
    return loss if isinstance(loss, str) else str(getattr(loss, "__name__", type(loss).__name__))


Samples = tuple[torch.Tensor, torch.Tensor, "torch.Tensor | None"]


def _samples(data: Any, step: Any) -> list[Samples] | None:
    """(inputs, targets, weights) of each target, or None: the data come in batches."""
    if isinstance(data, Task):
        return [
            (
                data.x if data.x.dim() == 2 else data.x[t],
                data.y if data.y.dim() == LOSSES[data.loss].dims else data.y[t],
                data.coef[t],
            )
            for t in range(data.T)
        ]
    if step is not None or not (
        isinstance(data, (tuple, list))
        and len(data) == 2
        and all(isinstance(part, torch.Tensor) for part in data)
    ):
        return None
    x, y = data
    if x.dim() < 1 or y.dim() < 1 or x.shape[0] != y.shape[0] or x.shape[0] < 1:
        raise ShapeError(
            f"data must have as many inputs as targets, at least one, got x "
            f"{list(x.shape)} and y {list(y.shape)}"
        )
    return [(x, y, None)]


def _given(data: Any, step: Any, size: Any) -> list[list[Batch]]:
    """Batches as they are given."""
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes, torch.Tensor, dict)):
        raise TypeError(
            "data must be (x, y), an edt.Task, or batches (a list or a DataLoader), got "
            f"{type(data).__name__}"
        )
    _refuse_shuffling(data)
    contents, said = list(data), None
    with suppress(TypeError):  # a DataLoader of a stream has no length, though it is `Sized`
        said = len(data) if isinstance(data, Sized) else None
    if said is not None and len(contents) != said:
        raise ValueError(f"data ended after {len(contents)} batches, it said {said}")
    if not contents:
        raise ValueError("data must hold at least one batch, got none")
    if step is None:
        for k, content in enumerate(contents):
            if not isinstance(content, (tuple, list)) or len(content) != 2:
                raise TypeError(
                    f"batch {k} must be a pair (inputs, target), got {type(content).__name__}; "
                    "give step=... for batches of another form"
                )
        contents = [(inputs, target) for inputs, target in contents]
    counts = [_count(k, content, size) for k, content in enumerate(contents)]
    total = sum(counts)
    return [
        [
            Batch(content, count / total, None, count)
            for content, count in zip(contents, counts, strict=True)
        ]
    ]


def _split(
    x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None, at_once: int
) -> list[Batch]:
    total = int(x.shape[0])
    out = []
    for start in range(0, total, at_once):
        part = slice(start, min(start + at_once, total))
        n = part.stop - part.start
        mine = None if weights is None else weights[part]
        share = n / total if mine is None else float(mine.double().sum())
        out.append(Batch((x[part], y[part]), share, mine, n))
    return out


def _count(k: int, content: Any, size: Any) -> int:
    if size is not None:
        count = int(size(content))
    else:
        first = next(
            (leaf for leaf in pytree.tree_leaves(content) if isinstance(leaf, torch.Tensor)), None
        )
        if first is None or first.dim() < 1:
            raise TypeError(f"batch {k} holds no tensor to count samples by; give size=...")
        count = int(first.shape[0])
    if count < 1:
        raise ValueError(f"batch {k} must hold at least one sample, got {count}")
    return count


def _refuse_shuffling(data: Any) -> None:
    sampler = getattr(data, "sampler", None)
    if isinstance(sampler, torch.utils.data.RandomSampler):
        raise ValueError(
            "data shuffles: sums over batches would differ from call to call; give a DataLoader "
            "with shuffle=False (training shuffles by data_seed itself)"
        )
