"""Winning tickets of networks of modules kept, everything around them changed: do they win?

Three things stand where the ticket stands, with the parent's order of samples and the same draws
of the rest: the ticket, as many other weights of the parent, layer by layer and none of them the
ticket's, and fresh weights under the ticket's mask. What the ticket is ahead of them is what is the
ticket's. The parent is the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt.ensemble import ModuleEnsemble
from edt.lottery import Tickets, perturb_rest
from edt.lottery.controls import random_ticket, reinitialised
from edt.lottery.iterative import iterative_pruning
from edt.lottery.prune import density
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.stats import Interval, cluster_rate, expected_losers, mean_interval, paired_interval
from edt.studies.common.net_spec import NetData, train
from edt.studies.common.prevented import prevented_share
from edt.studies.perturb_rest_net.spec import PerturbRestNetSpec

__all__ = ["GROUPS", "PerturbRestNet", "group_table", "run_perturb_rest_net"]

#: What stands where the ticket stands; losing tickets are of other parents.
GROUPS = ("ticket", "random", "fresh", "losing")
FIND, CHANGE = "find tickets", "perturb and train"
TICKETS: dict[str, str] = {
    "seed": "int64",  # of the parent
    "accuracy": "float64",  # of the dense network
    "alone": "float64",  # accuracy of the ticket alone
    "remaining": "float64",  # share of the weights in the ticket
    "level": "float64",  # accuracy from which on a network wins
    "win": "bool",
    "win_alone": "bool",
}
RUNS: dict[str, str] = {
    "group": "str",  # of `GROUPS`
    "ticket": "int64",  # 0, 1, ... among the group's
    "seed": "int64",  # of the parent
    "size": "float64",
    "rest": "int64",
    "distance": "float64",  # |rest' - rest| / |rest|
    "loss": "float64",  # on the training data
    "accuracy": "float64",  # on the test data
    "win": "bool",
}


@dataclass(repr=False)
class PerturbRestNet(Experiment):
    """Find winning tickets by iterative pruning, change the rest around each, train, count.

    Tables: ``tickets`` (one row a dense network and its ticket) and ``runs`` (one row a network
    with a changed rest).
    """

    kind: ClassVar[str] = "perturb-rest-net"
    spec_type: ClassVar[type[Spec]] = PerturbRestNetSpec
    names: ClassVar[tuple[str, ...]] = ("tickets", "runs")

    @staticmethod
    def plan(spec: PerturbRestNetSpec) -> list[Part]:
        """Dense networks and their tickets; the rests around each, were all found."""
        around = float(spec.rests * len(spec.sizes))
        return [
            Part("tickets", "train networks, find tickets",
                 float(spec.candidates * (spec.rounds + 1)), FIND),
            *[
                Part(f"{group}-{k:03d}", f"{group} {k + 1}: {around:.0f} rests", around, CHANGE,
                     (group, k))
                for group in GROUPS
                for k in range(spec.tickets)
            ],
        ]  # fmt: skip

    @classmethod
    def headline(cls, spec: PerturbRestNetSpec) -> str:
        """What is about to run, in a line."""
        return f"up to {spec.trainings:,} networks ({spec.net} x {spec.factor:g} on {spec.on})"

    @classmethod
    def data(cls, spec: PerturbRestNetSpec) -> NetData:
        """What is learned."""
        return NetData.of(spec)

    @classmethod
    def measure(cls, spec: PerturbRestNetSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """Tickets, then the rests around them."""
        return _Run(spec, cls.data(spec), parts).tables()

    def groups(self, conf: float = 0.95) -> pd.DataFrame:
        """Wins and accuracies of each group: see `group_table`."""
        return group_table(self.tables["runs"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """The table of groups."""
        return {"groups": self.groups()}


#: Runs it, or what is left of it.
run_perturb_rest_net = PerturbRestNet.run


class _Run:
    def __init__(self, spec: PerturbRestNetSpec, data: NetData, parts: Parts) -> None:
        self.spec, self.data, self.parts = spec, data, parts
        self.seeds = torch.arange(spec.candidates) + spec.seed * 1_000_000
        self.start = data.recipe.start([spec.factor], self.seeds.tolist())
        self._tickets: Tickets | None = None

    def tables(self) -> dict[str, pd.DataFrame]:
        (found,) = self.parts.run(self._find, FIND)
        rows = chosen(found, self.spec.tickets)
        runs = self.parts.run(partial(self._changed, found, rows), CHANGE)
        full = [table for table in runs if len(table)]
        if not full:
            raise ValueError(
                f"none of {len(found)} networks wins and holds a ticket that wins alone; ask for "
                "more candidates, fewer rounds or a lower level"
            )
        return {"tickets": found, "runs": pd.concat(full, ignore_index=True)}

    def _find(self) -> tuple[pd.DataFrame, ModuleEnsemble]:
        """Iterative pruning of every candidate; the last round trains its ticket alone."""
        spec = self.spec
        early = self.start
        if spec.rewind:
            early = train(spec, self.data, self.start, self.seeds, spec.rewind).networks

        def step(networks: ModuleEnsemble) -> tuple[ModuleEnsemble, torch.Tensor]:
            ended = train(spec, self.data, networks, self.seeds)
            return ended.networks, ended.accuracy

        rounds = list(
            iterative_pruning(self.start, step, rounds=spec.rounds, share=spec.share, rewind=early)
        )
        dense, alone = rounds[0].outcome, rounds[-1].outcome
        level = float(np.quantile(dense.numpy(), spec.level))
        table = pd.DataFrame(
            {
                "seed": self.seeds.numpy(),
                "accuracy": dense.numpy(),
                "alone": alone.numpy(),
                "remaining": density(rounds[-1].start).numpy(),
                "level": level,
                "win": (dense >= level).numpy(),
                "win_alone": (alone >= level).numpy(),
            }
        ).astype(TICKETS)[list(TICKETS)]
        return table, rounds[-1].start

    @property
    def tickets(self) -> Tickets:
        """Of every candidate."""
        if self._tickets is None:
            modules = [self.start.to_module(0)]
            pruned = self.parts.networks("tickets", modules)
            early = self.start
            if self.spec.rewind:
                early = train(
                    self.spec, self.data, self.start, self.seeds, self.spec.rewind
                ).networks
            # The masks are those of the part, the values those that survivors are rewound to.
            self._tickets = Tickets.of(early, pruned.state != 0, names=self.seeds)
        return self._tickets

    def _changed(
        self, found: pd.DataFrame, rows: Mapping[str, list[int]], group: str, k: int
    ) -> pd.DataFrame:
        if k >= len(rows[group]):  # fewer such tickets were found than asked for
            return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in RUNS.items()})
        spec, row = self.spec, rows[group][k]
        ticket = self.tickets.select([row])
        if group == "random":
            ticket = random_ticket(ticket, spec.seed, disjoint=True)
        elif group == "fresh":
            ticket = reinitialised(ticket, self.data.recipe, spec.seed + 1)
        made = perturb_rest(
            ticket, spec.change, spec.sizes, spec.rests, recipe=self.data.recipe, seed=spec.seed
        )
        ended = train(spec, self.data, made.networks, self.seeds[row].repeat(made.networks.B))
        table = made.table.assign(
            group=group,
            ticket=k,
            seed=int(self.seeds[row]),
            loss=ended.loss.numpy(),
            accuracy=ended.accuracy.numpy(),
            win=ended.accuracy.numpy() >= float(found["level"].iloc[0]),
        )
        return table.astype(RUNS)[list(RUNS)]


def chosen(found: pd.DataFrame, most: int) -> dict[str, list[int]]:
    """Rows of the parents of each group: tickets that win inside and alone, or lose alone.

    Args:
        found: table ``tickets``.
        most: of each group.
    """
    winning = found.index[found["win"] & found["win_alone"]].tolist()[:most]
    losing = found.index[found["win"] & ~found["win_alone"]].tolist()[:most]
    return {"ticket": winning, "random": winning, "fresh": winning, "losing": losing}


def _pairs(runs: pd.DataFrame, group: str) -> pd.DataFrame:
    """The tickets' networks beside the group's, of one parent and rest."""
    keys = ["seed", "rest"]
    one, other = (runs[runs["group"] == name] for name in ("ticket", group))
    return one.merge(other, on=keys, suffixes=("", "_other"))


def group_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Wins and test accuracy of each group, and what the tickets are ahead of it.

    Args:
        runs: table ``runs``.
        conf: coverage. Parents are the clusters: `edt.stats.cluster_rate` for rates,
            `paired_interval` for differences of wins, Student's interval over parents for
            accuracies; differences are paired by parent and rest.

    Returns:
        One row a size and group: ``parents``, ``networks``; ``rate`` of wins and ``accuracy``,
        with bounds; ``ahead`` and ``gain``, the tickets' rate and accuracy minus the group's, with
        bounds (NaN for the tickets, and for losing ones, which are of other parents);
        ``prevented``, the share of the group's failures that tickets in the same rests do not
        have, with bounds (`edt.studies.common.prevented.prevented_share`); ``losers``,
        parents of which some network loses, and ``expected``, how many would if the ticket did
        nothing (from the fresh networks of the same parent).
    """
    rows = []
    for size, part in runs.groupby("size"):
        fresh = part[part["group"] == "fresh"].groupby("seed")["win"].mean().to_numpy()
        for group in GROUPS:
            subset = part[part["group"] == group]
            if not len(subset):
                continue
            wins = subset.groupby("seed")["win"].agg(["sum", "size"])
            rate = cluster_rate(wins["sum"].to_numpy(), wins["size"].to_numpy(), conf)
            mean = mean_interval(subset.groupby("seed")["accuracy"].mean().to_numpy(), conf)
            row: dict[str, Any] = {
                "size": size, "group": group, "parents": len(wins), "networks": len(subset),
                "rate": rate.value, "rate_low": rate.low, "rate_high": rate.high,
                "accuracy": mean.value, "accuracy_low": max(mean.low, 0.0),
                "accuracy_high": min(mean.high, 1.0),
            }  # fmt: skip
            nothing = Interval(np.nan, np.nan, np.nan)
            found = {"ahead": nothing, "gain": nothing, "prevented": nothing}
            if group in ("random", "fresh"):
                pairs = _pairs(part, group)
                wins_apart = (pairs["win"] ^ pairs["win_other"]) * (2.0 * pairs["win"] - 1.0)
                by_parent = pairs.groupby("seed")[["win", "win_other"]].mean()
                tries = int(pairs.groupby("seed").size().min())
                gains = (pairs["accuracy"] - pairs["accuracy_other"]).groupby(pairs["seed"]).mean()
                found = {
                    "ahead": paired_interval(wins_apart.to_numpy(), pairs["seed"].to_numpy(), conf),
                    "gain": mean_interval(gains.to_numpy(), conf),
                    "prevented": prevented_share(
                        by_parent["win"], by_parent["win_other"], tries, conf
                    ),
                }
            for name, gap in found.items():
                row |= {name: gap.value, f"{name}_low": gap.low, f"{name}_high": gap.high}
            row["losers"] = int((wins["sum"] < wins["size"]).sum())
            row["expected"] = np.nan
            if len(fresh) and group != "losing":
                row["expected"] = expected_losers(fresh, int(subset["rest"].nunique()))
            rows.append(row)
    return pd.DataFrame(rows)
