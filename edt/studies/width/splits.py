"""Splitting a neuron of a bad minimum: how many ways down open, and where they lead.

A bad minimum of width r, with one neuron copied (output weights ``mu a`` and ``(1 - mu) a``), is a
critical point of width r + 1 with the same loss. Its index, the number of escape dimensions, is
counted on the full Hessian and compared with the closed form (`edt.landscape.predicted_inertia`),
which only needs sums at the narrow minimum. Then `edt.converge` leaves along the most negative
direction and shows what lies below.

Only minima with a positive definite Hessian are split: where eigenvalues are close to zero to
rounding, as in minima at infinity, their signs are noise.

Reference: K. Fukumizu, S. Amari, Neural Networks 13 (2000) 317, theorems 1 and 3.
"""

from __future__ import annotations

import pandas as pd
import torch

from edt.curvature import count_directions
from edt.ensemble import Ensemble
from edt.landscape import certify, outcomes, predicted_inertia, split_every, split_matrices
from edt.landscape.inertia import UNKNOWN
from edt.landscape.outcome import UNCERTIFIED
from edt.stats import Interval, cluster_rate
from edt.studies.width.spec import WidthSweepSpec
from edt.tasks import Task
from edt.training import ConvergeResult, converge

#: Columns of ``splits`` and their dtypes, in order.
COLUMNS: dict[str, str] = {
    "target": "int64",
    "width": "int64",  # of the narrow network
    "seed": "int64",  # of the run that stands for the level
    "level": "int64",
    "level_runs": "int64",  # runs that ended on this level
    "neuron": "int64",
    "mu": "float64",
    "inside": "bool",  # 0 < mu < 1
    "loss": "float64",
    "predicted_neg": "int64",
    "predicted_zero": "int64",
    "predicted_pos": "int64",
    "n_neg": "int64",  # counted on the wide Hessian
    "n_zero": "int64",
    "n_pos": "int64",
    "min_eig": "float64",
    "eps_H": "float64",
    "escaped_loss": "float64",
    "escaped_status": "str",
    "escaped_verdict": "str",
    "escaped_label": "str",
    "escaped_outcome": "str",
    "destination": "str",
}

#: Where converging from the split point ends.
DESTINATIONS = ("good", "lower", "channel", "stays", "open")
#: A loss counts as lower when it falls by more than this, relatively: as in `loss_levels`.
LOWER = 1e-6
#: Gradient of the minima that are split, and how far their eigenvalues are from counting as zero.
SETTLED, DOUBT = 1e-15, 30.0


def empty_splits() -> pd.DataFrame:
    """A ``splits`` table without rows."""
    return pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in COLUMNS.items()})


def representatives(runs: pd.DataFrame, most: int) -> pd.DataFrame:
    """One run for each loss level of strict bad minima, commonest levels first.

    Of the runs on a level with the certified label "minimum", and no eigenvalue in doubt, the one
    with the smallest ``grad_max`` stands for it; levels without such a run are left out.

    Args:
        runs: rows of one (target, width).
        most: number of levels.

    Returns:
        Those rows of ``runs`` with ``level_runs``, in order of (level_runs falling, level).
    """
    bad = runs[runs["outcome"] == "bad"]
    # Without certificates the word of `edt.converge` has to do.
    word = bad["label"].where(bad["label"] != UNCERTIFIED, bad["verdict"])
    strict = bad[(word == "minimum") & (bad["min_eig"] > DOUBT * bad["eps_H"])]
    best = strict.sort_values(["level", "grad_max", "seed"]).drop_duplicates("level")
    best = best.assign(level_runs=best["level"].map(bad["level"].value_counts()))
    return best.sort_values(["level_runs", "level"], ascending=[False, True]).head(most)


def _settled(task: Task, minima: Ensemble, target: int) -> Ensemble:
    """The minima to the last digit.

    Splitting turns a gradient g that is left into an eigenvalue of size |g| along the line of
    critical points, where there should be a zero.
    """
    index = torch.full((int(minima.B),), target, dtype=torch.int64)
    ended = converge(
        task, minima, task_index=index, tol=SETTLED, lbfgs_steps=0, newton_steps=30, progress=False
    )
    if ended.interrupted:
        raise KeyboardInterrupt
    settled: Ensemble = ended.networks
    return settled


