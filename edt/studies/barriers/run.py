"""Barriers between ends, and basins around them, against width.

Pairs of good ends of one teacher and width are joined by straight lines, as they are and after
alignment by permutations and reflections, and by a path with one bend
(`edt.landscape.connect`). Certified bad minima and good ends are pushed by random steps of a given
length relative to their norm and taken to the bottom again: the share that comes back to its own
loss measures a basin by its radius.

References: R. Entezari et al., ICLR 2022, arXiv 2110.06296; T. Garipov et al., NeurIPS 2018, arXiv
1802.10026.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.landscape import Minima, connect
from edt.runs.experiment import Part, Parts, Spec
from edt.stats import cluster_rate, ratio_interval
from edt.studies.barriers.spec import BarriersSpec
from edt.studies.common.finish import finish
from edt.studies.common.one_table import targets_and_widths
from edt.studies.common.students import StudentRun
from edt.tasks import Task

#: Columns of ``pairs`` and their dtypes; barriers are shares of the target's variance.
PAIRS: dict[str, str] = {
    "target": "int64",
    "width": "int64",
    "first": "int64",
    "second": "int64",
    "plain": "float64",  # straight, as they are
    "aligned": "float64",  # straight, after alignment
    "bent": "float64",  # with a bend, after alignment
}
#: Columns of ``pushes`` and their dtypes.
PUSHES: dict[str, str] = {
    "target": "int64",
    "width": "int64",
    "seed": "int64",
    "end": "str",  # "good" or "bad"
    "radius": "float64",
    "push": "int64",
    "loss": "float64",  # before, as a share of the target's variance
    "end_loss": "float64",
    "back": "bool",  # at its own loss again; good ends: good again
    "outcome": "str",
}
#: Losses of one level differ by less than this share.
SAME = 1e-5


@dataclass(repr=False)
class BarriersRun(StudentRun):
    """Join good ends, push good and bad ones.

    Tables: ``students`` (one row a run), ``pairs``, ``pushes``.
    """

    kind: ClassVar[str] = "barriers"
    spec_type: ClassVar[type[Spec]] = BarriersSpec
    names: ClassVar[tuple[str, ...]] = ("students", "pairs", "pushes")
    main: ClassVar[str] = "pushes"

    @classmethod
    def then(cls, spec: BarriersSpec) -> list[Part]:
        """Pairs and pushes of each (teacher, width)."""
        targets, pushes = spec.targets, spec.ends * len(spec.radii) * spec.pushes
        pairs = targets_and_widths(
            "pairs", spec, targets, "join ends", lambda width: spec.pairs * 10 * width**2
        )
        return pairs + targets_and_widths(
            "pushes", spec, targets, "push ends", lambda width: pushes * width**2
        )

    @classmethod
    def headline(cls, spec: BarriersSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.networks:,} students, paths between good ends, pushes of ends"

    @classmethod
    def follow(
        cls, spec: BarriersSpec, task: Task, students: pd.DataFrame, minima: Minima, parts: Parts
    ) -> dict[str, pd.DataFrame]:
        """Pairs and pushes."""
        tables = {}
        for name, what, part, columns in (
            ("pairs", "join ends", _pairs, PAIRS), ("pushes", "push ends", _pushes, PUSHES)
        ):  # fmt: skip
            work = partial(part, spec, task, students, minima.networks)
            tables[name] = parts.table(work, what, empty=_table([], columns))
        return tables

    def barriers(self, conf: float = 0.95) -> pd.DataFrame:
        """Barriers against width: see `barrier_table`."""
        return barrier_table(self.tables["pairs"], conf)

    def basins(self, conf: float = 0.95) -> pd.DataFrame:
        """Returns against radius and width: see `basin_table`."""
        return basin_table(self.tables["pushes"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Both tables."""
        return {"barriers": self.barriers(), "basins": self.basins()}


#: Runs it, or what is left of it.
run_barriers = BarriersRun.run


