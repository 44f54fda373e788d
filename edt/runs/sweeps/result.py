"""What a sweep returns: one row a run, and the tables of its analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.files import CheckpointError
from edt.landscape import outcomes
from edt.landscape.outcome import OUTCOMES, UNCERTIFIED
from edt.limits import insist
from edt.locations import at_once
from edt.runs.engines.base import Job
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.runs.store import Manifest, PartError, PartFiles, Wanted
from edt.runs.sweeps.analysis import EMBEDDING, SPECTRUM, census_tables
from edt.runs.sweeps.axes import AXES, axis_order
from edt.runs.sweeps.plan import SweepPlan, make_plan, shard_name
from edt.runs.sweeps.shard import COLUMNS, train_shard
from edt.runs.sweeps.spec import SweepSpec
from edt.runs.trust import insist_confirmed
from edt.stats import wilson

#: Bytes of a run in the table of its sweep, which is put together in memory.
ROW = 1000


@dataclass(repr=False)
class Sweep(Experiment):
    """A finished sweep.

    Attributes:
        spec: what was run.
        tables: "runs" (see `runs`), and with them "spectrum", "embedding", "census" as asked for.
        path: its directory; None for a sweep kept in memory.
    """

    kind: ClassVar[str] = "sweep"
    spec_type: ClassVar[type[Spec]] = SweepSpec
    alike: ClassVar[bool] = True
    plan_reads: ClassVar[bool] = True

    @staticmethod
    def plan(spec: SweepSpec) -> list[Part]:
        """Its shards; their costs are predicted seconds of one thread."""
        made = planned(spec)
        insist(f"the table of {made.runs:,} runs", ROW * made.runs)
        return [
            Part(shard_name(k), "", cost, "shards", (k,))
            for k, cost in enumerate(made.costs.tolist())
        ]

    @classmethod
    def job(cls, spec: SweepSpec, part: Part) -> Job:
        """A shard with its runs: workers need not plan the whole sweep."""
        return planned(spec).job(*part.key)

    @classmethod
    def measure(cls, spec: SweepSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """The tables of all shards, put together."""
        plan = planned(spec)
        parts.make(lambda k: train_shard(plan.shard(k), spec))
        assert parts.files is not None
        try:
            return assemble(plan, parts.files)
        except PartError as error:
            parts.files.discard(error.part)  # so that the next start computes it
            raise

    @classmethod
    def wanted(cls, spec: SweepSpec, part: Part) -> Wanted:
        """Its tables, one row a run, and as many networks."""
        return Wanted(_kinds(spec), planned(spec).members.size(*part.key), networks=True)

    @classmethod
    def table_names(cls, spec: SweepSpec) -> tuple[str, ...]:
        """The runs, and a table for each step of the analysis."""
        return ("runs", *spec.analysis)

    @staticmethod
    def trainings(spec: SweepSpec) -> int:
        """Runs of the sweep."""
        return sum(prod(len(values) for values in block.values()) for block in spec.blocks())

    @property
    def runs(self) -> pd.DataFrame:
        """One row a run: ``run``, all axes, `edt.runs.sweeps.shard.COLUMNS`, threshold, outcome."""
        return self.tables["runs"]

    def to_xarray(self) -> Any:
        """`runs` as an `xarray.Dataset`: one dimension per axis that varies.

        A union of points that is not a full grid has the single dimension "run".
        """
        from edt.runs.sweeps.grid import dataset

        return dataset(self.runs)

    def networks(self, runs: Sequence[int]) -> Ensemble:
        """Networks at the end of these runs (one dtype and depth), in the order asked for.

        Raises:
            ValueError: the sweep has no directory, or no such run.
            CheckpointError: a file is missing or corrupted.
        """
        if self.path is None:
            raise ValueError("the networks are kept only by sweeps that have a directory")
        insist_confirmed(self.path, self.spec)
        return load_networks(make_plan(self.spec), PartFiles(self.path), runs)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Outcomes for every combination of the axes that vary, seeds pooled."""
        return {"outcomes": outcome_rates(self.runs).drop(columns=list(OTHERS))}


_PLANNED: dict[str, SweepPlan] = {}


def planned(spec: SweepSpec) -> SweepPlan:
    """`make_plan`, once for the sweep at hand."""
    if spec.digest not in _PLANNED:
        _PLANNED.clear()
        _PLANNED[spec.digest] = make_plan(spec)
    return _PLANNED[spec.digest]


def assemble(plan: SweepPlan, shards: PartFiles) -> dict[str, pd.DataFrame]:
    """The tables of a sweep from those of its shards; the same bits in whatever order they came.

    Raises:
        CheckpointError: a shard is missing or corrupted. PartError: it is not what the plan says.
    """
    spec = plan.spec
    numbers = range(len(plan.members))
    done: list[tuple[int, Manifest]] = []

    def listed(k: int) -> Manifest | None:
        wanted = Wanted(_kinds(spec), plan.members.size(k), networks=True)
        return shards.manifest(shard_name(k), spec.digest, wanted)

    found = at_once(shards.root, listed, numbers)
    for k, manifest in zip(numbers, found, strict=True):
        if manifest is None:
            raise CheckpointError(f"{shards.root}: {shard_name(k)} is missing; run again")
        done.append((k, manifest))
    tables: dict[str, pd.DataFrame] = {}
    for kind in _kinds(spec):

        def read(one: tuple[int, Manifest], kind: str = kind) -> pd.DataFrame:
            k, manifest = one
            keys = {"run": plan.members[k].tolist()}
            table = shards.checked(
                manifest.name, kind, manifest, MEASURED[kind], keys, every=kind == "runs"
            )
            if kind == "spectrum":
                sizes = tables["runs"].set_index("run")["parameters"]
                counts = table.groupby("run").size()
                if not counts.equals(sizes.loc[counts.index].rename(None)):
                    raise PartError(
                        manifest.name,
                        f"{shards.root}: the spectra of {manifest.name} are not those of its "
                        "networks; 'edt resume' computes it again",
                    )
            return table

        whole = pd.concat(at_once(shards.root, read, done), ignore_index=True)
        tables[kind] = whole.sort_values("run", kind="stable", ignore_index=True)
    axes = plan.table().drop(columns=["seconds"])
    runs = axes.merge(tables["runs"], on="run", validate="one_to_one")
    tables["runs"] = _label(spec, runs)
    if "census" in spec.analysis:
        tables["census"] = census_tables(
            spec, tables["runs"], lambda chosen: load_networks(plan, shards, chosen)
        )
    return tables


