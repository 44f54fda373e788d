"""Does a wide network of modules behave like its disjoint tickets trained alone?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from edt.lottery.multistart import partition_units, partition_weights
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.stats import cluster_rate, information_test, mean_interval, paired_interval
from edt.studies.common.net_spec import NetData, train
from edt.studies.multi_start_net.spec import MultiStartNetSpec

__all__ = ["MultiStartNet", "agreement", "run_multi_start_net"]

RUNS: dict[str, str] = {
    "parts": "int64",  # tickets of the network; 1: the network itself
    "seed": "int64",
    "ticket": "int64",  # 0, 1, ...; 0 for the network itself
    "loss": "float64",  # on the training data
    "accuracy": "float64",  # on the test data
}


@dataclass(repr=False)
class MultiStartNet(Experiment):
    """Train networks whole, and every ticket inside each alone, from the same weights.

    Table ``runs`` has one row a training.
    """

    kind: ClassVar[str] = "multi-start-net"
    spec_type: ClassVar[type[Spec]] = MultiStartNetSpec
    names: ClassVar[tuple[str, ...]] = ("runs",)

    @staticmethod
    def plan(spec: MultiStartNetSpec) -> list[Part]:
        """The networks whole; then one part a number of tickets."""
        return [
            Part(f"parts-{n:03d}", "networks whole" if n == 1 else f"{n} tickets of each, alone",
                 float(spec.seeds * n), "train together and alone", (n,))
            for n in (1, *spec.parts)
        ]  # fmt: skip

    @classmethod
    def headline(cls, spec: MultiStartNetSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.networks:,} networks ({spec.net} x {spec.factor:g} on {spec.on})"

    @classmethod
    def data(cls, spec: MultiStartNetSpec) -> NetData:
        """What is learned."""
        return NetData.of(spec)

    @classmethod
    def measure(cls, spec: MultiStartNetSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """One table, the parts one below the other."""
        return {"runs": parts.table(partial(_part, spec, cls.data(spec)))}

    def agreement(self, conf: float = 0.95) -> pd.DataFrame:
        """Wins together against wins alone: see `agreement`."""
        return agreement(self.tables["runs"], self.spec.level, conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """The table of agreement."""
        return {"agreement": self.agreement()}


#: Runs it, or what is left of it.
run_multi_start_net = MultiStartNet.run


def _part(spec: MultiStartNetSpec, data: NetData, n: int) -> pd.DataFrame:
    seeds = torch.arange(spec.seeds) + spec.seed * 1_000_000
    start = data.recipe.start([spec.factor], seeds.tolist())
    if n == 1:
        networks, owner = start, torch.arange(spec.seeds)
    else:
        cut = (
            partition_units(start, n, names=seeds)
            if spec.cut == "units"
            else partition_weights(start, n, spec.seed, names=seeds)
        )
        networks, owner = cut.tickets.alone(), cut.network
    ended = train(spec, data, networks, seeds[owner])
    return pd.DataFrame(
        {
            "parts": n,
            "seed": seeds[owner].numpy(),
            "ticket": np.tile(np.arange(n), spec.seeds),
            "loss": ended.loss.numpy(),
            "accuracy": ended.accuracy.numpy(),
        }
    ).astype(RUNS)[list(RUNS)]


def winning_accuracy(runs: pd.DataFrame, level: float) -> float:
    """The accuracy from which on a network wins: see `agreement`."""
    fewest = runs.loc[runs["parts"] > 1, "parts"].min()
    return float(np.quantile(runs.loc[runs["parts"] == fewest, "accuracy"], level))


def agreement(runs: pd.DataFrame, level: float, conf: float = 0.95) -> pd.DataFrame:
    """How wins together go with wins alone.

    Args:
        runs: table ``runs``.
        level: quantile of the accuracies of tickets alone, where there are fewest of them, at and
            above which a network wins.
        conf: coverage. Networks are the clusters.

    Returns:
        One row a number of tickets: ``networks``; rates with bounds ``rate_together``,
        ``rate_alone`` (the multi-start: at least one ticket wins) and ``rate_ticket`` (a single
        ticket); counts ``both``, ``only_together``, ``only_alone``, ``neither``; ``ahead`` with
        bounds, the network's rate minus the multi-start's, paired; ``gain`` with bounds, its
        accuracy minus that of its best ticket; ``accuracy_together`` and ``accuracy_best``;
        ``information`` in bits between the wins, with the 95% point of its permutation null.
    """
    limit = winning_accuracy(runs, level)
    whole = runs[runs["parts"] == 1].set_index("seed")["accuracy"].sort_index()
    together = (whole >= limit).to_numpy()
    rows = []
    for n, part in runs[runs["parts"] > 1].groupby("parts"):
        by = part.assign(win=part["accuracy"] >= limit).groupby("seed").agg(
            wins=("win", "sum"), best=("accuracy", "max")
        ).sort_index()  # fmt: skip
        alone = (by["wins"] > 0).to_numpy()
        ones, seeds = np.ones(len(by)), by.index.to_numpy()
        row: dict[str, float] = {"parts": int(str(n)), "networks": len(by)}
        for name, wins, tries in (
            ("together", together, ones),
            ("alone", alone, ones),
            ("ticket", by["wins"].to_numpy(), ones * int(str(n))),
        ):
            rate = cluster_rate(wins.astype(float), tries, conf)
            row |= {
                f"rate_{name}": rate.value,
                f"rate_{name}_low": rate.low,
                f"rate_{name}_high": rate.high,
            }
        row |= {
            "both": int((together & alone).sum()),
            "only_together": int((together & ~alone).sum()),
            "only_alone": int((~together & alone).sum()),
            "neither": int((~together & ~alone).sum()),
        }
        ahead = paired_interval(together.astype(float) - alone.astype(float), seeds, conf)
        gain = mean_interval(whole.to_numpy() - by["best"].to_numpy(), conf)
        for name, found in (("ahead", ahead), ("gain", gain)):
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        tested = information_test(together, alone, np.zeros(len(by), dtype=int), draws=500)
        row |= {
            "accuracy_together": float(whole.mean()),
            "accuracy_best": float(by["best"].mean()),
            "information": tested.value,
            "information_limit": tested.limit,
        }
        rows.append(row)
    return pd.DataFrame(rows)
