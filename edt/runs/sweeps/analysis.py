"""What a sweep can measure at the end of its runs: spectra, splits, and the census of minima."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch

from edt.curvature import count_directions
from edt.curvature.spectrum import finite_spectra
from edt.ensemble import Ensemble
from edt.landscape import predicted_inertia, split_matrices
from edt.landscape.census import census
from edt.landscape.embed import split_every
from edt.landscape.inertia import UNKNOWN
from edt.landscape.minima import Minima
from edt.landscape.outcome import UNCERTIFIED
from edt.runs.sweeps.axes import AXES
from edt.runs.sweeps.spec import SweepSpec
from edt.tasks import Task

SPECTRUM: dict[str, str] = {"run": "int64", "k": "int64", "eigenvalue": "float64"}
EMBEDDING: dict[str, str] = {
    "run": "int64",
    "neuron": "int64",
    "mu": "float64",
    "n_neg": "int64",  # escape dimensions of the split network, from its full Hessian
    "n_zero": "int64",
    "predicted_neg": "int64",  # the same from the closed form
    "predicted_zero": "int64",
    "min_eig": "float64",
    "eps_H": "float64",
}


def spectrum_table(
    runs: Sequence[int], networks: Ensemble, task: Task, targets: torch.Tensor
) -> pd.DataFrame:
    """All eigenvalues of every Hessian, ascending: columns `SPECTRUM`; none of what diverged."""
    suited = task if task.dtype == networks.dtype else task.to(networks.dtype)
    parts = [pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in SPECTRUM.items()})]
    for run, values in zip(runs, finite_spectra(networks, suited, targets), strict=True):
        if values is not None:
            rows = {"run": run, "k": range(values.numel()), "eigenvalue": values.tolist()}
            parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True).astype(SPECTRUM)


def embedding_table(
    runs: pd.DataFrame, networks: Ensemble, targets: torch.Tensor, task: Task, mus: Sequence[float]
) -> pd.DataFrame:
    """Every neuron of every strict minimum split at every mu: columns `EMBEDDING`.

    Args:
        runs: rows of a shard, with labels; without one the word of `edt.converge` has to do.
        networks: at the end, in the same order.
        targets: int64 ``[B]``.
        task: data.
        mus: output shares.
    """
    word = runs["label"].where(runs["label"] != UNCERTIFIED, runs["verdict"])
    chosen = [b for b, said in enumerate(word) if said == "minimum"]
    parts = [pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in EMBEDDING.items()})]
    if not chosen:
        return parts[0]
    narrow = networks.select(torch.tensor(chosen))
    targets = targets[chosen]
    matrices = [split_matrices(task, narrow, b, target=int(targets[b])) for b in range(len(chosen))]
    inertias = []
    for b in chosen:
        negative, zero = int(runs["index"].iloc[b]), int(runs["n_flat"].iloc[b])
        inertias.append((negative, zero, int(networks.coords[b]) - negative - zero))
    for mu in mus:
        wide = split_every(narrow, mu)
        source, neuron = wide.source.tolist(), wide.neuron.tolist()
        counted = count_directions(wide.networks, task, task_index=targets[wide.source])
        predicted = [
            UNKNOWN if matrices[b][j].unmet else predicted_inertia(inertias[b], matrices[b][j], mu)
            for b, j in zip(source, neuron, strict=True)
        ]
        frame = {
            "run": [int(runs["run"].iloc[chosen[b]]) for b in source],
            "neuron": neuron,
            "mu": mu,
            "n_neg": counted.n_neg.tolist(),
            "n_zero": counted.n_zero.tolist(),
            "predicted_neg": [counts[0] for counts in predicted],
            "predicted_zero": [counts[1] for counts in predicted],
            "min_eig": counted.min_eig.tolist(),
            "eps_H": counted.eps_H.tolist(),
        }
        parts.append(pd.DataFrame(frame))
    return pd.concat(parts[1:], ignore_index=True).astype(EMBEDDING)[list(EMBEDDING)]


def census_tables(
    spec: SweepSpec, runs: pd.DataFrame, networks: Callable[[Sequence[int]], Ensemble]
) -> pd.DataFrame:
    """Distinct minima per width, for each combination of the other axes.

    Args:
        spec: its tasks.
        runs: all runs, labelled, with their axes.
        networks: networks of runs, by number, in the order asked for.

    Returns:
        Rows of `edt.landscape.census.Census.table`, preceded by the axes that vary.
    """
    axes = [name for name in AXES if name not in ("width", "seed", "target")]
    varying = [name for name in axes if runs[name].nunique() > 1]
    parts = []
    for key, group in runs.groupby(axes, sort=True):
        values: dict[str, Any] = dict(zip(axes, key, strict=True))
        minima = _minima(group, networks(group["run"].tolist()))
        table = census(spec.make_task(int(values["task"])), minima).table()
        parts.append(table.assign(**{name: values[name] for name in varying}))
    whole = pd.concat(parts, ignore_index=True)
    return whole[[*varying, *[name for name in whole.columns if name not in varying]]]


def _minima(group: pd.DataFrame, networks: Ensemble) -> Minima:
    def of(name: str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.tensor(group[name].tolist(), dtype=dtype)

    def words(name: str) -> list[Any]:
        return [str(word) for word in group[name]]

    whole = torch.int64
    return Minima(
        networks=networks,
        task_index=of("target", whole),
        loss=of("loss"),
        grad_max=of("grad_max"),
        threshold=of("threshold"),
        outcome=words("outcome"),
        status=words("status"),
        verdict=words("verdict"),
        index=of("index", whole),
        n_flat=of("n_flat", whole),
        min_eig=of("min_eig"),
        iterations=of("train_steps", whole)
        + of("lbfgs_iterations", whole)
        + of("newton_iterations", whole),
        label=words("label"),
    )
