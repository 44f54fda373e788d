"""From a spec to shards: every run numbered, priced, and put with others that train in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from edt.ensemble.layout import MAX_PARAMETERS
from edt.limits import TooLargeError, insist
from edt.runs.engines.base import Job
from edt.runs.parts import MOST_PARTS
from edt.runs.sweeps.axes import AXES
from edt.runs.sweeps.cost import Sizes, predict
from edt.runs.sweeps.spec import SweepSpec
from edt.tasks.described import TaskSizes

Ints = np.ndarray[Any, np.dtype[np.int64]]

Floats = np.ndarray[Any, np.dtype[np.float64]]

#: Axes whose values runs of one call share, and the others, which vary fastest.
SHARED = tuple(name for name, axis in AXES.items() if not axis.single)
SINGLE = tuple(name for name, axis in AXES.items() if axis.single)
#: Bytes of a run while a plan is made: where the middle of its cost falls in its group.
BYTES = 64
#: A sweep may be cut into so many pieces of its time; one smaller is a slip.
FINEST = 1_000_000
#: Prices made at once.
CHUNK = 2**16
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
class Block:
    """A full grid: its runs are numbered one after another, the last axis fastest.

    Attributes:
        first: number of its first run.
        places: axis to int64, the places in the pool of the values it takes.
        cost: float64 ``[G, W]``, predicted seconds of one thread of a run with each setting of the
            axes that its group shares and each width; nothing else makes a run dearer.
    """

    first: int
    places: dict[str, Ints]
    cost: Floats

    @cached_property
    def runs(self) -> int:
        """Number of runs."""
        return prod(place.size for place in self.places.values())

    @cached_property
    def inner(self) -> tuple[int, int, int]:
        """Targets, widths, and combinations of the axes after width."""
        sizes = [self.places[name].size for name in SINGLE]
        return sizes[0], sizes[1], prod(sizes[2:])

    def codes(self, name: str, runs: Ints) -> Ints:
        """The place in its pool of the value of an axis, for runs of the block."""
        faster = list(AXES)[list(AXES).index(name) + 1 :]
        stride = prod(self.places[other].size for other in faster)
        place = self.places[name]
        return place[(runs - self.first) // stride % place.size]

    def seconds(self) -> Floats:
        """Predicted seconds of one thread of every run."""
        targets, widths, rest = self.inner
        every = np.broadcast_to(
            self.cost[:, None, :, None], (len(self.cost), targets, widths, rest)
        )
        return every.reshape(-1)


@dataclass(frozen=True)
class Segment:
    """The runs of one block in one group: those of a setting, with widths of one depth."""

    block: Block
    setting: int
    widths: Ints

    @property
    def size(self) -> int:
        """Number of runs."""
        targets, _, rest = self.block.inner
        return targets * self.widths.size * rest

    def runs(self, start: int, stop: int) -> Ints:
        """Numbers of some of its runs."""
        targets, widths, rest = self.block.inner
        at = np.arange(start, stop)
        inner = (at // (rest * self.widths.size) * widths + self._widths(at)) * rest + at % rest
        return np.asarray(self.block.first + self.setting * targets * widths * rest + inner)

    def cost(self) -> Floats:
        """Predicted seconds of each run."""
        return np.asarray(self.block.cost[self.setting, self._widths(np.arange(self.size))])

    def _widths(self, at: Ints) -> Ints:
        return self.widths[at // self.block.inner[2] % self.widths.size]


class Members(Sequence[Ints]):
    """For each shard, int64 numbers of its runs, made when asked for.

    Args:
        segments: those of each group.
        shards: for each shard its group, and where in the group it starts and stops.
    """

    def __init__(self, segments: list[list[Segment]], shards: list[tuple[int, int, int]]) -> None:
        self._segments, self._shards = segments, np.array(shards, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, shard: Any) -> Any:
        group, start, stop = self._shards[shard].tolist()
        found, before = [], 0
        for segment in self._segments[group]:
            low, high = max(start - before, 0), min(stop - before, segment.size)
            if low < high:
                found.append(segment.runs(low, high))
            before += segment.size
        return np.concatenate(found)

    def size(self, shard: int) -> int:
        """Number of runs of a shard."""
        _, start, stop = self._shards[shard].tolist()
        return int(stop - start)


@dataclass(frozen=True)
class SweepPlan:
    """All runs of a sweep, in shards; what it says of a run follows from the run's number.

    Attributes:
        spec: of the sweep.
        pools: axis to the values it takes anywhere in the sweep.
        blocks: the grids whose union it is.
        members: for each shard, int64 numbers of its runs; shards are numbered in this order.
        costs: float64, predicted seconds of one thread for each shard.
    """

    spec: SweepSpec
    pools: dict[str, tuple[Any, ...]]
    blocks: list[Block]
    members: Members
    costs: Floats

    @property
    def runs(self) -> int:
        """Number of runs."""
        return sum(block.runs for block in self.blocks)

    @property
    def seconds(self) -> float:
        """Predicted seconds of one thread for everything."""
        return float(self.costs.sum())

    def codes(self, name: str, runs: Ints) -> Ints:
        """The place in its pool of the value of an axis, for each of these runs, rising."""
        cuts = np.searchsorted(runs, [block.first for block in self.blocks[1:]])
        parts = zip(self.blocks, np.split(runs, cuts), strict=True)
        return np.concatenate([block.codes(name, part) for block, part in parts if part.size])

    def shard(self, number: int) -> Shard:
        """The runs of a shard."""
        runs = self.members[number]
        settings, columns = {}, {}
        for name in AXES:
            pool = self.pools[name]
            if name in SINGLE:
                columns[name] = [pool[code] for code in self.codes(name, runs).tolist()]
            else:
                settings[name] = pool[int(self.codes(name, runs[:1])[0])]
        # Other values are of no use to it, and there may be a million.
        spec = replace(self.spec, grid=settings, points=()).to_dict()
        return Shard(spec, settings, runs.tolist(), columns)

    def job(self, number: int) -> Job:
        """What a worker needs to compute a shard."""
        shard = self.shard(number)
        return Job(
            name=shard_name(number),
            digest=self.spec.digest,
            cost=float(self.costs[number]),
            work="edt.runs.sweeps.shard:compute",
            arguments=vars(shard),
            gpu=shard.settings["device"] == "cuda",
        )

    def table(self) -> pd.DataFrame:
        """One row a run: ``run``, the value of every axis, ``shard`` and predicted ``seconds``."""
        runs = np.arange(self.runs)
        frame: dict[str, Any] = {"run": runs}
        for name in AXES:
            frame[name] = _array(_show(name, self.pools[name]))[self.codes(name, runs)]
        shard = np.empty(self.runs, dtype=np.int64)
        for k, members in enumerate(self.members):
            shard[members] = k
        seconds = np.concatenate([block.seconds() for block in self.blocks])
        return pd.DataFrame(frame).assign(shard=shard, seconds=seconds)


def shard_name(shard: int) -> str:
    """Name of a shard's files."""
    return f"shard-{shard:06d}"


