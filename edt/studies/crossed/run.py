"""Does a winning ticket make the network around it win, whatever the rest? A crossed design.

Every teacher's tickets meet the same rests: fresh neurons at the scale of the ticket's. Beside them
stand, with the same rests again, r neurons of the same students chosen at random among those that
are not the ticket, tickets that lose alone although their student won, and fresh neurons. A change
of the rest is thus a resampling at equal scale: nothing but the luck of the draw is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt.lottery import match_teacher, neuron_mask, run_trial
from edt.lottery.crossed import cross, neurons_of
from edt.lottery.tickets import Tickets
from edt.runs.experiment import Part, Spec
from edt.stats import cluster_rate, expected_losers, variance_components
from edt.studies.common.contrast import mean_gap
from edt.studies.common.find_tickets import SEED_STRIDE
from edt.studies.common.one_table import OneTable
from edt.studies.common.prevented import prevented_share
from edt.studies.crossed.spec import CrossedSpec
from edt.tasks import Task

#: What stands where the ticket stands.
GROUPS = ("ticket", "random", "loser", "fresh")
#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "target": "int64",
    "group": "str",  # of `GROUPS`
    "ticket": "int64",  # within the teacher and group
    "seed": "int64",  # of the student it comes from; -1 for fresh neurons
    "rest": "int64",
    "train_loss": "float64",  # after Adam alone
    "loss": "float64",
    "win": "bool",
}
#: Seeds of rests and of fresh neurons, apart from those of students.
REST_SEED, FRESH_SEED = 500_000_000, 600_000_000


def _part(spec: CrossedSpec, task: Task, target: int) -> pd.DataFrame:
    r, m = spec.teacher_width, spec.width
    options: dict[str, Any] = {
        "d_in": task.d_in, "d_out": task.d_out, "activation": spec.activation, "bias": spec.bias,
    }  # fmt: skip
    seeds = torch.arange(spec.candidates) + target * SEED_STRIDE
    start = spec.recipe.start([m], seeds.tolist(), **options)
    index = torch.full((spec.candidates,), target)
    whole = run_trial(task, start, spec.protocol, index)
    match = match_teacher(task, whole.networks, task.info["teacher"], index).mask
    tickets = Tickets(start, neuron_mask(start, match), index, seeds)
    alone = run_trial(task, tickets.alone(), spec.protocol, index).win
    # Only students in which the match is r neurons: two of a teacher's may be played by one.
    full = match.sum(1) == r
    chosen = {
        "ticket": torch.nonzero(full & whole.win & alone).flatten()[: spec.tickets],
        "loser": torch.nonzero(full & whole.win & ~alone).flatten()[: spec.tickets],
    }
    rests = spec.recipe.start([m - r], range(REST_SEED, REST_SEED + spec.rests), **options)
    generator = np.random.Generator(np.random.Philox(key=[spec.seed, target]))
    tables = []
    for group in GROUPS:
        if group == "fresh":
            first = FRESH_SEED + target * SEED_STRIDE
            heads = spec.recipe.start([r], range(first, first + spec.tickets), **options)
            names = torch.full((spec.tickets,), -1)
        else:
            rows = chosen["ticket" if group == "random" else group]
            if not rows.numel():
                continue
            own = [torch.nonzero(match[b]).flatten() for b in rows.tolist()]
            if group == "random":
                own = [_others(generator, neurons, m) for neurons in own]
            heads, names = neurons_of(start.select(rows), torch.stack(own)), seeds[rows]
        networks = cross(heads, rests)
        ends = run_trial(task, networks, spec.protocol, torch.full((networks.B,), target))
        count = heads.B
        tables.append(
            pd.DataFrame(
                {
                    "target": target,
                    "group": group,
                    "ticket": np.repeat(np.arange(count), spec.rests),
                    "seed": np.repeat(names.numpy(), spec.rests),
                    "rest": np.tile(np.arange(spec.rests), count),
                    "train_loss": ends.first.numpy(),
                    "loss": ends.loss.numpy(),
                    "win": ends.win.numpy(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True).astype(RUNS)[list(RUNS)]


@dataclass(repr=False)
class CrossedRun(OneTable):
    """Put the same rests around winning tickets, random neurons, losing tickets and fresh neurons.

    Table ``runs`` has one row a trained network.
    """

    kind: ClassVar[str] = "crossed"
    spec_type: ClassVar[type[Spec]] = CrossedSpec
    rows: ClassVar[Callable[..., Any]] = staticmethod(_part)

    @staticmethod
    def plan(spec: CrossedSpec) -> list[Part]:
        """One part a teacher: its tickets are found and crossed."""
        cost = float(spec.candidates * 2 + len(GROUPS) * spec.tickets * spec.rests)
        return [
            Part(f"target-{target:02d}", f"teacher {target + 1}: tickets x rests", cost,
                 "cross tickets with rests", (target,), columns=RUNS)
            for target in range(spec.teachers)
        ]  # fmt: skip

    @classmethod
    def headline(cls, spec: CrossedSpec) -> str:
        """What is about to run, in a line."""
        most = 4 * spec.teachers * spec.tickets * spec.rests
        return f"up to {most:,} networks of width {spec.width}"

    def groups(self, conf: float = 0.95) -> pd.DataFrame:
        """Win rate of each group and its difference to the tickets': see `group_table`."""
        return group_table(self.tables["runs"], conf)

    def components(self, draws: int = 1000) -> pd.DataFrame:
        """What share of the outcome is the ticket's and the rest's: see `component_table`."""
        return component_table(self.tables["runs"], draws)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Both tables."""
        return {"groups": self.groups(), "components": self.components()}


#: Runs it, or what is left of it.
run_crossed = CrossedRun.run


def _others(generator: np.random.Generator, neurons: torch.Tensor, m: int) -> torch.Tensor:
    """As many random neurons that are not these, ascending."""
    left = np.setdiff1d(np.arange(m), neurons.numpy())
    return torch.from_numpy(np.sort(generator.permutation(left)[: neurons.numel()]))


def group_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Win rate of each group, and what the winning tickets are ahead of it.

    Args:
        runs: table ``runs``.
        conf: coverage. Teachers are the clusters: `edt.stats.cluster_rate` for rates,
            `edt.studies.common.contrast.mean_gap` for differences.

    Returns:
        One row a group: ``teachers``, ``tickets``, ``networks``, ``rate`` with bounds; ``ahead``,
        the mean over teachers of the tickets' rate minus the group's, paired by teacher and, for
        random neurons, by student, with bounds (NaN for the tickets themselves); ``prevented``,
        the share of the group's failures that tickets in the same rests do not have, with bounds
        (`prevented_share`); ``losers``, tickets that lose with some rest, and ``expected``, how
        many would if they were fresh neurons of their teacher.
    """
    rows = []
    rates = runs.groupby(["group", "target"])["win"].mean()
    fewest = runs.groupby(["group", "target"]).size().groupby(level="group").min()
    fresh = runs[runs["group"] == "fresh"].groupby("target")["win"].mean()
    for group in GROUPS:
        part = runs[runs["group"] == group]
        if not len(part):
            continue
        wins = part.groupby("target")["win"].agg(["sum", "size"])
        rate = cluster_rate(wins["sum"].to_numpy(), wins["size"].to_numpy(), conf)
        by_ticket = part.groupby(["target", "ticket"])["win"].mean()
        tries = int(part["rest"].nunique())
        teachers = by_ticket.index.get_level_values("target")
        row: dict[str, object] = {
            "group": group, "teachers": len(wins), "tickets": len(by_ticket), "networks": len(part),
            "rate": rate.value, "rate_low": rate.low, "rate_high": rate.high,
            "ahead": np.nan, "ahead_low": np.nan, "ahead_high": np.nan,
            "prevented": np.nan, "prevented_low": np.nan, "prevented_high": np.nan,
            "losers": int((by_ticket < 1.0).sum()),
            "expected": expected_losers(fresh.reindex(teachers).to_numpy(), tries),
        }  # fmt: skip
        if group != "ticket" and "ticket" in rates.index.get_level_values("group"):
            both = pd.DataFrame({"ticket": rates["ticket"], "other": rates[group]}).dropna()
            if len(both):
                runs_each = int(fewest[["ticket", group]].min())
                gap = mean_gap((both["ticket"] - both["other"]).to_numpy(), runs_each, conf)
                share = prevented_share(both["ticket"], both["other"], runs_each, conf)
                for name, found in (("ahead", gap), ("prevented", share)):
                    row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def component_table(runs: pd.DataFrame, draws: int = 1000) -> pd.DataFrame:
    """Variance of the outcome shared out among ticket, rest and the two together, for each group.

    Args:
        runs: table ``runs``.
        draws: permutations behind the nulls.

    Returns:
        One row a group with at least two tickets of some teacher: ``ticket``, ``rest`` and
        ``interaction`` (shares of the variance within teachers), the nulls' 95% points
        ``ticket_limit``, ``rest_limit``, and ``ticket_p``, ``rest_p``; ``total``, the variance.
    """
    rows = []
    for group in GROUPS:
        part = runs[runs["group"] == group]
        tables = [
            own.pivot(index="ticket", columns="rest", values="win").to_numpy(dtype=float)
            for _, own in part.groupby("target")
        ]
        tables = [table for table in tables if min(table.shape) >= 2]
        if not tables:
            continue
        found = variance_components(list(tables), draws)
        rows.append(
            {
                "group": group, "ticket": found.ticket.value, "rest": found.rest.value,
                "interaction": found.interaction, "ticket_limit": found.ticket.limit,
                "rest_limit": found.rest.limit, "ticket_p": found.ticket.p,
                "rest_p": found.rest.p, "total": found.total,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
