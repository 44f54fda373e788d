"""From a spec to shards: every run numbered, priced, and put with others that train in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from edt.limits import insist, insist_count
from edt.runs.engines.base import Job
from edt.runs.sweeps.axes import AXES
from edt.runs.sweeps.cost import Sizes, predict
from edt.runs.sweeps.spec import SweepSpec

Ints = np.ndarray[Any, np.dtype[np.int64]]

#: Bytes of a run in a plan: its place on every axis, twice, and what its cost is made of.
BYTES = 1000
#: Shards of one sweep: each is a few files.
MOST_SHARDS = 1_000_000
#: Networks in one shard, about: their parameters and optimiser state are in memory together.
MOST_RUNS = 20_000


@dataclass(frozen=True)
class Shard:
    """Runs that train in one call.

    Attributes:
        spec: `SweepSpec.to_dict` of the sweep.
        settings: the axes that all its runs share.
        runs: their numbers.
        columns: the other axes, one value a run.
    """

    spec: dict[str, Any]
    settings: dict[str, Any]
    runs: list[int]
    columns: dict[str, list[Any]]


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep, in shards.

    Attributes:
        spec: of the sweep.
        pools: axis to the values it takes anywhere in the sweep.
        codes: axis to int64 ``[R]``, the place in its pool of each run's value.
        cost: float64 ``[R]``, predicted seconds of one thread.
        members: for each shard, int64 numbers of its runs; shards are numbered in this order.
    """

    spec: SweepSpec
    pools: dict[str, tuple[Any, ...]]
    codes: dict[str, Ints]
    cost: np.ndarray[Any, np.dtype[np.float64]]
    members: list[Ints]

    @property
    def runs(self) -> int:
        """Number of runs."""
        return int(self.cost.size)

    @property
    def seconds(self) -> float:
        """Predicted seconds of one thread for everything."""
        return float(self.cost.sum())

    def shard_cost(self, shard: int) -> float:
        """Predicted seconds of one thread for one shard."""
        return float(self.cost[self.members[shard]].sum())

    def shard(self, number: int) -> Shard:
        """The runs of a shard."""
        runs = self.members[number]
        first = int(runs[0])
        settings, columns = {}, {}
        for name, axis in AXES.items():
            pool, codes = self.pools[name], self.codes[name]
            if axis.single:
                columns[name] = [pool[code] for code in codes[runs].tolist()]
            else:
                settings[name] = pool[int(codes[first])]
        return Shard(self.spec.to_dict(), settings, runs.tolist(), columns)

    def job(self, number: int) -> Job:
        """What a worker needs to compute a shard."""
        shard = self.shard(number)
        return Job(
            name=shard_name(number),
            digest=self.spec.digest,
            cost=self.shard_cost(number),
            work="edt.runs.sweeps.shard:compute",
            arguments=vars(shard),
            gpu=shard.settings["device"] == "cuda",
        )

    def table(self) -> pd.DataFrame:
        """One row a run: ``run``, the value of every axis, ``shard`` and predicted ``seconds``."""
        frame: dict[str, Any] = {"run": np.arange(self.runs)}
        for name in AXES:
            frame[name] = _array(_show(name, self.pools[name]))[self.codes[name]]
        shard = np.empty(self.runs, dtype=np.int64)
        for k, runs in enumerate(self.members):
            shard[runs] = k
        return pd.DataFrame(frame).assign(shard=shard, seconds=self.cost)


def shard_name(shard: int) -> str:
    """Name of a shard's files."""
    return f"shard-{shard:06d}"


def make_plan(spec: SweepSpec) -> Plan:
    """Number, price and group the runs of a sweep.

    Runs that may train in one call (same task, settings and depth) are in one group; a group is
    cut where the predicted cost of a piece reaches ``spec.shard_seconds``. The plan is a function
    of the spec alone.

    Raises:
        ValueError: two points describe the same run, or a run does not fit its task.

    Example:
        >>> plan = make_plan(SweepSpec(task="xor", grid={"width": [2, 3], "seed": "0..9"}))
        >>> plan.runs, len(plan.members)
        (20, 1)
    """
    runs = sum(prod(len(values) for values in block.values()) for block in spec.blocks())
    insist_count("the sweep", runs)
    insist(f"a plan of {runs:,} runs", BYTES * runs)
    pools, codes = _runs(spec)
    sizes = _sizes(spec, pools, codes)
    splits = len(spec.mus) if "embedding" in spec.analysis else 0
    cost = predict(sizes, spectrum="spectrum" in spec.analysis, splits=splits)
    depth = np.array([len(width) for width in pools["width"]])[codes["width"]]
    keys = [codes[name] for name, axis in AXES.items() if not axis.single]
    _, group = np.unique(np.stack([*keys, depth]), axis=1, return_inverse=True)
    return Plan(spec, pools, codes, cost, _shards(group.reshape(-1), cost, spec.shard_seconds))