def _table(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _cell(students: pd.DataFrame, target: int, width: int, outcome: str, most: int) -> pd.DataFrame:
    subset = (students["target"] == target) & (students["width"] == width)
    return students[subset & (students["outcome"] == outcome)].head(most)


def _pairs(
    spec: BarriersSpec, task: Task, students: pd.DataFrame, networks: Ensemble, target: int,
    width: int,
) -> pd.DataFrame:  # fmt: skip
    good = _cell(students, target, width, "good", spec.pairs + 1)
    pairs = list(itertools.combinations(range(len(good)), 2))[: spec.pairs]
    if not pairs:
        return _table([], PAIRS)
    places = torch.tensor(good.index.to_numpy())
    one, other = (places[[pair[k] for pair in pairs]] for k in (0, 1))
    found = connect(
        task, networks.select(one), networks.select(other),
        task_index=torch.full((len(pairs),), target), progress=False,
    )  # fmt: skip
    size, seeds = float(task.variance[target]), good["seed"].tolist()
    assert found.barrier_unaligned is not None
    assert found.barrier_bent is not None
    return pd.DataFrame(
        {
            "target": target, "width": width, "first": [seeds[a] for a, _ in pairs],
            "second": [seeds[b] for _, b in pairs],
            "plain": found.barrier_unaligned.numpy() / size,
            "aligned": found.barrier_straight.numpy() / size,
            "bent": found.barrier_bent.numpy() / size,
        }
    ).astype(PAIRS)  # fmt: skip


def _pushes(
    spec: BarriersSpec, task: Task, students: pd.DataFrame, networks: Ensemble, target: int,
    width: int,
) -> pd.DataFrame:  # fmt: skip
    ends = pd.concat([_cell(students, target, width, word, spec.ends) for word in ("good", "bad")])
    if not len(ends):
        return _table([], PUSHES)
    generator = torch.Generator().manual_seed(1000 * target + width)
    places, rows, thetas = [], [], []
    for place, seed, word, loss in zip(
        ends.index, ends["seed"], ends["outcome"], ends["loss"], strict=True
    ):
        theta = networks.select([int(place)]).theta
        for radius, push in itertools.product(spec.radii, range(spec.pushes)):
            way = torch.randn(theta.shape, generator=generator, dtype=torch.float64)
            thetas.append(theta + radius * theta.norm() * way / way.norm())
            places.append(int(place))
            rows.append(
                {"target": target, "width": width, "seed": seed, "end": word, "radius": radius,
                 "push": push, "loss": loss}
            )  # fmt: skip
    start = networks.select(places).with_theta(torch.cat(thetas))
    index = torch.full((start.B,), target)
    limit = float(ends["threshold"].iloc[0])
    ended = finish(
        task, start, index, limit, tol=spec.tol, lbfgs_steps=10 * spec.newton_steps,
        newton_steps=spec.newton_steps, certify_steps=spec.certify_steps,
    )  # fmt: skip
    table = pd.DataFrame(rows).assign(end_loss=ended.loss, outcome=ended.outcome)
    same = (table["end_loss"] / table["loss"] - 1.0).abs() < SAME
    table["back"] = np.where(table["end"] == "good", table["outcome"] == "good", same)
    size = float(task.variance[target])
    return table.assign(loss=table["loss"] / size, end_loss=table["end_loss"] / size).astype(
        PUSHES
    )[list(PUSHES)]


def barrier_table(pairs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Barriers against width; teachers are the clusters.

    Args:
        pairs: table ``pairs``.
        conf: coverage (`edt.stats.ratio_interval`).

    Returns:
        One row per (width, path), path one of "plain", "aligned", "bent": ``teachers``, ``pairs``,
        mean ``barrier`` with bounds, and ``change`` against the narrowest width in which two good
        ends were met: the mean over teachers of the difference of their means, with bounds (NaN at
        that width, and where fewer than two teachers have both).
    """
    rows = []
    widths = sorted(pairs["width"].unique())
    for path in ("plain", "aligned", "bent"):
        mean = pairs.groupby(["width", "target"])[path].mean()
        for width in widths:
            subset = pairs[pairs["width"] == width]
            by = subset.groupby("target")[path].agg(["sum", "size"])
            found = ratio_interval(by["sum"], by["size"], conf)
            gap = pd.Series(mean.loc[width] - mean.loc[widths[0]]).dropna()
            row: dict[str, Any] = {
                "width": int(width), "path": path, "teachers": len(by), "pairs": len(subset),
                "barrier": found.value, "barrier_low": max(found.low, 0.0),
                "barrier_high": found.high, "change": np.nan, "change_low": np.nan,
                "change_high": np.nan,
            }  # fmt: skip
            if width != widths[0] and len(gap) > 1:
                change = ratio_interval(gap, np.ones(len(gap)), conf)
                row |= {"change": change.value, "change_low": change.low,
                        "change_high": change.high}  # fmt: skip
            rows.append(row)
    names = ["width", "path", "teachers", "pairs", "barrier", "barrier_low", "barrier_high",
             "change", "change_low", "change_high"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def basin_table(pushes: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """How often pushed ends come back; teachers are the clusters.

    Args:
        pushes: table ``pushes``.
        conf: coverage (`edt.stats.cluster_rate`).

    Returns:
        One row per (end, width, radius): ``teachers``, ``ends``, ``pushes``, the share that comes
        ``back`` with bounds, and ``good``, the share that ends good, with bounds.
    """
    rows = []
    for (end, width, radius), part in pushes.groupby(["end", "width", "radius"]):
        row: dict[str, Any] = {
            "end": end, "width": int(str(width)), "radius": float(str(radius)),
            "teachers": int(part["target"].nunique()),
            "ends": len(part[["target", "seed"]].drop_duplicates()), "pushes": len(part),
        }  # fmt: skip
        for name, won in (("back", part["back"]), ("good", part["outcome"].eq("good"))):
            by = won.groupby(part["target"]).agg(["sum", "size"])
            rate = cluster_rate(by["sum"], by["size"], conf)
            row |= {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}
        rows.append(row)
    names = ["end", "width", "radius", "teachers", "ends", "pushes", "back", "back_low",
             "back_high", "good", "good_low", "good_high"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)
