"""What a lottery experiment is: iterative pruning at real size, with its controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edt.ensemble import ACTIVATIONS, SCHEMES
from edt.errors import unknown_choice
from edt.runs.experiment import Spec
from edt.scalars import integer
from edt.studies.common.nets import TASKS, check_folder, check_net
from edt.tasks.table import own_task, task_name

METHODS = ("ticket", "reinit", "random", "shuffled", "signed", "oneshot", "snip", "grasp")

#: Numbers that may be 0.
FROM_ZERO = (
    "samples", "rewind", "patience", "seed", "rounds", "warmup", "crop", "momentum", "weight_decay",
)  # fmt: skip


@dataclass(frozen=True)
class LotterySpec(Spec):
    """Iterative magnitude pruning with rewinding, and what it is compared with.

    Attributes:
        task: "mnist1d" (4,000 training signals of 40 numbers), "digits" (scikit-learn's 8 x 8
            images), or "mnist", "fashion_mnist", "cifar10", "cifar100" (files in ``folder``); or
            data of your own with classes: a file, "module:function" or an `edt.Task`, as a table
            with a ``shape`` where the samples are images.
        folder: of the files; empty for the other tasks.
        samples: training samples at most; 0: all.
        validation_share: of the training samples, held out to watch.
        net: network of `edt.nets`, e.g. lenet5, conv4, resnet20. Empty: a chain of ``hidden``.
        factor: width factor of ``net``; 1 is the paper's.
        hidden: hidden widths; of chains, like ``activation`` and ``init``.
        activation, init: of the networks.
        seeds: networks, each with its own start, order of samples and controls.
        rounds: prunings.
        share_hidden, share_out: of the remaining weights that each round prunes, in the hidden
            layers and in the last one.
        scope: "layer", "global" (one share: ``share_hidden``) or "neuron".
        methods: "ticket" (always first) and what it is compared with at every sparsity:
            "reinit" (same mask, new weights), "random" (random mask of the same layer densities),
            "shuffled" (mask and weights moved together), "signed" (new weights of the same signs),
            "oneshot" (pruned at once by the dense network's magnitudes, rewound), "snip", "grasp".
        rewind: step the survivors go back to.
        steps, lr, batch: of training.
        optimizer: "adam", or "sgd" with ``momentum``.
        momentum, weight_decay: of the optimiser.
        milestones: steps at which the rate is multiplied by ``gamma``.
        gamma: see ``milestones``.
        warmup: steps over which the rate rises from 0 at first.
        crop: pixels by which images are moved at random in training; needs ``net``.
        flip: whether they are mirrored at random; needs ``net``.
        validate_every: steps between evaluations of the validation loss.
        patience: evaluations without a new least validation loss before a network stops; 0:
            never.
        seed: of starts, splits and controls.
    """

    task: Any = "mnist1d"
    folder: str = ""
    samples: int = 0
    validation_share: float = 0.1
    net: str = ""
    factor: float = 1.0
    hidden: tuple[int, ...] = (300, 100)
    activation: str = "relu"
    init: str = "glorot"
    seeds: int = 5
    rounds: int = 16
    share_hidden: float = 0.2
    share_out: float = 0.1
    scope: str = "layer"
    methods: tuple[str, ...] = ("ticket", "reinit", "random")
    rewind: int = 0
    steps: int = 4000
    lr: float = 1.2e-3
    batch: int = 60
    optimizer: str = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup: int = 0
    crop: int = 0
    flip: bool = False
    validate_every: int = 100
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", own_task(self.task, TASKS))
        for name, allowed in (
            ("activation", ACTIVATIONS), ("init", SCHEMES),
            ("scope", ("layer", "global", "neuron")), ("optimizer", ("adam", "sgd")),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise unknown_choice(name, getattr(self, name), list(allowed))
        for method in self.methods:
            if method not in METHODS:
                raise unknown_choice("methods", method, list(METHODS))
        if not self.methods or self.methods[0] != "ticket":
            raise ValueError(f"methods must begin with 'ticket', got {self.methods}")
        check_folder(self.task, self.folder)
        self.check_numbers(from_zero=FROM_ZERO)
        for name in ("validation_share", "share_hidden", "share_out"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} must be below 1, got {getattr(self, name)}")
        if self.rewind >= self.steps:
            raise ValueError(f"rewind must be below steps ({self.steps}), got {self.rewind}")
        if not self.hidden or any(not isinstance(h, int) or h < 1 for h in self.hidden):
            raise ValueError(f"hidden must hold widths of at least 1, got {self.hidden}")

        if self.net:
            check_net(self.net, self.task, self.factor)
            if self.scope == "neuron":
                raise ValueError("scope 'neuron' is for chains, not with net")
        elif self.crop or self.flip:
            raise ValueError("crop and flip need net, a network that takes images")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError("momentum needs optimizer 'sgd'")
        for step in self.milestones:
            integer("milestones entries", step, 0)

    def outside(self) -> tuple[str, ...]:
        """The folder of the data, for tasks that have one; or where one's own come from."""
        return (self.folder,) if self.folder else super().outside()

    @property
    def on(self) -> str:
        """Name of the data."""
        return task_name(self.task)

    def shares(self, layers: int) -> float | list[float]:
        """What each round prunes, as `edt.lottery.prune.prune_lowest` takes it."""
        if self.scope == "global":
            return self.share_hidden
        return [*[self.share_hidden] * (layers - 1), self.share_out]

    @property
    def shape(self) -> str:
        """The networks in a word: "300-100", or "resnet20 x 0.25"."""
        if not self.net:
            return "-".join(str(h) for h in self.hidden)
        return self.net if self.factor == 1 else f"{self.net} x {self.factor:g}"
