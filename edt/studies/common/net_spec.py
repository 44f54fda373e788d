"""What studies of networks of `edt.nets` have in common: data, start, training, judgement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch

from edt.ensemble import ModuleEnsemble
from edt.errors import unknown_choice
from edt.functional import predict
from edt.lottery.module_recipe import ModuleRecipe
from edt.ops.threads import one_blas_thread
from edt.runs.values import Budget, Count, Listed, NonNegative, Positive, Share, Whole
from edt.show.words import exact
from edt.studies.common.nets import (
    NETS,
    SHAPES,
    check_folder,
    check_net,
    data_text,
    load,
    recipe_of,
    schedule,
    title_of,
    training,
)
from edt.studies.common.spec_parts import FirstOrder, Seeded, TaskOf
from edt.tasks import Task
from edt.tasks.task_tables import task_name
from edt.training import masked_train

__all__ = ["Judged", "NetData", "NetSpec", "NetTask", "NetTraining", "accuracy", "train"]


@dataclass(frozen=True)
class NetTask(Seeded, FirstOrder, lr=0.05):
    """A network of `edt.nets`, whatever its width, its data, and first-order training.

    Attributes:
        net: network of `edt.nets`, e.g. lenet5, conv4, resnet20.
        folder: of the files; empty for the other tasks.
        samples: training samples at most; 0: all.
        steps, lr, batch: of training.
        momentum, weight_decay: of the optimiser.
        milestones: steps at which the rate is multiplied by ``gamma``.
        gamma: see ``milestones``.
        warmup: steps over which the rate rises from 0 at first.
        crop: pixels by which images are moved at random in training.
        flip: whether they are mirrored at random.
    """

    net: str = "lenet5"
    task: Annotated[Any, TaskOf(tuple(SHAPES))] = "digits"
    folder: str = ""
    samples: Budget = 0
    steps: Count = 200
    batch: Count = 64
    momentum: NonNegative = 0.9
    weight_decay: NonNegative = 0.0
    milestones: Annotated[tuple[int, ...], Listed(Whole(0), 0)] = (100, 150)
    gamma: Positive = 0.1
    warmup: Budget = 0
    crop: Budget = 0
    flip: bool = False

    def check(self) -> None:
        super().check()
        if self.net:
            check_net(self.net, self.task, self.widest)
        check_folder(self.task, self.folder)

    def outside(self) -> tuple[str, ...]:
        """The folder of the data, for tasks that have one; or where one's own come from."""
        return (self.folder,) if self.folder else super().outside()

    @property
    def widest(self) -> float:
        """Largest width factor."""
        return 1.0

    @property
    def on(self) -> str:
        """Name of the data."""
        return task_name(self.task)

    @property
    def method(self) -> list[tuple[str, str]]:
        """Data and training in words, for pages."""
        rate = f"SGD, rate {exact(self.lr)}, momentum {exact(self.momentum)}"
        drops = ", ".join(f"{step:,}" for step in self.milestones)
        changed = " on random crops" * bool(self.crop) + " and mirror images" * self.flip
        return [
            ("Data", f"{data_text(self.task)}, cross-entropy; judged on its test images"),
            (
                "Training",
                f"{rate}, times {exact(self.gamma)} at steps {drops or 'none'}, batches of "
                f"{self.batch}"
                f"{changed}, {self.steps:,} steps; the order of samples belongs to the parent",
            ),
        ]


@dataclass(frozen=True)
class NetTraining(NetTask):
    """Networks of one width.

    Attributes:
        factor: width factor of ``net``; 1 is the paper's.
    """

    factor: Positive = 0.25

    @property
    def widest(self) -> float:
        """The only one."""
        return self.factor


@dataclass(frozen=True)
class NetSpec(NetTraining):
    """Networks of torch modules, their data, and how they are trained and judged.

    Attributes:
        factor: width factor; 1 is the paper's.
        task: "digits" (scikit-learn's 8 x 8 images), "mnist1d" (with net lenet300), or "mnist",
            "fashion_mnist", "cifar10", "cifar100" (files in ``folder``); or data of your own with
            classes: a file, "module:function" or an `edt.Task`, as a table with a ``shape`` where
            the samples are images.
        steps, lr, batch: of SGD with momentum.
        level: quantile of the dense networks' test accuracies at and above which a network wins.
        seed: of every draw of the experiment.
    """

    level: Share = 0.5

    def check(self) -> None:
        super().check()
        if not self.net:
            raise unknown_choice("net", self.net, NETS)

    @property
    def method(self) -> list[tuple[str, str]]:
        """Networks, data and training in words, for pages."""
        return [
            ("Networks", f"{title_of(self.net, self.factor)}, float32"),
            *super().method,
            (
                "Win",
                f"a test accuracy at or above the {100 * self.level:g}% quantile of the dense "
                "networks'",
            ),
        ]


class NetData(NamedTuple):
    """What networks of a spec learn, and are judged on."""

    train: Task
    test: Task
    recipe: ModuleRecipe

    @classmethod
    def of(cls, spec: NetTask) -> NetData:
        """The data of a spec.

        Raises:
            FileNotFoundError, IdxError, CifarError: files. ImportError: a package is missing.
        """
        train_, test = load(spec.task, spec.folder)
        if spec.samples:
            train_ = Task(train_.x[: spec.samples], train_.y[: spec.samples], train_.loss,
                          name=train_.name, n_classes=train_.d_out)  # fmt: skip
        return cls(train_, test, recipe_of(spec.net, spec.task, train_))


class Judged(NamedTuple):
    """Where training ended.

    Attributes:
        networks: trained.
        loss: float64 ``[B]``, on the training data.
        accuracy: float64 ``[B]``, on the test data.
    """

    networks: ModuleEnsemble
    loss: torch.Tensor
    accuracy: torch.Tensor


def train(
    spec: NetTask,
    data: NetData,
    networks: ModuleEnsemble,
    seeds: torch.Tensor,
    steps: int | None = None,
) -> Judged:
    """Train networks as a spec says and judge them.

    On one thread of torch, since the bits of modules depend on how many there are.

    Args:
        spec, data: how and on what.
        networks: B networks.
        seeds: int64 ``[B]``, of the order of samples.
        steps: fewer than the spec's, for rewinding.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    with one_blas_thread():
        result = masked_train(
            training(data.train, spec.crop, spec.flip),
            networks,
            optimizer="sgd",
            steps=spec.steps if steps is None else steps,
            lr=spec.lr,
            momentum=spec.momentum,
            weight_decay=spec.weight_decay,
            batch_size=spec.batch,
            schedule=schedule(spec.milestones, spec.gamma, spec.warmup),
            data_seed=seeds,
            record=None,
            progress=False,
        )
        if result.interrupted:
            raise KeyboardInterrupt
        return Judged(result.networks, result.loss, accuracy(result.networks, data.test))


def accuracy(networks: Any, task: Task) -> torch.Tensor:
    """Share of samples whose largest output is that of their class, float64 ``[B]``.

    A sample whose outputs are not finite (a diverged network's) counts as wrong.

    Args:
        networks: B networks.
        task: cross-entropy task.
    """
    data = task.to(networks.dtype)
    step = max(1, (1 << 24) // max(task.N * task.d_out, 1))
    parts = []
    for first in range(0, networks.B, step):
        some = networks.select(range(first, min(first + step, networks.B)))
        outputs = predict(some, data)
        # The largest of numbers that are none has no class: such an answer is wrong.
        right = (outputs.argmax(2) == task.y) & torch.isfinite(outputs).all(2)
        parts.append(right.double().mean(1))
    return torch.cat(parts)
