"""Networks of `edt.nets` in studies: which, on what data, and how they are trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from edt import nets, tasks
from edt.errors import unknown_choice
from edt.limits import insist
from edt.lottery.module_recipe import ModuleRecipe
from edt.show.words import exact
from edt.studies.common.targets import custom_text
from edt.tasks import CropFlip, ModuleTask, Task
from edt.tasks.inputs import permutation
from edt.tasks.task_tables import make_task, task_name
from edt.training.schedules import Milestones, Schedule, Warmup

__all__ = [
    "FOLDERS", "NETS", "SHAPES", "check_folder", "check_net", "data_text", "load", "recipe_of",
    "schedule", "title_of", "training",
]  # fmt: skip

#: Networks by name; all but the first take images.
NETS = ("lenet300", "lenet5", "conv2", "conv4", "conv6", "resnet20", "vgg11", "vgg16")
_TITLES = {
    "lenet300": "LeNet-300-100", "lenet5": "LeNet-5", "conv2": "Conv-2", "conv4": "Conv-4",
    "conv6": "Conv-6", "resnet20": "ResNet-20", "vgg11": "VGG-11", "vgg16": "VGG-16",
}  # fmt: skip
#: Tasks by name: the shape of a sample; those whose files lie in a folder.
SHAPES = {
    "mnist1d": (40,), "digits": (1, 8, 8), "mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28),
    "cifar10": (3, 32, 32), "cifar100": (3, 32, 32),
}  # fmt: skip
FOLDERS = ("mnist", "fashion_mnist", "cifar10", "cifar100")


def title_of(net: str, factor: float = 1.0) -> str:
    """What people call a network.

    Example:
        >>> title_of("lenet5"), title_of("conv4", 0.25)
        ('LeNet-5', 'Conv-4 at 0.25 of its width')
    """
    return _TITLES[net] + ("" if factor == 1.0 else f" at {exact(factor)} of its width")


def check_net(net: str, task: Any, factor: float) -> None:
    """Insist on a network that takes the task's samples.

    Raises:
        ValueError: an unknown network, one for images on signals, or images too small.
        TooLargeError: its parameters do not fit in memory.
    """
    if net not in NETS:
        raise unknown_choice("net", net, NETS)
    shape = _shape(task)
    if net != "lenet300" and len(shape) == 1:
        why = " (say shape = [channels, height, width] where yours are)"
        raise ValueError(
            f"net {net!r} takes images, and {task_name(task)} has none"
            f"{why if isinstance(task, Mapping) else ''}; give net 'lenet300'"
        )
    with torch.device("meta"):  # sizes without numbers
        made = _recipe(net, shape, 10).builder(factor, 0)
    count = sum(parameter.numel() for parameter in made.parameters())
    # In training: parameters, gradients, momentum, and a start to come back to.
    insist(f"{net} with factor {factor:g} ({count:,} parameters)", 4 * 4 * count)


def check_folder(task: Any, folder: str) -> None:
    """Insist on a folder for those tasks that have one.

    Raises:
        ValueError: there is none, or one for another task.
    """
    if (task in FOLDERS) != bool(folder):
        raise ValueError(
            f"folder is for tasks {', '.join(FOLDERS)}, which need it: where the files are"
        )


def recipe_of(net: str, task: Any, data: Task) -> ModuleRecipe:
    """How networks of a name start on a task, whose training data are these."""
    plain = isinstance(task, Mapping) and "shape" not in task
    return _recipe(net, (data.d_in,) if plain else _shape(task), data.d_out)


def _recipe(net: str, shape: tuple[int, ...], classes: int) -> ModuleRecipe:
    return ModuleRecipe(partial(getattr(nets, net), shape=shape, classes=classes), shape)


def _shape(task: Any) -> tuple[int, ...]:
    """Of a sample; of one's own data without one, whatever suits a network of plain inputs."""
    if not isinstance(task, Mapping):
        return SHAPES[task]
    return tuple(task.get("shape", (1,)))


def load(task: Any, folder: str) -> tuple[Task, Task]:
    """Training and test data in float32, classes with cross-entropy.

    Of one's own data a fifth, drawn at random, is for the test.

    Raises:
        FileNotFoundError, IdxError, CifarError: files of the folder. ImportError: a package is
            missing. ValueError: data of one's own without classes, or of another shape.
    """
    if isinstance(task, Mapping):
        return _custom_parts(task)
    read: Any = getattr(tasks, task)
    first = (folder,) if task in FOLDERS else ()
    train, test = (read(*first, part, dtype=torch.float32) for part in ("train", "test"))
    return train, test


def data_text(task: Any) -> str:
    """The data in words."""
    if isinstance(task, Mapping):
        return f"{custom_text(task)}; a fifth of the samples, drawn at random, is the test set"
    return str(task)


def _custom_parts(table: Mapping[str, Any]) -> tuple[Task, Task]:
    whole = make_task(table).to(torch.float32)
    if whole.loss != "cross_entropy" or whole.T != 1 or whole.N < 10:
        raise ValueError(
            "task must have classes, loss 'cross_entropy' and at least 10 samples for networks of "
            f"this study, got {whole!r}"
        )
    if math.prod(table.get("shape", (whole.d_in,))) != whole.d_in:
        raise ValueError(f"task shape must have {whole.d_in} numbers, got {table['shape']}")
    order = permutation(0, whole.N)
    held = whole.N // 5
    test, train = (
        Task(whole.x[rows], whole.y[rows], whole.loss, whole.coef[0, rows], whole.name,
             n_classes=whole.d_out)
        for rows in (order[:held].sort().values, order[held:].sort().values)
    )  # fmt: skip
    return train, test


def training(task: Task, crop: int, flip: bool) -> Any:
    """What networks are trained on: the task, or random crops and mirror images of it."""
    return ModuleTask(task, augment=CropFlip(crop, flip)) if crop or flip else task


def schedule(milestones: tuple[int, ...], gamma: float, warmup: int) -> Schedule:
    """The rate's factor: drops at milestones, after a rise over the first steps."""
    drops = Milestones(milestones, gamma)
    return Warmup(warmup, drops) if warmup else drops
