"""What a lottery experiment is: iterative pruning at real size, with its controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from edt.runs.values import Budget, Count, Listed, OneOf, Share, Whole
from edt.studies.common.net_spec import NetTraining
from edt.studies.common.spec_parts import Networks

METHODS = ("ticket", "reinit", "random", "shuffled", "signed", "oneshot", "snip", "grasp")


@dataclass(frozen=True)
class LotterySpec(
    Networks,
    NetTraining,
    task="mnist1d",
    net="",
    factor=1.0,
    activation="relu",
    steps=4000,
    lr=1.2e-3,
    batch=60,
    momentum=0.0,
    milestones=(),
):
    """Iterative magnitude pruning with rewinding, and what it is compared with.

    Attributes:
        task: "mnist1d" (4,000 training signals of 40 numbers), "digits" (scikit-learn's 8 x 8
            images), or "mnist", "fashion_mnist", "cifar10", "cifar100" (files in ``folder``); or
            data of your own with classes: a file, "module:function" or an `edt.Task`, as a table
            with a ``shape`` where the samples are images.
        validation_share: of the training samples, held out to watch.
        net: network of `edt.nets`, e.g. lenet5, conv4, resnet20. Empty: a chain of ``hidden``.
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
        optimizer: "adam", or "sgd" with ``momentum``.
        crop: pixels by which images are moved at random in training; needs ``net``.
        flip: whether they are mirrored at random; needs ``net``.
        validate_every: steps between evaluations of the validation loss.
        patience: evaluations without a new least validation loss before a network stops; 0:
            never.
        seed: of starts, splits and controls.
    """

    validation_share: Share = 0.1
    hidden: Annotated[tuple[int, ...], Listed(Whole())] = (300, 100)
    seeds: Count = 5
    rounds: Budget = 16
    share_hidden: Share = 0.2
    share_out: Share = 0.1
    scope: Annotated[str, OneOf(("layer", "global", "neuron"))] = "layer"
    methods: Annotated[tuple[str, ...], Listed(OneOf(METHODS))] = ("ticket", "reinit", "random")
    rewind: Budget = 0
    optimizer: Annotated[str, OneOf(("adam", "sgd"))] = "adam"
    validate_every: Count = 100
    patience: Budget = 0

    def check(self) -> None:
        super().check()
        if self.methods[0] != "ticket":
            raise ValueError(f"methods must begin with 'ticket', got {self.methods}")
        if self.rewind >= self.steps:
            raise ValueError(f"rewind must be below steps ({self.steps}), got {self.rewind}")
        if self.net:
            if self.scope == "neuron":
                raise ValueError("scope 'neuron' is for chains, not with net")
        elif self.crop or self.flip:
            raise ValueError("crop and flip need net, a network that takes images")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError("momentum needs optimizer 'sgd'")

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
