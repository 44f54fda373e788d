"""Train and converge all seeds of one (target, width): one row a network."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.landscape import certify, outcomes
from edt.landscape.outcome import UNCERTIFIED
from edt.lottery import at_reference_scale
from edt.studies.common.channels import closest_opponents, with_channels
from edt.studies.common.find_tickets import SEED_STRIDE
from edt.studies.common.levels import label_levels
from edt.studies.common.spec_parts import StudentSpec
from edt.studies.common.targets import good_loss
from edt.tasks import Task
from edt.training import ConvergeResult, converge, masked_train
from edt.training.rounds import descend_in_rounds

#: Columns of ``runs`` and their dtypes, in order. The last three are filled by `label_runs`.
COLUMNS: dict[str, str] = {
    "target": "int64",
    "width": "int64",
    "seed": "int64",
    "parameters": "int64",  # trainable ones
    "train_loss": "float64",  # after the first-order phase
    "train_steps": "int64",
    "train_status": "str",
    "loss": "float64",
    "grad_max": "float64",
    "status": "str",
    "verdict": "str",  # "unmeasured" where the run was good before it was converged
    "index": "int64",  # -1 where no Hessian was computed
    "n_flat": "int64",
    "min_eig": "float64",
    "eps_H": "float64",
    "lbfgs_iterations": "int64",
    "newton_iterations": "int64",
    "label": "str",  # of `edt.certify`; "uncertified" where the run was good before
    "distance": "float64",  # Newton distance relative to the norm; NaN where not looked at
    "gain": "float64",  # share of the loss that a Newton step promises
    "saturated": "int64",  # units that became constant or a step on the data; -1 likewise
    "certify_steps": "int64",  # Newton steps given to the run to certify it
    "norm": "float64",  # of the parameters
    "twin": "float64",  # closeness of the nearest opponents, see `edt.studies.common.channels`
    "threshold": "float64",
    "outcome": "str",
    "level": "int64",
}


#: Those of one part: thresholds are set when all are there.
PART_COLUMNS = {name: COLUMNS[name] for name in list(COLUMNS)[:-3]}


def seeds_of(spec: StudentSpec, target: int) -> list[int]:
    """Seeds of the students of one target, as given to `edt.Ensemble.init`."""
    first = target * SEED_STRIDE + spec.first_seed
    return list(range(first, first + spec.seeds))


def run_part(
    spec: StudentSpec, task: Task, target: int, width: int
) -> tuple[pd.DataFrame, Ensemble]:
    """Train and converge one (target, width).

    Adam in the kernel, then rounds of L-BFGS (Levenberg-Marquardt in sight of loss 0), then
    `edt.converge` in full. Networks that reach the
    good loss leave after each; only the others are driven to the bottom, and certified there.

    Args:
        spec: protocol.
        task: all targets.
        target: which one.
        width: hidden neurons.

    Returns:
        table with `COLUMNS` but the last three, and the networks, in the same order.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    seeds = seeds_of(spec, target)
    start = Ensemble.init(
        widths=[width],
        seeds=seeds,
        d_in=task.d_in,
        d_out=task.d_out,
        activation=spec.activation,
        scheme=spec.init,
        scale=spec.init_scale,
        bias=spec.bias,
        dtype=torch.float64,
    )
    if spec.fixed_scale:
        start = at_reference_scale(start, spec.init, spec.reference_width)
    index = torch.full((len(seeds),), target, dtype=torch.int64)
    enough = good_loss(spec, task, target)
    trained = masked_train(
        task,
        start,
        optimizer="adam",
        steps=spec.steps,
        lr=spec.lr,
        schedule=spec.schedule,
        loss_target=enough,
        task_index=index,
        record=None,
        progress=False,
    )
    if trained.interrupted:
        raise KeyboardInterrupt
    frame = pd.DataFrame(
        {
            "target": target,
            "width": width,
            "seed": seeds,
            "parameters": trained.networks.coords.tolist(),
            "train_loss": trained.loss.tolist(),
            "train_steps": trained.steps.tolist(),
            "train_status": trained.status,
            "loss": trained.loss.tolist(),
            "grad_max": trained.grad_norm.tolist(),
            "status": trained.status,
            "verdict": "unmeasured",
            "index": -1,
            "n_flat": -1,
            "min_eig": float("nan"),
            "eps_H": float("nan"),
            "lbfgs_iterations": 0,
            "newton_iterations": 0,
            "label": UNCERTIFIED,
            "distance": float("nan"),
            "gain": float("nan"),
            "saturated": -1,
            "certify_steps": 0,
        }
    )
    theta = trained.networks.theta.reshape(len(seeds), -1).clone()
    loss = torch.tensor(frame["loss"].to_numpy(copy=True))
    loss[torch.tensor(frame["status"].eq("diverged").to_numpy())] = float("nan")
    state, fell = descend_in_rounds(
        task.objective(trained.networks, index), theta.flatten(), loss,
        rounds=spec.lbfgs_rounds, steps=spec.lbfgs_steps, enough=enough, tol=spec.tol,
    )  # fmt: skip
    theta = state.theta.reshape(len(seeds), -1).clone()
    loss[fell] = state.loss[fell]
    frame["lbfgs_iterations"] += state.lbfgs_iterations.numpy()
    frame["newton_iterations"] += state.newton_iterations.numpy()
    low = torch.isfinite(loss)
    if enough is not None:
        low &= loss > enough
    # Those that are good, or diverged on the way, are looked at where they stand.
    for chosen, budget in ((fell & ~low, (0, 0)), (low, (spec.lbfgs_steps, spec.newton_steps))):
        places = torch.nonzero(chosen).flatten()
        if not places.numel():
            continue
        ended = converge(
            task,
            trained.networks.with_theta(theta.flatten()).select(places),
            task_index=index[places],
            tol=spec.tol,
            lbfgs_steps=budget[0],
            newton_steps=budget[1],
            progress=False,
        )
        if ended.interrupted:
            raise KeyboardInterrupt
        theta[places] = ended.networks.theta.reshape(places.numel(), -1)
        _enter(frame, places, ended)
    going = frame["status"].to_numpy(dtype=str) != "diverged"
    if enough is not None:
        going &= frame["loss"].to_numpy() > enough
    chosen = torch.from_numpy(np.flatnonzero(going))
    if chosen.numel() and spec.certify_steps:
        some = trained.networks.with_theta(theta.flatten()).select(chosen)
        found = certify(task, some, task_index=index[chosen], steps=spec.certify_steps)
        theta[chosen] = found.networks.theta.reshape(chosen.numel(), -1)
        found.write_into(frame, chosen.tolist())
    final = trained.networks.with_theta(theta.flatten())
    frame["norm"] = theta.norm(dim=1).tolist()
    frame["twin"] = closest_opponents(final).tolist()
    head = list(COLUMNS)[:-3]
    columns = frame.astype({name: COLUMNS[name] for name in head})[head]
    return columns, final


