"""Accuracy against sparsity: tickets of iterative magnitude pruning beside their controls."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt.ensemble.masks import PRUNED
from edt.lottery import ModuleRecipe, Recipe, Tickets
from edt.lottery.connectivity import connected, layers_cut
from edt.lottery.controls import CONTROLS, control
from edt.lottery.criteria import AT_START
from edt.lottery.iterative import magnitude
from edt.lottery.membership import layers_of, membership
from edt.lottery.prune import density, prune_finite, prune_lowest
from edt.ops.threads import one_blas_thread
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.stats.interval import student_reach
from edt.studies.common.net_spec import accuracy
from edt.studies.common.nets import recipe_of, schedule, training
from edt.studies.lottery.data import Splits, load_splits
from edt.studies.lottery.spec import LotterySpec
from edt.training import masked_train

#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "round": "int64",
    "method": "str",
    "seed": "int64",
    "remaining": "float64",  # share of the weights
    "weights": "int64",
    "layers_cut": "int64",  # layers without a weight
    "connected": "bool",  # whether a path of weights leads from inputs to outputs
    "best_step": "int64",  # of the least validation loss
    "validation_loss": "float64",
    "accuracy": "float64",  # on test data, at that step
    "end_accuracy": "float64",  # on test data, after the last step
    "train_loss": "float64",
    "steps": "int64",
    "status": "str",
}


@dataclass(repr=False)
class Lottery(Experiment):
    """Train, prune, rewind, round after round; train the controls beside; measure on test data.

    Every round is one call of `edt.masked_train` for all seeds and methods: minibatch Adam with
    the validation loss watched, as in the lottery-ticket paper.

    Table ``runs`` has one row a trained network.

    Reference: J. Frankle, M. Carbin, ICLR 2019, arXiv 1803.03635.
    """

    kind: ClassVar[str] = "lottery"
    spec_type: ClassVar[type[Spec]] = LotterySpec
    names: ClassVar[tuple[str, ...]] = ("runs",)

    @staticmethod
    def plan(spec: LotterySpec) -> list[Part]:
        """One part a round; a round waits for the one before."""
        return [
            Part(
                round_name(number),
                f"round {number}: train tickets and controls",
                (1.0 - spec.share_hidden) ** number + 0.02,
                round_name(number),
                (number,),
                columns=RUNS,
            )
            for number in range(spec.rounds + 1)
        ]

    @classmethod
    def headline(cls, spec: LotterySpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.rounds + 1} rounds of {spec.shape} networks on {spec.on}, {spec.seeds} seeds"

    @classmethod
    def data(cls, spec: LotterySpec) -> Splits:
        """What is learned."""
        return load_splits(spec)

    @classmethod
    def measure(cls, spec: LotterySpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """Round after round: each starts from the tickets of the one before."""
        return _Run(spec, cls.data(spec)).tables(parts)

    def curves(self, conf: float = 0.95) -> pd.DataFrame:
        """Means and intervals for each method and round: see `curve_table`."""
        return curve_table(self.tables["runs"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Accuracy of each method, one row a round."""
        table = self.curves()
        wide = table.pivot_table(index="round", columns="method", values="accuracy", sort=False)
        wide.columns = [f"accuracy_{name}" for name in wide.columns]
        remaining = table.groupby("round")["remaining"].first()
        return {"accuracy": wide.assign(rate_remaining=remaining).reset_index()}


#: Runs it, or what is left of it: `edt.runs.experiment.Experiment.run`.
run_lottery = Lottery.run


