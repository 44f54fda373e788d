"""Plateaus of gradient flow, and whether they last as long as their curvature says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import torch

from edt.curvature import hessian_spectrum
from edt.curvature.verdicts import inertia, zero_threshold
from edt.ensemble import Ensemble
from edt.flow import gradient_flow
from edt.landscape.index_paths import dips
from edt.stats.association import rank_test
from edt.tasks import Task

#: Columns of ``plateaus`` and their dtypes.
PLATEAUS: dict[str, str] = {
    "target": "int64",
    "seed": "int64",
    "time": "float64",  # of the dip
    "loss": "float64",  # there, as a share of the target's variance
    "grad_norm": "float64",
    "index": "int64",
    "kappa": "float64",  # NaN where no eigenvalue is negative
    "stay": "float64",  # from the dip until a tenth of the loss is gone, or to the end
    "left": "bool",
}
#: Moments at which a flow is looked at, and the first of them.
LOOKS, FIRST = 200, 1e-2
#: A dip has gradients so many times as large before and after it (`edt.landscape.plateaus`).
DEPTH = 0.3
#: Share of the loss to be gone.
GONE = 0.1


def plateau_rows(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of ``plateaus``."""
    return pd.DataFrame(rows, columns=list(PLATEAUS)).astype(PLATEAUS)


def plateaus_of(
    task: Task, start: Ensemble, target: int, seeds: list[int], end: float
) -> pd.DataFrame:
    """Dips of the gradient along gradient flow, their curvature, and the time spent there.

    Args:
        task: data; target: which.
        start: where flows begin.
        seeds: ``[B]``, their names.
        end: time of every flow.

    Returns:
        Rows of ``plateaus`` (`PLATEAUS`).

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    flow = gradient_flow(
        task, start, max_time=end, record=np.geomspace(FIRST, end, LOOKS).tolist(),
        record_params=True, task_index=torch.full((start.B,), target), progress=False,
    )  # fmt: skip
    if flow.interrupted:
        raise KeyboardInterrupt
    at, loss, grad = (
        values.numpy() for values in (flow.recorded.at, flow.recorded.loss, flow.recorded.grad_norm)
    )
    assert flow.recorded.params is not None
    rows: list[dict[str, Any]] = []
    points = []
    for b, seed in enumerate(seeds):
        known = np.flatnonzero(np.isfinite(grad[:, b]))
        for dip in dips(grad[known, b], DEPTH):
            k = int(known[dip])
            gone = known[dip:][loss[known[dip:], b] < (1.0 - GONE) * loss[k, b]]
            last = int(gone[0]) if len(gone) else int(known[-1])
            own = start.select([b])
            span = slice(int(start.offsets[b]), int(start.offsets[b + 1]))
            points.append(own.with_theta(flow.recorded.params[k, span]))
            rows.append(
                {"target": target, "seed": seed, "time": float(at[k]),
                 "loss": float(loss[k, b]) / float(task.variance[target]),
                 "grad_norm": float(grad[k, b]), "stay": float(at[last] - at[k]),
                 "left": bool(len(gone))}
            )  # fmt: skip
    if points:
        whole = Ensemble.concat(points)
        spectra = hessian_spectrum(whole, task, task_index=torch.full((whole.B,), target))
        for row, values in zip(rows, spectra, strict=True):
            negative = inertia(values, zero_threshold(values))[0]
            row |= {"index": negative, "kappa": -float(values[0]) if negative else math.nan}
    return plateau_rows(rows)


def plateau_table(plateaus: pd.DataFrame, draws: int = 1000) -> pd.DataFrame:
    """Do plateaus of gradient flow last the longer, the flatter their way down?

    Plateaus of one teacher at one saddle (equal loss and curvature to 1%) count once, with their
    mean time: flows that pass the same saddle are no independent evidence of its curvature.

    Args:
        plateaus: table ``plateaus``.
        draws: permutations of the times within teachers, behind the test.

    Returns:
        One row: ``plateaus``, ``saddles`` (distinct ones with a way down), ``teachers``, ``left``
        (share left before the end), ``correlation`` (Spearman's, of kappa and the time spent,
        within teachers), the null's 97.5% point ``limit`` and ``p`` (two-sided); ``product``, the
        median of kappa times the time.
    """
    row: dict[str, float] = {
        "plateaus": len(plateaus), "saddles": 0, "teachers": 0, "left": math.nan,
        "correlation": math.nan, "limit": math.nan, "p": math.nan, "product": math.nan,
    }  # fmt: skip
    own = plateaus[plateaus["kappa"].notna()]
    if not len(own):
        return pd.DataFrame([row])
    same = [np.round(np.log(own[name]) / math.log(1.01)) for name in ("loss", "kappa")]
    each = own.assign(stay=np.log(own["stay"]), loss=same[0], level=same[1])
    saddles = each.groupby(["target", "loss", "level"], as_index=False)[["stay", "kappa"]].mean()
    target = saddles["target"].to_numpy()
    row |= {
        "saddles": len(saddles), "teachers": int(saddles["target"].nunique()),
        "left": float(own["left"].mean()),
        "product": float((saddles["kappa"] * np.exp(saddles["stay"])).median()),
    }  # fmt: skip
    if len(saddles) > 2:
        kappa = saddles["kappa"].to_numpy()
        found = rank_test(saddles["stay"].to_numpy(), kappa, target, draws)
        row |= {"correlation": found.value, "limit": found.limit, "p": found.p}
    return pd.DataFrame([row])
