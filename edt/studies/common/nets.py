"""Networks of `edt.nets` in studies: which, on what data, and how they are trained."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from edt import nets, tasks
from edt.errors import unknown_choice
from edt.lottery.module_recipe import ModuleRecipe
from edt.show.words import exact
from edt.tasks import CropFlip, ModuleTask, Task
from edt.training.schedules import Milestones, Schedule, Warmup

__all__ = [
    "FOLDERS", "NETS", "TASKS", "check_net", "load", "recipe_of", "schedule", "title_of",
    "training",
]  # fmt: skip

#: Networks by name; all but the first take images.
NETS = ("lenet300", "lenet5", "conv2", "conv4", "conv6", "resnet20", "vgg11", "vgg16")
_TITLES = {
    "lenet300": "LeNet-300-100", "lenet5": "LeNet-5", "conv2": "Conv-2", "conv4": "Conv-4",
    "conv6": "Conv-6", "resnet20": "ResNet-20", "vgg11": "VGG-11", "vgg16": "VGG-16",
}  # fmt: skip
TASKS = ("mnist1d", "digits", "mnist", "fashion_mnist", "cifar10", "cifar100")
#: Tasks whose files lie in a folder.
FOLDERS = ("mnist", "fashion_mnist", "cifar10", "cifar100")
_SHAPES = {
    "mnist1d": (40,), "digits": (1, 8, 8), "mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28),
    "cifar10": (3, 32, 32), "cifar100": (3, 32, 32),
}  # fmt: skip


def title_of(net: str, factor: float = 1.0) -> str:
    """What people call a network.

    Example:
        >>> title_of("lenet5"), title_of("conv4", 0.25)
        ('LeNet-5', 'Conv-4 at 0.25 of its width')
    """
    return _TITLES[net] + ("" if factor == 1.0 else f" at {exact(factor)} of its width")


def check_net(net: str, task: str, factor: float) -> None:
    """Insist on a network that takes the task's samples.

    Raises:
        ValueError: an unknown network or task, one for images on signals, or images too small.
    """
    if net not in NETS:
        raise unknown_choice("net", net, NETS)
    if task not in TASKS:
        raise unknown_choice("task", task, TASKS)
    if net != "lenet300" and len(_SHAPES[task]) == 1:
        raise ValueError(f"net {net!r} takes images, and {task} has none; give net 'lenet300'")
    recipe_of(net, task, 10).builder(factor, 0)  # has the smallest sizes checked by the builder


def recipe_of(net: str, task: str, classes: int) -> ModuleRecipe:
    """How networks of a name start on a task."""
    shape = _SHAPES[task]
    return ModuleRecipe(partial(getattr(nets, net), shape=shape, classes=classes), shape)


def load(task: str, folder: str) -> tuple[Task, Task]:
    """Training and test data in float32, classes with cross-entropy.

    Raises:
        FileNotFoundError, IdxError, CifarError: files of the folder. ImportError: a package is
            missing.
    """
    read: Any = getattr(tasks, task)
    first = (folder,) if task in FOLDERS else ()
    train, test = (read(*first, part, dtype=torch.float32) for part in ("train", "test"))
    return train, test


def training(task: Task, crop: int, flip: bool) -> Any:
    """What networks are trained on: the task, or random crops and mirror images of it."""
    return ModuleTask(task, augment=CropFlip(crop, flip)) if crop or flip else task


def schedule(milestones: tuple[int, ...], gamma: float, warmup: int) -> Schedule:
    """The rate's factor: drops at milestones, after a rise over the first steps."""
    drops = Milestones(milestones, gamma)
    return Warmup(warmup, drops) if warmup else drops