class _Run:
    """The chain of rounds; each starts from the trained tickets of the one before."""

    def __init__(self, spec: LotterySpec, data: Splits) -> None:
        self.spec, self.data = spec, data
        self.seeds = [spec.seed * 1000 + k for k in range(spec.seeds)]
        self.recipe: Recipe | ModuleRecipe
        self.start: Any
        if spec.net:
            self.recipe = recipe_of(spec.net, spec.task, data.train)
            self.start = self.recipe.start([spec.factor], self.seeds)
        else:
            self.recipe = Recipe(spec.init)
            self.start = self.recipe.start(
                [spec.hidden], self.seeds, d_in=data.train.d_in, d_out=data.train.d_out,
                activation=spec.activation, dtype=torch.float32,
            )  # fmt: skip
        self.learnt = training(data.train, spec.crop, spec.flip)
        #: What networks are read back into.
        self.modules = [self.start.to_module(0)] if spec.net else []
        self.parts: Parts | None = None
        self._trained: dict[int, Any] = {}
        self._rewound: Any = None

    def tables(self, parts: Parts) -> dict[str, pd.DataFrame]:
        self.parts = parts
        rounds = [
            parts.table(self._round, round_name(number)) for number in range(self.spec.rounds + 1)
        ]
        return {"runs": pd.concat(rounds, ignore_index=True)}

    @property
    def rewound(self) -> Any:
        """Networks at the step survivors go back to."""
        if self._rewound is None:
            self._rewound = self.start
            if self.spec.rewind:
                early = masked_train(
                    self.learnt, self.start, steps=self.spec.rewind, record=None,
                    **self._options(self.spec.seeds),
                )  # fmt: skip
                if early.interrupted:
                    raise KeyboardInterrupt
                self._rewound = early.networks
        return self._rewound

    def _options(self, networks: int) -> dict[str, Any]:
        copies = networks // self.spec.seeds
        return {
            "optimizer": self.spec.optimizer,
            "momentum": self.spec.momentum,
            "weight_decay": self.spec.weight_decay,
            "lr": self.spec.lr,
            "schedule": schedule(self.spec.milestones, self.spec.gamma, self.spec.warmup),
            "batch_size": self.spec.batch,
            "data_seed": self.seeds * copies,
            "progress": False,
        }

    def _tickets(self, number: int) -> Tickets:
        """The tickets of a round, at their rewound weights."""
        source = self.start if number == 0 else self.rewound
        if number == 0:
            return Tickets.of(source, torch.ones(source.total, dtype=torch.bool), names=self.seeds)
        before = self._trained_tickets(number - 1)
        shares = self.spec.shares(layers_of(before))
        state = prune_finite(before, magnitude(before), shares, self.spec.scope)
        return Tickets.of(source, state != 0, names=self.seeds)

    def _variant(self, method: str, tickets: Tickets) -> Any:
        if method in CONTROLS:
            return control(method, tickets, self.recipe, self.spec.seed).alone()
        share = 1.0 - float(density(tickets.alone())[0])
        if method == "oneshot":
            dense = self._trained_tickets(0)
            kept = tickets.start.state != 0
            shares = _layer_shares(tickets)
            state = prune_finite(dense, magnitude(dense), shares, "layer")
            return tickets.start.with_state(state.masked_fill(~kept, 0))
        scores = AT_START[method](self.start, self.data.train)
        return self.start.with_state(prune_lowest(self.start, scores, share, "global"))

    def _train(self, number: int) -> tuple[pd.DataFrame, Any]:
        spec, data = self.spec, self.data
        tickets = self._tickets(number)
        # A dense network has one control only: another start.
        methods = [m for m in spec.methods if number or m in ("ticket", "reinit")]
        variants = [self._variant(method, tickets) for method in methods]
        networks = type(self.start).concat(variants)
        result = masked_train(
            self.learnt,
            networks,
            steps=spec.steps,
            record=None,
            validation=data.validation,
            validate_every=spec.validate_every,
            patience=spec.patience or None,
            **self._options(networks.B),
        )
        if result.interrupted or result.validation is None:
            raise KeyboardInterrupt
        found = result.validation
        table = pd.DataFrame(
            {
                "round": number,
                "method": np.repeat(methods, spec.seeds),
                "seed": self.seeds * len(methods),
                "remaining": density(networks).numpy(),
                "weights": networks.coords.numpy(),
                "layers_cut": layers_cut(networks).numpy(),
                "connected": connected(networks).numpy(),
                "best_step": found.step.numpy(),
                "validation_loss": found.loss.numpy(),
                "accuracy": accuracy(found.best, data.test).numpy(),
                "end_accuracy": accuracy(result.networks, data.test).numpy(),
                "train_loss": result.loss.numpy(),
                "steps": result.steps.numpy(),
                "status": result.status,
            }
        ).astype(RUNS)[list(RUNS)]
        return table, result.networks.select(range(spec.seeds))

    def _round(self, number: int) -> tuple[pd.DataFrame, Any]:
        # Bits of modules depend on torch's threads: one, on every machine.
        with one_blas_thread() if self.spec.net else nullcontext():
            table, trained = self._train(number)
        self._trained[number] = trained
        for old in [n for n in self._trained if 0 < n < number]:
            del self._trained[old]
        return table, trained

    def _trained_tickets(self, number: int) -> Any:
        """The tickets of a round after training."""
        if number not in self._trained:
            assert self.parts is not None  # every earlier round is done
            self._trained[number] = self.parts.networks(round_name(number), self.modules)
        return self._trained[number]


def round_name(number: int) -> str:
    """Name of the part that holds one round."""
    return f"round-{number:03d}"


def _layer_shares(tickets: Tickets) -> list[float]:
    """Share of each layer's weights outside the first ticket."""
    state, at = tickets.alone().state, membership(tickets.start)
    first = (at.network == 0) & ~at.bias
    return [
        float((state[first & (at.layer == layer)] == PRUNED).double().mean())
        for layer in range(at.layers)
    ]


def curve_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Means over seeds with Student's intervals.

    Args:
        runs: table ``runs``.
        conf: coverage.

    Returns:
        One row per (method, round): ``remaining``, ``seeds``, of which ``cut`` have no path of
        weights from inputs to outputs and ``diverged`` did (their means count them, as what they
        are: networks that fail); ``accuracy`` (test, at the least
        validation loss), ``end_accuracy`` (after the last step) and ``best_step``, each with
        ``_low`` and ``_high`` (NaN for a single seed; shares are cut to 0..1).
    """
    rows = []
    for method in dict.fromkeys(runs["method"]):
        for number, part in runs[runs["method"] == method].groupby("round"):
            row: dict[str, object] = {
                "method": method,
                "round": number,
                "remaining": float(part["remaining"].mean()),
                "seeds": len(part),
                "cut": int((~part["connected"]).sum()),
                "diverged": int((part["status"] == "diverged").sum()),
            }
            for name in ("accuracy", "end_accuracy", "best_step"):
                values = part[name].to_numpy(dtype=np.float64)
                mean, reach = float(values.mean()), float("nan")
                if values.size > 1:
                    reach = student_reach(conf, values.size - 1)
                    reach *= float(values.std(ddof=1)) / values.size**0.5
                top = np.inf if name == "best_step" else 1.0
                low, high = max(mean - reach, 0.0), min(mean + reach, top)
                if np.isnan(reach):
                    low = high = float("nan")
                row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)