def _runs(spec: SweepSpec) -> tuple[dict[str, tuple[Any, ...]], dict[str, Ints]]:
    """Pools of values, and the codes of all runs, block after block, last axis fastest."""
    blocks = [
        {name: block.get(name, (axis.default,)) for name, axis in AXES.items()}
        for block in spec.blocks()
    ]
    pools = {
        name: tuple(dict.fromkeys(value for block in blocks for value in block[name]))
        for name in AXES
    }
    places = {name: {value: k for k, value in enumerate(pool)} for name, pool in pools.items()}
    parts: dict[str, list[Ints]] = {name: [] for name in AXES}
    for block in blocks:
        shape = [len(values) for values in block.values()]
        at = np.unravel_index(np.arange(int(np.prod(shape))), shape)
        for (name, values), index in zip(block.items(), at, strict=True):
            place = np.array([places[name][value] for value in values], dtype=np.int64)
            parts[name].append(place[index])
    codes = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    if len(blocks) > 1:
        table = np.stack(list(codes.values()))
        if np.unique(table, axis=1).shape[1] != table.shape[1]:
            raise ValueError("points must not repeat a run: two of them overlap")
    return pools, codes


def _sizes(spec: SweepSpec, pools: dict[str, tuple[Any, ...]], codes: dict[str, Ints]) -> Sizes:
    def of(name: str) -> Any:
        return np.array(pools[name], dtype=np.float64)[codes[name]]

    made = [spec.make_task(index) for index in pools["task"]]
    highest = np.array([task.T for task in made])[codes["task"]]
    if bool((of("target") >= highest).any()):
        raise ValueError(
            f"target must be below the task's number of targets ({int(highest.min())}), got "
            f"{int(of('target').max())}"
        )
    samples = np.array([float(task.N) for task in made])[codes["task"]]
    counts = np.array([[_counts(width, task) for width in pools["width"]] for task in made])
    dense, biases, neurons = np.moveaxis(counts[codes["task"], codes["width"]], -1, 0)
    weights = dense * (1.0 - of("sparsity")) + biases * of("bias")
    batch = of("batch_size")
    if bool((batch > samples).any()):
        raise ValueError(f"batch_size must be at most the number of samples ({int(samples.min())})")
    bottom = of("tol") > 0.0
    return Sizes(
        weights=weights,
        neurons=neurons,
        samples=samples,
        batch=np.where(batch > 0, batch, samples),
        steps=of("steps"),
        lbfgs=of("lbfgs_steps") * bottom,
        newton=of("newton_steps") * bottom,
        wide=np.array([name == "float64" for name in pools["dtype"]])[codes["dtype"]],
    )


def _counts(width: tuple[int, ...], task: Any) -> tuple[float, float, float]:
    """Weights, biases and hidden neurons of a dense network."""
    rows = (task.d_in, *width, task.d_out)
    return float(sum(a * b for a, b in pairwise(rows))), float(sum(rows[1:])), float(sum(width))


def _shards(group: Ints, cost: np.ndarray[Any, Any], target: float) -> list[Ints]:
    """Runs of each shard: groups cut into pieces of about the target cost."""
    needed = float(cost.sum()) / MOST_SHARDS
    if target < needed:
        raise ValueError(
            f"shard_seconds must be at least {needed:.2g} for this sweep ({MOST_SHARDS:,} shards), "
            f"got {target:g}"
        )
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[order], append=-1)) + 1
    shards: list[Ints] = []
    start = 0
    for end in ends.tolist():
        runs = order[start:end]
        total = float(cost[runs].sum())
        pieces = min(max(1, round(total / target), -(-runs.size // MOST_RUNS)), runs.size)
        middle = np.cumsum(cost[runs]) - cost[runs] / 2
        # A run goes to the piece in which the middle of its cost falls.
        piece = np.minimum((middle / total * pieces).astype(np.int64), pieces - 1)
        cuts = np.flatnonzero(np.diff(piece)) + 1
        shards += [part.astype(np.int64) for part in np.split(runs, cuts)]
        start = end
    return shards


def whole_numbers(values: Sequence[int]) -> np.ndarray[Any, Any]:
    """Integers as int64, or as uint64 where one needs it; never as floats, as numpy may choose."""
    large = any(value >= 2**63 for value in values)
    return np.array(values, dtype=np.uint64 if large else np.int64)


def _array(values: list[Any]) -> np.ndarray[Any, Any]:
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return whole_numbers(values) if whole else np.array(values)


def _show(name: str, pool: tuple[Any, ...]) -> list[Any]:
    """Values as tables show them: widths as numbers, or as "8-8" where one has several layers."""
    if name != "width":
        return list(pool)
    if all(len(width) == 1 for width in pool):
        return [width[0] for width in pool]
    return ["-".join(map(str, width)) for width in pool]
