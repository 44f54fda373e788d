"""One winner and one loser of a teacher: kept inside a wider network, the rest drawn again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.show.explore.packing import packed
from edt.tasks import Task
from edt.training import converge, masked_train

#: Rests drawn, and the first of their seeds: none that a sweep uses.
RESTS, FIRST = 200, 90_000_000
STEPS, RATE = 1000, 0.01

Start = Callable[[list[int], int], Ensemble]


def ticket(
    task: Task,
    target: int,
    runs: pd.DataFrame,
    start: Start,
    *,
    good: float,
    count: bool,
) -> dict[str, Any] | None:
    """The first seed of the teacher's width that won alone, the first that lost, and their counts.

    Returns:
        ``winner`` and ``loser`` (starts), ``width`` of the whole and, if they are to be counted,
        ``counts`` of wins and draws with the winner kept, the loser kept, and all drawn; None where
        all seeds ended alike.
    """
    r = int(task.info["teacher"].layer_widths[target, 1])
    of = runs[(runs["target"] == target) & (runs["width"] == r)]
    seeds = [of.loc[of["outcome"].eq("good") == won, "seed"].tolist() for won in (True, False)]
    if not all(seeds):
        return None
    winner, loser = (start([int(some[0])], r) for some in seeds)
    found = {"winner": packed(winner.theta), "loser": packed(loser.theta), "width": r + 2}
    if not count:
        return found
    drawn = start(list(range(FIRST, FIRST + RESTS)), r + 2)
    rows = {"kept": keep(drawn, winner), "loser": keep(drawn, loser), "fresh": drawn}
    counts = {name: [_wins(task, target, row, good), RESTS] for name, row in rows.items()}
    return {**found, "counts": counts}


def keep(drawn: Ensemble, narrow: Ensemble) -> Ensemble:
    """Networks whose first neurons are those of ``narrow`` (one network) and whose others stay."""
    wide = drawn.with_theta(drawn.theta.clone())
    r = int(narrow.layer_widths[0, 1])
    for b in range(int(wide.B)):
        wide.weight(b, 0)[:r] = narrow.weight(0, 0)
        wide.bias(b, 0)[:r] = narrow.bias(0, 0)
        wide.weight(b, 1)[:, :r] = narrow.weight(0, 1)
    return wide


def _wins(task: Task, target: int, networks: Ensemble, good: float) -> int:
    """Networks that reach zero loss: Adam, then L-BFGS."""
    index = torch.full((int(networks.B),), target, dtype=torch.int64)
    trained = masked_train(
        task, networks, steps=STEPS, lr=RATE, schedule="cosine", task_index=index, progress=False
    )
    ended = converge(
        task, trained.networks, task_index=index, lbfgs_steps=3000, newton_steps=0, progress=False
    )
    return int((ended.loss <= good).sum())
