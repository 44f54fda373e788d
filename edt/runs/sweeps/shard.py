"""Compute one shard: train its networks, drive them to the bottom, measure; tables and networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.landscape import certify
from edt.landscape.outcome import UNCERTIFIED
from edt.locations import place
from edt.lottery.connectivity import connected
from edt.runs.custom_data import stored_spec
from edt.runs.sweeps.analysis import embedding_table, spectrum_table
from edt.runs.sweeps.plan import Shard, integers_as_array
from edt.runs.sweeps.spec import SweepSpec
from edt.tasks import Task
from edt.training import ConvergeResult, TrainResult, converge, masked_train

#: Columns measured for each run and their dtypes, in order.
COLUMNS: dict[str, str] = {
    "run": "int64",
    "parameters": "int64",  # trainable ones
    "layers_cut": "int64",  # layers without a weight
    "connected": "bool",  # whether a path of weights leads from an input to an output
    "train_loss": "float64",
    "train_steps": "int64",
    "train_status": "str",
    "loss": "float64",  # after converging, if tol > 0
    "grad_max": "float64",
    "status": "str",
    "verdict": "str",  # "unmeasured" without converging
    "index": "int64",  # -1 where no Hessian was computed; likewise below
    "n_flat": "int64",
    "min_eig": "float64",
    "max_eig": "float64",
    "eps_H": "float64",
    "lbfgs_iterations": "int64",
    "newton_iterations": "int64",
    "label": "str",  # of `edt.certify`; "uncertified" where the run was good, or not looked at
    "distance": "float64",  # Newton distance relative to the norm; NaN likewise
    "gain": "float64",  # share of the loss that a Newton step promises
    "saturated": "int64",  # units that became constant or a step on the data; -1 likewise
}


def compute(directory: str, **shard: Any) -> tuple[dict[str, pd.DataFrame], Ensemble]:
    """Compute a shard. A function of the shard alone, whatever machine and threads.

    Args:
        directory: of the sweep; data that were given as an `edt.Task` are read from it.
        shard: fields of `Shard`.

    Returns:
        tables: "runs" with `COLUMNS`, and one for each analysis step of single networks.
        networks: at the end, in the order of the runs.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    made = Shard(**shard)
    return train_shard(made, stored_spec(SweepSpec, made.spec, place(directory)))


def train_shard(shard: Shard, spec: SweepSpec) -> tuple[dict[str, pd.DataFrame], Ensemble]:
    """As `compute`; the spec is that of the shard, or of its sweep."""
    task = spec.make_task(shard.settings["task"])
    targets = torch.tensor(shard.columns["target"], dtype=torch.int64)
    trained = _train(shard, task, targets)
    ended = _converge(shard, task, trained, targets) if shard.settings["tol"] > 0.0 else None
    rows = _rows(shard, trained, ended)
    final = trained.networks if ended is None else ended.networks
    if ended is not None and shard.settings["certify_steps"]:
        final = _certify(shard, spec, task, ended, rows)
    tables = {"runs": rows.astype(COLUMNS)[list(COLUMNS)]}
    if "spectrum" in spec.analysis:
        tables["spectrum"] = spectrum_table(shard.runs, final, task, targets)
    if "embedding" in spec.analysis and ended is not None:
        tables["embedding"] = embedding_table(rows, final, targets, task, spec.mus)
    return tables, final


def _train(shard: Shard, task: Task, targets: torch.Tensor) -> TrainResult:
    chosen, columns = shard.settings, shard.columns
    batch = chosen["batch_size"]
    momentum = {"momentum": chosen["momentum"], "nesterov": chosen["nesterov"]}
    trained = masked_train(
        task,
        initial(shard, task),
        optimizer=chosen["optimizer"],
        steps=chosen["steps"],
        lr=torch.tensor(columns["lr"], dtype=torch.float64),
        weight_decay=torch.tensor(columns["weight_decay"], dtype=torch.float64),
        betas=(chosen["beta1"], chosen["beta2"]),
        eps=chosen["eps"],
        batch_size=batch or None,
        schedule=chosen["schedule"],
        data_seed=columns["seed"],
        task_index=targets,
        device=chosen["device"],
        record=None,
        progress=False,
        **(momentum if chosen["optimizer"] == "sgd" else {}),
    )
    if trained.interrupted:
        raise KeyboardInterrupt
    return trained


