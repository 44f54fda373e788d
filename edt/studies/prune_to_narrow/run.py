"""A wide winner cut down to r neurons, and taken to the bottom again.

A network that had won because r of its neurons are a winning network would keep its win when the
others are taken away: what is left would go on to zero loss. Neurons are kept by four rules, with
the weights they have after training: those that are the teacher's as functions on the data
("matched"), those whose outputs vary most ("strongest"), and as the null r at random ("random").
"rewound" keeps the matched ones with their weights before training: the ticket of Frankle and
Carbin. "fresh" are students of width r of their own, the other null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt import functional
from edt.ensemble import Ensemble
from edt.landscape.layers import run as forward
from edt.landscape.layers import target_of, unpack
from edt.lottery import match_teacher, run_trial
from edt.lottery.crossed import neurons_of
from edt.runs.experiment import Part, Spec
from edt.stats import cluster_rate, paired_interval
from edt.studies.common.find_tickets import SEED_STRIDE
from edt.studies.common.finish import finish
from edt.studies.common.one_table import OneTable, targets_and_widths
from edt.studies.prune_to_narrow.spec import PruneSpec
from edt.tasks import Task

#: What is kept, in the order of the figure.
RULES = ("matched", "strongest", "random", "rewound", "fresh")
#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "target": "int64",
    "width": "int64",
    "seed": "int64",
    "rule": "str",  # of `RULES`
    "cut_loss": "float64",  # right after the cut, as a share of the target's variance
    "train_loss": "float64",  # after Adam alone, likewise
    "loss": "float64",  # at the bottom, likewise
    "threshold": "float64",
    "label": "str",
    "outcome": "str",
}


def _part(spec: PruneSpec, task: Task, target: int, width: int) -> pd.DataFrame:
    r, seeds = spec.teacher_width, [target * SEED_STRIDE + k for k in range(spec.seeds)]
    options = {"d_in": task.d_in, "d_out": task.d_out, "activation": spec.activation,
               "bias": spec.bias, "dtype": torch.float64}  # fmt: skip
    start = spec.recipe.start([width], seeds, **options)
    ends = run_trial(task, start, spec.protocol, torch.full((spec.seeds,), target))
    won = torch.nonzero(ends.win).flatten()
    if not len(won):
        return pd.DataFrame(columns=list(RUNS)).astype(RUNS)
    wide, names = ends.networks.select(won), [seeds[b] for b in won.tolist()]
    index = torch.full((len(won),), target)
    matched = match_teacher(task, wide, task.info["teacher"], index).neurons.sort(1).values
    generator = torch.Generator().manual_seed(spec.seed + 1000 * target + width)
    random = torch.stack([torch.randperm(width, generator=generator)[:r] for _ in names])
    narrow = {
        "matched": neurons_of(wide, matched),
        "strongest": neurons_of(wide, _strongest(wide, target_of(task, target)[0], r)),
        "random": neurons_of(wide, random),
        "rewound": neurons_of(start.select(won), matched),
        "fresh": spec.recipe.start([r], [700_000 + width * 1_000 + name for name in names],
                                   **options),
    }  # fmt: skip
    size = float(task.variance[target])
    tables = []
    for rule in RULES:
        nets = narrow[rule]
        cut = functional.loss(nets, task, task_index=index).numpy() / size
        if rule in ("rewound", "fresh"):  # from their start they are trained as the wide ones were
            trained = run_trial(task, nets, spec.protocol, index)
            nets, first = trained.networks, trained.first
        else:  # what first-order training alone would make of them, for comparison
            first = run_trial(task, nets, replace(spec.protocol, lbfgs_rounds=0), index).first
        ended = finish(
            task, nets, index, spec.good * size, lbfgs_steps=spec.lbfgs_steps,
            newton_steps=spec.newton_steps, certify_steps=spec.certify_steps,
        )  # fmt: skip
        tables.append(
            pd.DataFrame(
                {"target": target, "width": width, "seed": names, "rule": rule, "cut_loss": cut,
                 "train_loss": first.numpy() / size, "loss": ended.loss / size,
                 "threshold": spec.good, "label": ended.label, "outcome": ended.outcome}
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True).astype(RUNS)[list(RUNS)]


@dataclass(repr=False)
class PruneRun(OneTable):
    """Cut wide winners down to r neurons; table ``runs`` has one row a cut network."""

    kind: ClassVar[str] = "prune-to-narrow"
    spec_type: ClassVar[type[Spec]] = PruneSpec
    rows: ClassVar[Callable[..., Any]] = staticmethod(_part)

    @staticmethod
    def plan(spec: PruneSpec) -> list[Part]:
        """One part a teacher and width."""
        return targets_and_widths(
            "target", spec, spec.teachers, "train, cut, train on",
            lambda width: spec.seeds * (width + 5 * spec.teacher_width), RUNS, "cut winners",
        )  # fmt: skip

    @classmethod
    def headline(cls, spec: PruneSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.teachers * len(spec.widths) * spec.seeds:,} wide students, cut five ways"

    def remains(self, conf: float = 0.95) -> pd.DataFrame:
        """What is left of winners, per width and rule: see `remains_table`."""
        return remains_table(self.tables["runs"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """The table."""
        return {"remains": self.remains()}


#: Runs it, or what is left of it.
run_prune_to_narrow = PruneRun.run


def _strongest(wide: Ensemble, x: torch.Tensor, r: int) -> torch.Tensor:
    """The r neurons whose contribution to the output varies most over the data, ``[B, r]``."""
    rows = []
    for b in range(wide.B):
        layers = unpack(wide, b)
        hidden = forward(layers, wide.activation, x.to(torch.float64))[0][1]
        size = hidden.var(0) * layers[1].weight.square().sum(0)
        rows.append(size.argsort(descending=True, stable=True)[:r].sort().values)
    return torch.stack(rows)


def remains_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """What is left of winners, per width and rule; teachers are the clusters.

    Args:
        runs: table ``runs``.
        conf: coverage (`edt.stats.cluster_rate`, `edt.stats.paired_interval`).

    Returns:
        One row per (width, rule): ``teachers``, ``winners``, ``good`` rate with bounds, ``bad``
        (certified bad minima) and ``channel`` shares, ``untrained``: good right after the cut,
        without training; ``ahead``: good by this rule minus good by random neurons of the same
        winner, with bounds (NaN for random ones).
    """
    rows = []
    for width, part in runs.groupby("width"):
        key = ["target", "seed"]
        wide = part.assign(good=part["outcome"].eq("good").astype(float)).pivot_table(
            index=key, columns="rule", values="good"
        )
        for rule in RULES:
            subset = part[part["rule"] == rule]
            if not len(subset):
                continue
            by = subset["outcome"].eq("good").groupby(subset["target"]).agg(["sum", "size"])
            good = cluster_rate(by["sum"], by["size"], conf)
            row = {
                "width": int(str(width)), "rule": rule, "teachers": len(by), "winners": len(subset),
                "good": good.value, "good_low": good.low, "good_high": good.high,
                "bad": float(subset["outcome"].eq("bad").mean()),
                "channel": float(subset["outcome"].eq("channel").mean()),
                "untrained": float((subset["cut_loss"] <= subset["threshold"]).mean()),
                "ahead": np.nan, "ahead_low": np.nan, "ahead_high": np.nan,
            }  # fmt: skip
            if rule != "random":
                gap = paired_interval(
                    wide[rule] - wide["random"], wide.index.get_level_values("target"), conf
                )
                row |= {"ahead": gap.value, "ahead_low": gap.low, "ahead_high": gap.high}
            rows.append(row)
    return pd.DataFrame(rows)
