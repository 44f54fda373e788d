"""Does a wide network behave like its tickets trained alone?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt.lottery import match_teacher, run_trial
from edt.lottery.multistart import partition
from edt.runs.experiment import Part, Spec
from edt.stats import cluster_rate, information_test
from edt.studies.common.find_tickets import SEED_STRIDE
from edt.studies.common.one_table import OneTable, targets_and_widths
from edt.studies.multi_start.spec import MultiStartSpec
from edt.tasks import Task

#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "target": "int64",
    "width": "int64",
    "seed": "int64",
    "together": "bool",  # the wide network wins
    "together_first": "float64",  # its loss after Adam alone
    "together_loss": "float64",
    "tickets": "int64",
    "alone": "int64",  # tickets that win alone
    "alone_first": "float64",  # the best of them after Adam alone
    "alone_loss": "float64",  # the best of them
    "held": "float64",  # largest share of the teacher's parts played by one ticket's neurons
    "holder_won": "bool",  # that ticket won alone
}


def _part(spec: MultiStartSpec, task: Task, target: int, width: int) -> pd.DataFrame:
    r = spec.teacher_width
    seeds = [target * SEED_STRIDE + k for k in range(spec.seeds)]
    start = spec.recipe.start(
        [width],
        seeds,
        d_in=task.d_in,
        d_out=task.d_out,
        activation=spec.activation,
        bias=spec.bias,
    )
    index = torch.full((spec.seeds,), target)
    whole = run_trial(task, start, spec.protocol, index)
    cut = partition(start, r, index)
    alone = run_trial(task, cut.tickets.alone(), spec.protocol, cut.tickets.task_index)
    count = width // r
    wins = alone.win.view(spec.seeds, count)
    match = match_teacher(task, whole.networks, task.info["teacher"], index)
    parts = match.mask[:, : count * r].view(spec.seeds, count, r).sum(2)
    holder = parts.argmax(1)
    return pd.DataFrame(
        {
            "target": target,
            "width": width,
            "seed": seeds,
            "together": whole.win.numpy(),
            "together_first": whole.first.numpy(),
            "together_loss": whole.loss.numpy(),
            "tickets": count,
            "alone": wins.sum(1).numpy(),
            "alone_first": _least(alone.first.view(spec.seeds, count)).numpy(),
            "alone_loss": _least(alone.loss.view(spec.seeds, count)).numpy(),
            "held": (parts.amax(1).double() / r).numpy(),
            "holder_won": wins.gather(1, holder[:, None])[:, 0].numpy(),
        }
    ).astype(RUNS)[list(RUNS)]


@dataclass(repr=False)
class MultiStart(OneTable):
    """Train wide networks whole, and every ticket inside each alone, from the same weights.

    A multi-start of n tickets wins when one of them wins alone. Does the wide network win just
    then? Every width m holds ``floor(m / r)`` disjoint tickets of r neurons.

    Table ``runs`` has one row a wide network.
    """

    kind: ClassVar[str] = "multi-start"
    spec_type: ClassVar[type[Spec]] = MultiStartSpec
    rows: ClassVar[Callable[..., Any]] = staticmethod(_part)

    @staticmethod
    def plan(spec: MultiStartSpec) -> list[Part]:
        """One part a teacher and width."""
        return targets_and_widths(
            "target", spec, spec.teachers, "together and alone",
            lambda width: spec.seeds * width, RUNS, "train together and alone",
        )  # fmt: skip

    @classmethod
    def headline(cls, spec: MultiStartSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.networks:,} networks: wide ones, and their tickets alone"

    def agreement(self, conf: float = 0.95) -> pd.DataFrame:
        """Wins together against wins alone, per width: see `agreement_table`."""
        return agreement_table(self.tables["runs"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """The agreement table."""
        return {"agreement": self.agreement().drop(columns="information_null")}


#: Runs it, or what is left of it: `edt.runs.experiment.Experiment.run`.
run_multi_start = MultiStart.run


def _least(loss: torch.Tensor) -> torch.Tensor:
    """Least finite loss of each row ``[n, count]``; NaN where all diverged."""
    least = torch.where(torch.isfinite(loss), loss, torch.inf).amin(1)
    return least.masked_fill(torch.isinf(least), torch.nan)


def agreement_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """How wins together go with wins alone, per width.

    Args:
        runs: table ``runs``.
        conf: coverage of the intervals.

    Returns:
        One row per width: ``tickets`` in each network; ``networks``; counts ``both``,
        ``only_together``, ``only_alone`` (some ticket wins alone, the network does not) and
        ``neither``; rates ``rate_together``, ``rate_alone`` (the multi-start: at least one ticket
        wins) and ``rate_ticket`` (a single ticket), with bounds over teachers
        (`edt.stats.cluster_rate`); ``teachers``; ``information``, the mutual information of the two
        wins given the teacher, in bits, with the mean and the 95% point of its permutation null
        within teachers, ``information_null`` and ``information_limit``, and ``information_p``;
        ``held``, mean share of the teacher's parts that one ticket plays in networks
        that win; ``holder_won``, share of those networks in which that ticket won alone.
    """
    rows = []
    for width, part in runs.groupby("width"):
        together = part["together"].to_numpy(dtype=bool)
        alone = part["alone"].to_numpy() > 0
        tickets = int(part["tickets"].iloc[0])
        target = part["target"].to_numpy()
        information = information_test(together, alone, target, draws=500)
        won = part[part["together"]]
        row: dict[str, float] = {
            "width": int(str(width)),
            "tickets": tickets,
            "teachers": int(part["target"].nunique()),
            "networks": len(part),
            "both": int((together & alone).sum()),
            "only_together": int((together & ~alone).sum()),
            "only_alone": int((~together & alone).sum()),
            "neither": int((~together & ~alone).sum()),
        }
        counts = {
            "together": (together.astype(float), 1),
            "alone": (alone.astype(float), 1),
            "ticket": (part["alone"].to_numpy(dtype=float), tickets),
        }
        for name, (wins, tries) in counts.items():
            by = pd.Series(wins).groupby(target).agg(["sum", "size"])
            rate = cluster_rate(by["sum"].to_numpy(), tries * by["size"].to_numpy(), conf)
            row |= {
                f"rate_{name}": rate.value,
                f"rate_{name}_low": rate.low,
                f"rate_{name}_high": rate.high,
            }
        row |= {
            "information": information.value,
            "information_null": information.null,
            "information_limit": information.limit,
            "information_p": information.p,
            "held": float(won["held"].mean()) if len(won) else np.nan,
            "holder_won": float(won["holder_won"].mean()) if len(won) else np.nan,
        }
        rows.append(row)
    return pd.DataFrame(rows)