def split_part(
    spec: WidthSweepSpec, task: Task, runs: pd.DataFrame, networks: Ensemble
) -> pd.DataFrame:
    """Split every neuron of the bad minima of one (target, width), at every mu.

    Args:
        spec: ``mus``, ``split_levels`` and the budget of the escapes.
        task: its target number ``target`` is used.
        runs: the rows of one (target, width), labelled.
        networks: their networks, in the same order.

    Returns:
        Table with `COLUMNS`: one row per (level, neuron, mu).

    Raises:
        KeyboardInterrupt: Ctrl-C during convergence.
    """
    runs = runs.reset_index(drop=True)
    chosen = representatives(runs, spec.split_levels)
    if not len(chosen):
        return empty_splits()
    target = int(chosen["target"].iloc[0])
    narrow = _settled(task, networks.select(torch.tensor(chosen.index.to_numpy())), target)
    own = count_directions(narrow, task, task_index=torch.full((len(chosen),), target))
    inertias = list(zip(own.n_neg.tolist(), own.n_zero.tolist(), own.n_pos.tolist(), strict=True))
    matrices = [split_matrices(task, narrow, b, target=target) for b in range(len(chosen))]
    tables = []
    for mu in spec.mus:
        wide = split_every(narrow, mu)
        index = torch.full((wide.source.numel(),), target, dtype=torch.int64)
        counted = count_directions(wide.networks, task, task_index=index)
        ended = converge(
            task,
            wide.networks,
            task_index=index,
            tol=spec.tol,
            lbfgs_steps=spec.escape_lbfgs_steps,
            newton_steps=spec.escape_newton_steps,
            progress=False,
        )
        if ended.interrupted:
            raise KeyboardInterrupt
        rows = chosen.iloc[wide.source.tolist()].reset_index(drop=True)
        loss, label = _labelled(spec, task, ended, rows["threshold"].tolist())
        source, neuron = wide.source.tolist(), wide.neuron.tolist()
        predicted = [
            UNKNOWN if matrices[b][j].unmet else predicted_inertia(inertias[b], matrices[b][j], mu)
            for b, j in zip(source, neuron, strict=True)
        ]
        frame = rows[["target", "width", "seed", "level", "level_runs", "loss"]].assign(
            neuron=neuron,
            mu=mu,
            inside=0.0 < mu < 1.0,
            predicted_neg=[counts[0] for counts in predicted],
            predicted_zero=[counts[1] for counts in predicted],
            predicted_pos=[counts[2] for counts in predicted],
            n_neg=counted.n_neg.tolist(),
            n_zero=counted.n_zero.tolist(),
            n_pos=counted.n_pos.tolist(),
            min_eig=counted.min_eig.tolist(),
            eps_H=counted.eps_H.tolist(),
            escaped_loss=loss,
            escaped_status=ended.status,
            escaped_verdict=ended.verdict,
            escaped_label=label,
            escaped_outcome=outcomes(
                loss, rows["threshold"].tolist(), ended.verdict, ended.status, label
            ),
        )
        tables.append(frame.assign(destination=_destinations(frame)))
    return pd.concat(tables, ignore_index=True).astype(COLUMNS)[list(COLUMNS)]


def _labelled(
    spec: WidthSweepSpec, task: Task, ended: ConvergeResult, thresholds: list[float]
) -> tuple[list[float], list[str]]:
    """Losses and labels of what is not good, after the push of `edt.certify`."""
    loss, label = ended.loss.tolist(), [UNCERTIFIED] * len(ended.status)
    going = [
        b for b, status in enumerate(ended.status)
        if loss[b] > thresholds[b] and status != "diverged"
    ]  # fmt: skip
    if going and spec.certify_steps:
        chosen = torch.tensor(going)
        found = certify(
            task, ended.networks.select(chosen), task_index=ended.task_index[chosen],
            steps=spec.certify_steps,
        )  # fmt: skip
        for place, b in enumerate(going):
            loss[b], label[b] = float(found.loss[place]), found.label[place]
    return loss, label


def split_table(splits: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Share of split networks that are strict saddles, and where they lead.

    Args:
        splits: table with `COLUMNS`.
        conf: coverage of the intervals.

    Returns:
        One row per (width, mu): ``splits``, ``levels`` behind them, ``strict`` (index at least
        1) with ``share`` and its bounds over the minima (`rate_of_minima`), ``mean_index``,
        ``most_index``, ``agree`` (closed form and full Hessian give the same index), and the number
        with each destination.
    """
    rows = []
    for width, mu in sorted(set(zip(splits["width"].tolist(), splits["mu"].tolist(), strict=True))):
        group = splits[(splits["width"] == width) & (splits["mu"] == mu)]
        strict = int((group["n_neg"] > 0).sum())
        share = rate_of_minima(group, group["n_neg"] > 0, conf)
        ends = group["destination"].value_counts()
        rows.append(
            {
                "width": int(width),
                "mu": float(mu),
                "inside": bool(group["inside"].iloc[0]),
                "splits": len(group),
                "levels": len(group[["target", "level"]].drop_duplicates()),
                "strict": strict,
                "share": share.value,
                "share_low": share.low,
                "share_high": share.high,
                "mean_index": float(group["n_neg"].mean()),
                "most_index": int(group["n_neg"].max()),
                "agree": int((group["n_neg"] == group["predicted_neg"]).sum()),
                **{name: int(ends.get(name, 0)) for name in DESTINATIONS},
            }
        )
    return pd.DataFrame(rows)


def rate_of_minima(splits: pd.DataFrame, won: pd.Series, conf: float = 0.95) -> Interval:
    """Share of splits with a property; minima are the clusters, for the splits of one are alike.

    Args:
        splits: rows of the table; won: bool, aligned with them.
        conf: coverage of `edt.stats.cluster_rate`; of a single minimum the bounds are 0 and 1.
    """
    by = won.groupby([splits["target"], splits["width"], splits["level"]]).agg(["sum", "size"])
    return cluster_rate(by["sum"], by["size"], conf)


def _destinations(frame: pd.DataFrame) -> list[str]:
    """ "good"; "lower": a bad minimum further down; "channel": one to infinity; "stays": the loss
    did not fall; "open": it did, but there is no verdict."""
    before, after = frame["loss"].to_numpy(), frame["escaped_loss"].to_numpy()
    stays = after >= before * (1 - LOWER)
    words = []
    for outcome, same in zip(frame["escaped_outcome"].tolist(), stays.tolist(), strict=True):
        if outcome == "good":
            words.append("good")
        elif same:
            words.append("stays")
        else:
            words.append({"bad": "lower", "channel": "channel"}.get(outcome, "open"))
    return words