def label_runs(spec: StudentSpec, task: Task, parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """All runs in one table, with threshold, outcome and loss level.

    Outcomes are those of `edt.landscape.outcomes`, by the certified labels. Of runs that were not
    certified, one that did not converge is in a "channel" when two opponents' input weights are
    within ``1 - cos <= 1e-3``.

    Args:
        spec: ``good`` and ``reference_width``.
        task: all targets.
        parts: tables of `run_part`.

    Returns:
        Table with `COLUMNS`, sorted by (target, width, seed).
    """
    runs = pd.concat(list(parts), ignore_index=True)
    runs = runs.sort_values(["target", "width", "seed"], ignore_index=True)
    limits = {}
    for target in sorted({int(t) for t in runs["target"].tolist()}):
        limit = good_loss(spec, task, target)
        if limit is None:
            group = runs[runs["target"] == target]
            narrow = group[group["width"] <= spec.reference_width]
            best = (narrow if len(narrow) else group)["loss"].min()
            limit = float(best) * (1 + spec.good)
        limits[target] = limit
    runs["threshold"] = runs["target"].map(limits).astype("float64")
    words = outcomes(
        runs["loss"].tolist(),
        runs["threshold"].tolist(),
        runs["verdict"].tolist(),
        runs["status"].tolist(),
        runs["label"].tolist(),
    )
    unlabelled = runs["label"].eq(UNCERTIFIED)
    runs["outcome"] = np.where(unlabelled, with_channels(words, runs["twin"].tolist()), words)
    runs["level"] = label_levels(runs)
    return runs.astype(COLUMNS)[list(COLUMNS)]


def _enter(frame: pd.DataFrame, chosen: torch.Tensor, ended: ConvergeResult) -> None:
    """Write the results of the chosen networks into their rows; iterations add up."""
    rows = chosen.tolist()
    for name in ("loss", "grad_max", "index", "n_flat", "min_eig", "eps_H"):
        frame.loc[rows, name] = getattr(ended, name).tolist()
    for name in ("status", "verdict"):
        frame.loc[rows, name] = getattr(ended, name)
    for name in ("lbfgs_iterations", "newton_iterations"):
        frame.loc[rows, name] += getattr(ended, name).numpy()
