"""Is a wide network a parallel search over its subsets? All of them are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt.lottery import run_trial
from edt.lottery.subsets import subset_tickets
from edt.runs.experiment import Part, Spec
from edt.stats import auc_test, cluster_rate, information_test
from edt.studies.common.find_tickets import SEED_STRIDE
from edt.studies.common.one_table import OneTable, targets_and_widths
from edt.studies.subsets.spec import SubsetsSpec
from edt.tasks import Task

#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "target": "int64",
    "width": "int64",
    "seed": "int64",
    "together": "bool",  # the wide network wins
    "together_first": "float64",  # its loss after Adam alone
    "together_loss": "float64",
    "tickets": "int64",  # subsets trained alone
    "alone": "int64",  # of them, those that win
    "alone_first": "float64",  # the best of them after Adam alone
    "alone_loss": "float64",  # the best of them
    "whole": "bool",  # all subsets, or a sample
}
#: Wide networks whose tickets are trained in one call.
TOGETHER = 20
#: Two-sided level below which a page says that something is so.
LEVEL = 0.05


def _part(spec: SubsetsSpec, task: Task, target: int, width: int) -> pd.DataFrame:
    seeds = [target * SEED_STRIDE + k for k in range(spec.seeds)]
    start = spec.recipe.start(
        [width], seeds, d_in=task.d_in, d_out=task.d_out, activation=spec.activation,
        bias=spec.bias,
    )  # fmt: skip
    index = torch.full((spec.seeds,), target)
    whole = run_trial(task, start, spec.protocol, index)
    count = spec.tickets(width)
    wins, first_best, best, every = [], [], [], True
    for first in range(0, spec.seeds, TOGETHER):
        some = torch.arange(first, min(first + TOGETHER, spec.seeds))
        cut = subset_tickets(
            start.select(some), spec.teacher_width, index[some], most=spec.most, seed=spec.seed,
            names=torch.tensor(seeds)[some],
        )  # fmt: skip
        alone = run_trial(task, cut.tickets.alone(), spec.protocol, cut.tickets.task_index)
        wins.append(alone.win.view(-1, count).sum(1))
        first_best.append(alone.first.view(-1, count).amin(1))
        best.append(alone.loss.view(-1, count).amin(1))
        every = cut.whole
    return pd.DataFrame(
        {
            "target": target,
            "width": width,
            "seed": seeds,
            "together": whole.win.numpy(),
            "together_first": whole.first.numpy(),
            "together_loss": whole.loss.numpy(),
            "tickets": count,
            "alone": torch.cat(wins).numpy(),
            "alone_first": torch.cat(first_best).numpy(),
            "alone_loss": torch.cat(best).numpy(),
            "whole": every,
        }
    ).astype(RUNS)[list(RUNS)]


@dataclass(repr=False)
class SubsetsRun(OneTable):
    """Train wide networks, and every subset of r of their neurons alone, from the same weights.

    Table ``runs`` has one row a wide network.
    """

    kind: ClassVar[str] = "subsets"
    spec_type: ClassVar[type[Spec]] = SubsetsSpec
    rows: ClassVar[Callable[..., Any]] = staticmethod(_part)

    @staticmethod
    def plan(spec: SubsetsSpec) -> list[Part]:
        """One part a teacher and width."""
        return targets_and_widths(
            "target", spec, spec.teachers, "whole and every subset",
            lambda width: spec.seeds * (width + spec.tickets(width) * spec.teacher_width),
            RUNS, "train networks and subsets",
        )  # fmt: skip

    @classmethod
    def headline(cls, spec: SubsetsSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.networks:,} networks: wide ones, and the subsets inside"

    def agreement(self, conf: float = 0.95) -> pd.DataFrame:
        """Wins together against wins of subsets, per width: see `subset_table`."""
        return subset_table(self.tables["runs"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """The table."""
        return {"subsets": self.agreement()}


#: Runs it, or what is left of it.
run_subsets = SubsetsRun.run


def subset_table(runs: pd.DataFrame, conf: float = 0.95, draws: int = 1000) -> pd.DataFrame:
    """How wins together go with wins of subsets, per width; teachers are the clusters.

    Args:
        runs: table ``runs``.
        conf: coverage of the intervals (`edt.stats.cluster_rate`).
        draws: permutations behind each test.

    Returns:
        One row per width: ``teachers``, ``networks``, ``tickets`` of each and whether these are all
        (``whole``); rates ``together``, ``some`` (at least one subset wins), ``only_together``,
        ``only_alone``, ``ticket`` (a single subset) with bounds; mean numbers of winning subsets in
        networks that win and that lose, ``alone_if_won`` and ``alone_if_lost``; ``auc`` of that
        number for the network's win within teachers, with ``auc_p``; ``bits`` of information with
        the null's mean and 95% point, ``bits_null``, ``bits_limit``, and ``bits_p``; ``random``,
        the rate at which networks and subsets would disagree "only together" if the two were
        independent given the teacher.
    """
    rows = []
    for width, part in runs.groupby("width"):
        together = part["together"].to_numpy(dtype=bool)
        some = part["alone"].to_numpy() > 0
        target = part["target"].to_numpy()
        rank = auc_test(part["alone"].to_numpy(), together, target, draws)
        bits = information_test(together, some, target, draws)
        row: dict[str, object] = {
            "width": int(str(width)),
            "teachers": int(part["target"].nunique()),
            "networks": len(part),
            "tickets": int(part["tickets"].iloc[0]),
            "whole": bool(part["whole"].all()),
        }
        outcomes = {
            "together": together, "some": some, "only_together": together & ~some,
            "only_alone": ~together & some,
        }  # fmt: skip
        for name, won in outcomes.items():
            row |= _rate(name, pd.Series(won), pd.Series(np.ones(len(part))), target, conf)
        row |= _rate("ticket", part["alone"], part["tickets"], target, conf)
        expected = [
            together[target == t].mean() * (1.0 - some[target == t].mean()) * (target == t).mean()
            for t in np.unique(target)
        ]
        rows.append(
            row
            | {
                "random": float(np.sum(expected)),
                "alone_if_won": _mean(part.loc[part["together"], "alone"]),
                "alone_if_lost": _mean(part.loc[~part["together"], "alone"]),
                "auc": rank.value,
                "auc_p": rank.p,
                "bits": bits.value,
                "bits_null": bits.null,
                "bits_limit": bits.limit,
                "bits_p": bits.p,
            }
        )
    return pd.DataFrame(rows)


def _rate(
    name: str, wins: pd.Series, runs: pd.Series, target: np.ndarray, conf: float
) -> dict[str, float]:
    won = wins.astype(float).groupby(target).sum()
    tried = runs.astype(float).groupby(target).sum()
    found = cluster_rate(won.to_numpy(), tried.to_numpy(), conf)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if len(values) else float("nan")
