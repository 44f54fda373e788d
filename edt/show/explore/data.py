"""The numbers of the explorable, from a width sweep's tables and networks.

A page that a reader can compute with needs little: inputs, teachers, a few bad minima to the last
digit, and, as a check, what edt found there: losses, ways down, where splits led, levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.functional import loss
from edt.landscape import split_matrices
from edt.show.explore.packing import packed
from edt.show.explore.tickets import Start, ticket
from edt.tasks import Task
from edt.training import converge

#: Bad minima a teacher; gradient to which they are driven, as where they were split.
MINIMA, SETTLED = 6, 1e-15

Networks = Callable[[int, int], Ensemble]


def explore_data(
    task: Task,
    runs: pd.DataFrame,
    splits: pd.DataFrame,
    networks: Networks,
    *,
    good: float,
    start: Start,
    count: bool = False,
) -> dict[str, Any]:
    """What the page embeds, ready for JSON.

    Args:
        task: teachers of two inputs and one output, with ``info["teacher"]``.
        runs: table of a width sweep, one row a network.
        splits: table of its splits.
        networks: ``(target, width)`` to the networks in the order of ``runs``.
        good: loss at or below which a run has reached zero.
        start: ``(seeds, width)`` to networks as the sweep starts them: of the second tab.
        count: train the second tab's networks here, too, as a check.

    Returns:
        A dictionary of numbers, texts, lists; arrays of float64 are base64 of their bytes.

    Raises:
        ValueError: inputs, outputs or activations that the page cannot compute, or no bad minimum.
    """
    teacher = task.info["teacher"]
    if not computable(task, teacher):
        raise ValueError(
            "the explorable computes networks of two inputs and one output, tanh with biases under "
            f"mse; got {task} and {teacher.activation}"
        )
    return {
        "good": good,
        "x": packed(task.x),
        "teachers": [
            {
                "y": packed(task.y[target] if task.y.dim() == 3 else task.y),
                "theta": packed(teacher.select([target]).theta),
                "widths": _widths(runs[runs["target"] == target]),
                "levels": _levels(runs[runs["target"] == target]),
                "minima": _minima(task, target, runs, splits, networks),
                "ticket": ticket(task, target, runs, start, good=good, count=count),
            }
            for target in range(int(teacher.B))
        ],
    }


def computable(task: Task, teacher: Ensemble) -> bool:
    """Whether the page's script can compute these networks."""
    kind = (task.d_in, task.d_out, task.loss, teacher.activation, bool(teacher.has_bias))
    return kind == (2, 1, "mse", "tanh", True) and int(teacher.layer_widths.shape[1]) == 3


def chosen(splits: pd.DataFrame, most: int = MINIMA) -> pd.DataFrame:
    """Of one teacher's split minima, as many as fit: each width's commonest in turn.

    Returns:
        columns (width, seed, level_runs), by width and then by falling loss.
    """
    each = splits.drop_duplicates(["width", "seed"])[["width", "seed", "level_runs", "loss"]]
    each = each.sort_values(["width", "level_runs", "loss"], ascending=[True, False, True])
    turn = each.groupby("width").cumcount()
    picked = each.assign(turn=turn).sort_values(["turn", "width"]).head(most)
    return picked.sort_values(["width", "loss"], ascending=[True, False])


def _widths(runs: pd.DataFrame) -> list[dict[str, int]]:
    return [
        {"width": width, "runs": len(group), "good": int(group["outcome"].eq("good").sum())}
        for width, group in ((int(w), runs[runs["width"] == w]) for w in sorted(set(runs["width"])))
    ]


def _levels(runs: pd.DataFrame) -> list[list[float]]:
    """[width, loss, runs] of each level of bad minima."""
    bad = runs[(runs["outcome"] == "bad") & (runs["verdict"] == "minimum")]
    heights = bad.groupby(["width", "level"])["loss"].agg(["min", "size"]).reset_index()
    return [
        [int(row["width"]), float(f"{row['min']:.6g}"), int(row["size"])]
        for row in heights.to_dict("records")
    ]


def _minima(
    task: Task, target: int, runs: pd.DataFrame, splits: pd.DataFrame, networks: Networks
) -> list[dict[str, Any]]:
    mine = splits[splits["target"] == target]
    if not len(mine):
        raise ValueError(f"teacher {target + 1} has no bad minimum that was split")
    found = []
    for row in chosen(mine).to_dict("records"):
        width, seed = int(row["width"]), int(row["seed"])
        of = runs[(runs["target"] == target) & (runs["width"] == width)].reset_index(drop=True)
        (place,) = of.index[of["seed"] == seed]
        narrow = settled(task, networks(target, width).select([int(place)]), target)
        here = mine[(mine["width"] == width) & (mine["seed"] == seed)]
        matrices = split_matrices(task, narrow, 0, target=target)
        found.append(
            {
                "theta": packed(narrow.theta),
                "loss": float(loss(narrow, task, task_index=_index(1, target))[0]),
                "runs": int(row["level_runs"]),
                "splits": [
                    {
                        "B": packed(matrix.B),
                        "ends": [
                            {
                                "share": float(end["mu"]),
                                "ways": int(end["n_neg"]),
                                "loss": float(f"{end['escaped_loss']:.6g}"),
                                "end": str(end["destination"]),
                            }
                            for end in here[here["neuron"] == j].to_dict("records")
                        ],
                    }
                    for j, matrix in enumerate(matrices)
                ],
            }
        )
    return found


def settled(task: Task, minimum: Ensemble, target: int) -> Ensemble:
    """The minimum to the last digit: a gradient that is left would bend the line of copies."""
    ended = converge(
        task,
        minimum,
        task_index=_index(int(minimum.B), target),
        tol=SETTLED,
        lbfgs_steps=0,
        newton_steps=30,
        progress=False,
    )
    settled: Ensemble = ended.networks
    return settled


def _index(count: int, target: int) -> torch.Tensor:
    return torch.full((count,), target, dtype=torch.int64)