def make_plan(spec: SweepSpec) -> SweepPlan:
    """Number, price and group the runs of a sweep, none of which is listed.

    Runs that may train in one call (same task, settings and depth) are in one group; a group is
    cut where the predicted cost of a piece reaches ``spec.shard_seconds``. The plan is a function
    of the spec alone.

    Raises:
        ValueError: two points describe the same run, or a run does not fit its task.
        TooLargeError: it has more runs or shards than one plan may have.

    Example:
        >>> plan = make_plan(SweepSpec(task="xor", grid={"width": [2, 3], "seed": "0..9"}))
        >>> plan.runs, len(plan.members)
        (20, 1)
    """
    grids = [
        {name: block.get(name, (axis.default,)) for name, axis in AXES.items()}
        for block in spec.blocks()
    ]
    runs = [prod(map(len, grid.values())) for grid in grids]
    groups = max(prod(len(grid[name]) for name in SHARED) for grid in grids)
    if groups > MOST_PARTS:
        raise TooLargeError(
            f"the sweep has {groups:,} combinations of axes whose values cannot train in one call "
            f"({', '.join(name for name in SHARED if any(len(g[name]) > 1 for g in grids))}), each "
            f"a shard of its own, and may have {MOST_PARTS:,} shards"
        )
    if _overlap(grids, list(AXES)):
        raise ValueError("points must not repeat a run: two of them overlap")
    insist(f"a plan of {sum(runs):,} runs", BYTES * sum(runs))
    pools = {
        name: tuple(dict.fromkeys(chain.from_iterable(_distinct(grid[name] for grid in grids))))
        for name in AXES
    }
    places = [{} for _ in grids]  # type: list[dict[str, Ints]]
    for name, pool in pools.items():
        code = {value: k for k, value in enumerate(pool)}
        known: dict[int, Ints] = {}
        for grid, found in zip(grids, places, strict=True):
            values = grid[name]
            if id(values) not in known:
                known[id(values)] = np.array([code[value] for value in values], dtype=np.int64)
            found[name] = known[id(values)]
    price = _pricing(spec, pools)
    firsts = np.cumsum([0, *runs])[:-1].tolist()
    blocks = [
        Block(first, place, price(place)) for first, place in zip(firsts, places, strict=True)
    ]
    segments = _groups(blocks, pools)
    shards, costs = _cut(segments, blocks, spec.shard_seconds)
    return SweepPlan(spec, pools, blocks, Members(segments, shards), np.array(costs))