def _converge(
    shard: Shard, task: Task, trained: TrainResult, targets: torch.Tensor
) -> ConvergeResult:
    ended = converge(
        task,
        trained.networks,
        task_index=targets,
        tol=shard.settings["tol"],
        method=shard.settings["method"],
        lbfgs_steps=shard.settings["lbfgs_steps"],
        newton_steps=shard.settings["newton_steps"],
        progress=False,
    )
    if ended.interrupted:
        raise KeyboardInterrupt
    return ended


def initial(shard: Shard, task: Task) -> Ensemble:
    """The networks of a shard before training, in the order of its runs."""
    chosen = shard.settings
    widths: list[tuple[int, ...]] = shard.columns["width"]
    seeds = integers_as_array(shard.columns["seed"])
    parts, places = [], []
    for width in dict.fromkeys(widths):
        rows = [k for k, other in enumerate(widths) if other == width]
        # Runs that differ only in rates start from the same network: it is made once.
        distinct, back = np.unique(seeds[rows], return_inverse=True)
        made = Ensemble.init(
            widths=[width],
            seeds=distinct.tolist(),
            d_in=task.d_in,
            d_out=task.d_out,
            activation=chosen["activation"],
            scheme=chosen["init"],
            scale=chosen["init_scale"],
            bias=chosen["bias"],
            dtype=getattr(torch, chosen["dtype"]),
            sparsity=chosen["sparsity"] or None,
        )
        parts.append(made.select(torch.from_numpy(back.reshape(-1))))
        places += rows
    return Ensemble.concat(parts).select(torch.from_numpy(np.argsort(places)))


def _rows(shard: Shard, trained: TrainResult, ended: ConvergeResult | None) -> pd.DataFrame:
    rows: dict[str, Any] = {
        "run": shard.runs,
        "parameters": trained.networks.coords.tolist(),
        "layers_cut": trained.networks.layers_cut.tolist(),
        "connected": connected(trained.networks).tolist(),
        "train_loss": trained.loss.tolist(),
        "train_steps": trained.steps.tolist(),
        "train_status": trained.status,
    }
    if ended is None:
        rows |= {"loss": trained.loss.tolist(), "grad_max": trained.grad_norm.tolist()}
        rows |= {"status": trained.status, "verdict": "unmeasured"}
        rows |= dict.fromkeys(("index", "n_flat"), -1)
        rows |= dict.fromkeys(("min_eig", "max_eig", "eps_H"), float("nan"))
        rows |= dict.fromkeys(("lbfgs_iterations", "newton_iterations"), 0)
    else:
        names = list(COLUMNS)
        for name in names[names.index("loss") : names.index("label")]:
            value: torch.Tensor | Sequence[str] = getattr(ended, name)
            rows[name] = value.tolist() if isinstance(value, torch.Tensor) else value
    nothing = {"label": UNCERTIFIED, "distance": np.nan, "gain": np.nan, "saturated": -1}
    return pd.DataFrame(rows | nothing)


def _certify(
    shard: Shard, spec: SweepSpec, task: Task, ended: ConvergeResult, rows: pd.DataFrame
) -> Ensemble:
    """Label what is not good (``rows`` in place); the networks, pushed where that was needed.

    Where loss 0 is out of reach only the whole sweep tells what is good: all are labelled.
    """
    loss = ended.loss.numpy()
    going = np.isfinite(loss) & (np.array(ended.status) != "diverged")
    if spec.realisable(shard.settings["task"]):
        going &= loss > spec.good * task.variance.numpy()[ended.task_index.numpy()]
    chosen = torch.from_numpy(np.flatnonzero(going))
    networks: Ensemble = ended.networks
    if not chosen.numel():
        return networks
    found = certify(
        task, networks.select(chosen), task_index=ended.task_index[chosen],
        steps=shard.settings["certify_steps"],
    )  # fmt: skip
    found.write_into(rows, chosen.tolist())
    theta = networks.theta.clone()
    theta[networks.positions(chosen)] = found.networks.theta
    return networks.with_theta(theta)
