"""What a lottery experiment is: iterative pruning at real size, with its controls."""

from __future__ import annotations

from dataclasses import dataclass

from edt.ensemble import ACTIVATIONS, SCHEMES
from edt.errors import unknown_choice
from edt.runs.experiment import Spec

TASKS = ("mnist1d", "digits", "mnist")
METHODS = ("ticket", "reinit", "random", "shuffled", "signed", "oneshot", "snip", "grasp")

#: Integer fields that may be 0.
FROM_ZERO = ("samples", "rewind", "patience", "seed", "rounds")


@dataclass(frozen=True)
class LotterySpec(Spec):
    """Iterative magnitude pruning with rewinding, and what it is compared with.

    Attributes:
        task: "mnist1d" (4,000 training signals of 40 numbers), "digits" (scikit-learn's 8 x 8
            images) or "mnist" (IDX files in ``folder``).
        folder: of the MNIST files; empty for the other tasks.
        samples: training samples at most; 0: all.
        validation_share: of the training samples, held out to watch.
        hidden: hidden widths.
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
        steps, lr, batch: of Adam.
        validate_every: steps between evaluations of the validation loss.
        patience: evaluations without a new least validation loss before a network stops; 0:
            never.
        seed: of starts, splits and controls.
    """

    task: str = "mnist1d"
    folder: str = ""
    samples: int = 0
    validation_share: float = 0.1
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
    validate_every: int = 100
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "methods", tuple(self.methods))
        for name, allowed in (
            ("task", TASKS), ("activation", ACTIVATIONS), ("init", SCHEMES),
            ("scope", ("layer", "global", "neuron")),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise unknown_choice(name, getattr(self, name), list(allowed))
        for method in self.methods:
            if method not in METHODS:
                raise unknown_choice("methods", method, list(METHODS))
        if not self.methods or self.methods[0] != "ticket":
            raise ValueError(f"methods must begin with 'ticket', got {self.methods}")
        if (self.task == "mnist") != bool(self.folder):
            raise ValueError("folder is for task 'mnist', which needs it: where the IDX files are")
        self.check_numbers(from_zero=("samples", "rewind", "patience", "seed", "rounds"))
        for name in ("validation_share", "share_hidden", "share_out"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} must be below 1, got {getattr(self, name)}")
        if self.rewind >= self.steps:
            raise ValueError(f"rewind must be below steps ({self.steps}), got {self.rewind}")
        if not self.hidden or any(not isinstance(h, int) or h < 1 for h in self.hidden):
            raise ValueError(f"hidden must hold widths of at least 1, got {self.hidden}")

    @property
    def shares(self) -> float | list[float]:
        """What each round prunes, as `edt.lottery.prune.prune_lowest` takes it."""
        if self.scope == "global":
            return self.share_hidden
        return [*[self.share_hidden] * len(self.hidden), self.share_out]