def _distinct(values: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Tuples in order, the same one once: points share most of theirs."""
    return list({id(one): one for one in values}.values())


def _overlap(grids: Sequence[dict[str, tuple[Any, ...]]], names: list[str]) -> bool:
    """Whether two grids have a run in common: the values of every axis meet."""
    while len(grids) > 1 and names:
        values = _distinct(grid[names[0]] for grid in grids)
        if len(values) > 1:
            holders: dict[Any, list[int]] = {}
            for k, grid in enumerate(grids):
                for value in grid[names[0]]:
                    holders.setdefault(value, []).append(k)
            subsets = {tuple(subset) for subset in holders.values() if len(subset) > 1}
            return any(_overlap([grids[k] for k in subset], names[1:]) for subset in subsets)
        names = names[1:]
    return len(grids) > 1


def _pricing(
    spec: SweepSpec, pools: dict[str, tuple[Any, ...]]
) -> Callable[[dict[str, Ints]], Floats]:
    """What prices the settings and widths of a block."""
    tasks = [spec.task_sizes(index) for index in pools["task"]]
    counts = np.array([[_counts(width, task) for width in pools["width"]] for task in tasks])
    largest = float(counts[..., :2].sum(-1).max())
    if largest > MAX_PARAMETERS:
        raise ValueError(
            f"width must give each network at most {MAX_PARAMETERS:,} parameters, got {largest:.4g}"
        )
    insist(f"a network of {largest:,.0f} parameters", int(2 * 8 * largest))
    value = {
        name: np.array(pools[name], dtype=np.float64)
        for name in ("target", "sparsity", "bias", "batch_size", "steps", "tol", "lbfgs_steps",
                     "newton_steps", "certify_steps")
    }  # fmt: skip
    wide = np.array([name == "float64" for name in pools["dtype"]])
    targets = np.array([task.T for task in tasks])
    samples = np.array([float(task.N) for task in tasks])
    splits = len(spec.mus) if "embedding" in spec.analysis else 0

    def price(places: dict[str, Ints]) -> Floats:
        tasks = places["task"]
        highest, largest = value["target"][places["target"]].max(), targets[tasks].min()
        if highest >= largest:
            raise ValueError(
                f"target must be below the task's number of targets ({largest}), got {highest:.0f}"
            )
        if value["batch_size"][places["batch_size"]].max() > samples[tasks].min():
            raise ValueError(
                f"batch_size must be at most the number of samples ({samples[tasks].min():.0f})"
            )
        shape = [places[name].size for name in SHARED]
        widths = places["width"]
        cost = np.empty((prod(shape), widths.size))
        step = max(1, CHUNK // widths.size)
        for start in range(0, len(cost), step):
            rows = np.unravel_index(np.arange(start, min(start + step, len(cost))), shape)
            at = {name: places[name][row][:, None] for name, row in zip(SHARED, rows, strict=True)}
            of = {name: known[at[name]] for name, known in value.items() if name in at}
            dense, biases, neurons = np.moveaxis(counts[at["task"], widths], -1, 0)
            batch, bottom = of["batch_size"], of["tol"] > 0.0
            sizes = Sizes(
                weights=dense * (1.0 - of["sparsity"]) + biases * of["bias"],
                neurons=neurons,
                samples=samples[at["task"]],
                batch=np.where(batch > 0, batch, samples[at["task"]]),
                steps=of["steps"],
                lbfgs=of["lbfgs_steps"] * bottom,
                newton=(of["newton_steps"] + of["certify_steps"]) * bottom,
                wide=wide[at["dtype"]],
            )
            cost[start : start + step] = predict(
                sizes, spectrum="spectrum" in spec.analysis, splits=splits
            )
        return cost

    return price


def _counts(width: tuple[int, ...], task: TaskSizes) -> tuple[float, float, float]:
    """Weights, biases and hidden neurons of a dense network."""
    rows = (task.d_in, *width, task.d_out)
    return float(sum(a * b for a, b in pairwise(rows))), float(sum(rows[1:])), float(sum(width))


def _groups(blocks: list[Block], pools: dict[str, tuple[Any, ...]]) -> list[list[Segment]]:
    """The segments of each group: settings and depth rise, blocks in order."""
    depths = np.array([len(width) for width in pools["width"]])
    segments: list[Segment] = []
    columns: list[list[Ints]] = [[] for _ in range(len(SHARED) + 1)]
    for block in blocks:
        shape = [block.places[name].size for name in SHARED]
        settings = prod(shape)
        mine = depths[block.places["width"]]
        rows = np.unravel_index(np.arange(settings), shape)
        found = np.unique(mine)
        for name, row, column in zip(SHARED, rows, columns, strict=False):
            column.append(np.repeat(block.places[name][row], found.size))
        columns[-1].append(np.tile(found, settings))
        widths = [np.flatnonzero(mine == depth) for depth in found]
        segments += [Segment(block, k, width) for k in range(settings) for width in widths]
    keys = np.stack([np.concatenate(column) for column in columns])
    # Axes with one value order nothing.
    keys = keys[[bool((row != row[0]).any()) for row in keys]]
    if not len(keys):
        return [segments]
    groups, group = np.unique(keys, axis=1, return_inverse=True)
    if groups.shape[1] > MOST_PARTS:
        raise TooLargeError(
            f"the sweep has {groups.shape[1]:,} groups of runs that cannot train in one call, each "
            f"a shard of its own, and may have {MOST_PARTS:,} shards"
        )
    out: list[list[Segment]] = [[] for _ in range(groups.shape[1])]
    for k, segment in zip(group.reshape(-1).tolist(), segments, strict=True):
        out[k].append(segment)
    return out


def _cut(
    segments: list[list[Segment]], blocks: list[Block], target: float
) -> tuple[list[tuple[int, int, int]], list[float]]:
    """Where each shard is (group, start, stop) and what it costs: pieces of about that cost."""
    seconds = sum(float(block.cost.sum()) * block.inner[0] * block.inner[2] for block in blocks)
    needed = seconds / FINEST
    if target < needed:
        raise ValueError(
            f"shard_seconds must be at least {needed:.2g} for this sweep, got {target:g}"
        )
    shards: list[tuple[int, int, int]] = []
    costs: list[float] = []
    for group, parts in enumerate(segments):
        cost = np.concatenate([part.cost() for part in parts])
        total = float(cost.sum())
        pieces = min(max(1, round(total / target), -(-cost.size // MOST_RUNS)), cost.size)
        middle = np.cumsum(cost) - cost / 2
        # A run goes to the piece in which the middle of its cost falls.
        piece = np.minimum((middle / total * pieces).astype(np.int64), pieces - 1)
        cuts = [0, *(np.flatnonzero(np.diff(piece)) + 1).tolist(), cost.size]
        shards += [(group, start, stop) for start, stop in pairwise(cuts)]
        costs += [float(cost[start:stop].sum()) for start, stop in pairwise(cuts)]
        if len(shards) > MOST_PARTS:
            raise TooLargeError(
                f"this plan has more than {MOST_PARTS:,} shards; a larger shard_seconds than "
                f"{target:g} makes fewer"
            )
    return shards, costs


def integers_as_array(values: Sequence[int]) -> np.ndarray[Any, Any]:
    """Integers as int64, or as uint64 where one needs it; never as floats, as numpy may choose."""
    large = any(value >= 2**63 for value in values)
    return np.array(values, dtype=np.uint64 if large else np.int64)


def _array(values: list[Any]) -> np.ndarray[Any, Any]:
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return integers_as_array(values) if whole else np.array(values)


def _show(name: str, pool: tuple[Any, ...]) -> list[Any]:
    """Values as tables show them: widths as numbers, or as "8-8" where one has several layers."""
    if name != "width":
        return list(pool)
    if all(len(width) == 1 for width in pool):
        return [width[0] for width in pool]
    return ["-".join(map(str, width)) for width in pool]