#: Tables of a shard by kind, and their columns.
MEASURED = {"runs": COLUMNS, "spectrum": SPECTRUM, "embedding": EMBEDDING}


def _kinds(spec: SweepSpec) -> tuple[str, ...]:
    return ("runs", *[word for word in spec.analysis if word != "census"])


def load_networks(plan: SweepPlan, shards: PartFiles, runs: Sequence[int]) -> Ensemble:
    """Networks of these runs, in the order asked for.

    Raises:
        ValueError: no such run, or networks that do not fit in one ensemble.
    """
    wanted = np.asarray(runs, dtype=np.int64)
    if wanted.size == 0 or wanted.min() < 0 or wanted.max() >= plan.runs:
        raise ValueError(f"runs must be in 0..{plan.runs - 1} and at least one, got {runs!r}")
    owner = np.empty(plan.runs, dtype=np.int64)
    for k, members in enumerate(plan.members):
        owner[members] = k
    parts, order = [], []
    for shard in np.unique(owner[wanted]).tolist():
        members = plan.members[shard]
        places = {int(run): k for k, run in enumerate(members)}
        here = np.flatnonzero(owner[wanted] == shard)
        rows = torch.tensor([places[int(run)] for run in wanted[here]])
        networks = shards.networks(shard_name(shard))
        if len(members) != networks.B:
            raise PartError(
                shard_name(shard),
                f"{shards.root}: {shard_name(shard)} holds {networks.B} networks, the plan "
                f"{len(members)}; 'edt resume' computes it again",
            )
        parts.append(networks.select(rows))
        order.append(here)
    return Ensemble.concat(parts).select(torch.from_numpy(np.argsort(np.concatenate(order))))


#: Outcomes of runs that are neither good nor a bad minimum.
OTHERS = OUTCOMES[2:]


def outcome_rates(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Runs, good ones, their share with Wilson's interval, and the median of finite losses.

    A run that diverged is one of the runs, and not a good one; it has no loss, so ``median_loss``
    is that of the ``finite`` others (NaN where there is none).

    Args:
        runs: table of a sweep.
        conf: coverage.

    Returns:
        One row for each combination of the axes that vary, in their order; seeds are pooled:
        ``runs``, ``good`` and the share ``rate`` with bounds; ``bad``, certified bad minima, and
        how many have each of the `OTHERS`; ``finite``, ``median_loss``.
    """
    varying = [
        name for name in AXES if name != "seed" and name in runs and runs[name].nunique() > 1
    ]
    rows = []
    groups = list(runs.groupby(varying, sort=False)) if varying else [((), runs)]
    for key, group in sorted(groups, key=lambda entry: [axis_order(value) for value in entry[0]]):
        values = key if isinstance(key, tuple) else (key,)
        good = int(group["outcome"].eq("good").sum())
        share = wilson(good, len(group), conf)
        finite = group["loss"][np.isfinite(group["loss"].to_numpy(dtype=np.float64))]
        rows.append(
            {
                **dict(zip(varying, values, strict=True)),
                "runs": len(group),
                "good": good,
                "rate": share.value,
                "rate_low": share.low,
                "rate_high": share.high,
                "bad": int(group["outcome"].eq("bad").sum()),
                **{name: int(group["outcome"].eq(name).sum()) for name in OTHERS},
                "finite": len(finite),
                "median_loss": float(finite.median()),
            }
        )
    return pd.DataFrame(rows)


def _label(spec: SweepSpec, runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with threshold and outcome; the best run is the measure where loss 0 is out of reach."""
    limits: dict[tuple[int, int], float] = {}
    pairs = list(zip(runs["task"].tolist(), runs["target"].tolist(), strict=True))
    for index, target in sorted(set(pairs)):
        if spec.realisable(index):
            limits[index, target] = spec.good * float(spec.make_task(index).variance[target])
        else:
            mine = runs[(runs["task"] == index) & (runs["target"] == target)]
            limits[index, target] = float(mine["loss"].min()) * (1.0 + spec.good)
    runs["threshold"] = np.array([limits[pair] for pair in pairs], dtype=np.float64)
    words = outcomes(
        runs["loss"].tolist(), runs["threshold"].tolist(), runs["verdict"].tolist(),
        runs["status"].tolist(), runs["label"].tolist(),
    )  # fmt: skip
    # Without a Hessian nothing is known to be a minimum.
    unmeasured = runs["verdict"].eq("unmeasured") & runs["label"].eq(UNCERTIFIED)
    unknown = unmeasured.to_numpy() & (np.array(words) == "bad")
    runs["outcome"] = np.where(unknown, "unconverged", np.array(words, dtype=object))
    head = ["run", *AXES, *[name for name in COLUMNS if name != "run"]]
    return runs[[*head, "threshold", "outcome", "shard"]]
