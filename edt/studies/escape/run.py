"""Escapes: bad minima embedded into wider networks, every way out followed to its end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.landscape import (
    Minima,
    census,
    escape_experiment,
    escape_table,
    index_along_path,
    plateaus,
)
from edt.landscape.outcome import UNCERTIFIED
from edt.lottery import at_reference_scale
from edt.runs.experiment import Part, Parts
from edt.show.words import ranges
from edt.stats import ratio_interval
from edt.studies.common.labelled_runs import seeds_of
from edt.studies.common.spec_parts import StudentSpec
from edt.studies.common.students import StudentRun
from edt.studies.escape.spec import EscapeSpec
from edt.studies.width.run import part_name, training_plan
from edt.tasks import Task
from edt.training import masked_train

#: Stages after the students.
CHOICE, ESCAPE, DESCENT = "choose bad minima", "embed and escape", "paths of gradient descent"
#: Columns of ``points`` and ``starts`` that must exist even where no bad minimum was met.
POINTS: dict[str, str] = {
    "point": "int64", "run": "int64", "seed": "int64", "minimum_runs": "int64",
    "source": "int64", "target": "int64", "narrow": "int64", "width": "int64", "added": "int64",
    "shares": "str", "copy": "int64", "threshold": "float64", "predicted_neg": "int64",
    "predicted_zero": "int64", "predicted_pos": "int64", "loss": "float64", "n_neg": "int64",
    "n_zero": "int64", "n_pos": "int64", "eps_H": "float64", "min_eig": "float64",
    "max_eig": "float64", "clear": "bool",
}  # fmt: skip
STARTS: dict[str, str] = {
    "point": "int64", "source": "int64", "target": "int64", "narrow": "int64", "width": "int64",
    "shares": "str", "added": "int64", "kind": "str", "direction": "int64", "sign": "int64",
    "eigenvalue": "float64", "length": "float64", "start_loss": "float64", "lr": "float64",
    "linear_steps": "float64", "escape_steps": "float64", "descent_loss": "float64",
    "descent_status": "str", "loss": "float64", "grad_max": "float64", "status": "str",
    "verdict": "str", "index": "int64", "iterations": "int64", "drop": "float64",
    "distance": "float64", "function_distance": "float64", "outcome": "str", "destination": "str",
}  # fmt: skip
PATHS: dict[str, str] = {
    "target": "int64", "width": "int64", "seed": "int64", "step": "int64", "loss": "float64",
    "grad_norm": "float64", "index": "int64", "n_flat": "int64", "n_pos": "int64",
    "min_eig": "float64", "eps_H": "float64",
}  # fmt: skip


@dataclass(repr=False)
class EscapeRun(StudentRun):
    """Train students, embed their bad minima into wider networks, and follow every way out.

    Of each (target, width) the commonest distinct bad minima with a positive definite Hessian are
    embedded; each embedded point is left along both signs of every negative direction and at
    random, and every run goes down until it is good or at the bottom. Besides, students of
    ``path_widths`` are followed by plain gradient descent, and the escape dimensions counted on
    the way.

    Tables: ``students`` (one row a trained network), ``points`` (one row an embedded bad minimum),
    ``starts`` (one row a run that leaves one; both as in `edt.landscape.Escape`) and ``paths``
    (one row a moment of a student that plain gradient descent trains).

    Example:
        >>> run_escape(EscapeSpec(widths=(2, 3), seeds=8)).table()  # doctest: +SKIP
    """

    kind: ClassVar[str] = "escape"
    spec_type: ClassVar[type[StudentSpec]] = EscapeSpec
    names: ClassVar[tuple[str, ...]] = ("students", "points", "starts", "paths")
    main: ClassVar[str] = "starts"

    @classmethod
    def then(cls, spec: EscapeSpec) -> list[Part]:
        """The choice of bad minima; what follows from them; paths."""
        parts = [Part("chosen", "choose bad minima", float(spec.networks), CHOICE)]
        for target, width in [student.key for student in training_plan(spec)]:
            parts.append(
                Part(
                    f"{part_name(target, width)}-escapes",
                    f"target {target + 1}, width {width}: embed, escape",
                    float(spec.minima * len(spec.add) * (2 + width)) * 20,
                    ESCAPE,
                    (target, width),
                    ("points", "starts"),
                    marked=False,  # widths are those of embeddings
                )
            )
        parts += [
            Part(
                f"{part_name(target, width)}-paths",
                f"target {target + 1}, width {width}: gradient descent, step by step",
                float(spec.path_seeds * (2 + width)),
                DESCENT,
                (target, width),
                columns=PATHS,
            )
            for target in range(spec.targets)
            for width in spec.path_widths
        ]
        return parts

    @classmethod
    def headline(cls, spec: EscapeSpec) -> str:
        """What is about to run, in a line."""
        return (
            f"{spec.networks:,} students of widths {ranges(spec.widths)}, "
            f"+{', +'.join(str(count) for count in spec.add)} neurons"
        )

    @classmethod
    def follow(
        cls, spec: EscapeSpec, task: Task, students: pd.DataFrame, minima: Minima, parts: Parts
    ) -> dict[str, pd.DataFrame]:
        """Escapes from bad minima, and paths."""
        (chosen,) = parts.run(partial(_chosen, spec, task, students, minima), CHOICE)
        points, starts = [_empty(POINTS)], [_empty(STARTS)]
        for found in parts.run(partial(_escapes, spec, task, minima, chosen), ESCAPE):
            before = sum(len(table) for table in points)
            for tables, name in ((points, "points"), (starts, "starts")):
                tables.append(found[name].assign(point=found[name]["point"] + before))
        paths = parts.run(partial(_paths, spec, task), DESCENT)
        return {
            "points": _joined(points, POINTS),
            "starts": _joined(starts, STARTS),
            "paths": _joined([_empty(PATHS), *paths], PATHS),
        }

    @property
    def points(self) -> pd.DataFrame:
        """Table ``points``."""
        return self.tables["points"]

    @property
    def starts(self) -> pd.DataFrame:
        """Table ``starts``."""
        return self.tables["starts"]

    def table(
        self, by: tuple[str, ...] = ("added", "shares", "kind"), conf: float = 0.95
    ) -> pd.DataFrame:
        """Where the ways down end, against neurons added: see `edt.landscape.escape_table`."""
        return escape_table(self.points, self.starts, by, conf)

    def dimensions(self, conf: float = 0.95) -> pd.DataFrame:
        """Escape dimensions against neurons added: see `dimension_table`."""
        return dimension_table(self.points, conf)

    def plateaus(self) -> pd.DataFrame:
        """Plateaus on the paths of gradient descent: see `plateau_table`."""
        return plateau_table(self.tables["paths"])

    def open_dimensions(self) -> pd.DataFrame:
        """Ways down that are open on plateaus, per width: see `open_table`."""
        return open_table(self.tables["paths"])

    def summary(self) -> dict[str, pd.DataFrame]:
        """Dimensions, ends, plateaus."""
        found = {}
        if len(self.starts):
            ways = dimension_table(self.points.assign(narrow=0, shares="all"))
            names = ["added", "points", "clear", "agree", "strict", "mean_index",
                     "mean_index_low", "mean_index_high"]  # fmt: skip
            ends = self.table(("narrow", "width"))[
                ["narrow", "width", "minima", "starts", "good", "good_spread_low",
                 "good_spread_high", "drop", "distance", "left", "escape_steps"]
            ]  # fmt: skip
            found = {"escape_dimensions": ways[names], "ends": ends}
        if len(self.tables["paths"]):
            found["plateaus_of_gradient_descent"] = self.open_dimensions()
        return found


#: Runs it, or what is left of it: `edt.runs.experiment.Experiment.run`.
run_escape = EscapeRun.run


def _chosen(spec: EscapeSpec, task: Task, students: pd.DataFrame, minima: Minima) -> pd.DataFrame:
    """Minima to embed: ``run`` (row of the students), ``target``, ``width``, ``seed``,
    ``minimum_runs``."""
    bad = minima.where("bad")
    names = ["run", "target", "width", "seed", "minimum_runs"]
    if not bad.numel():
        return pd.DataFrame(columns=names, dtype="int64")
    sorted_ = census(task, minima.select(bad)).runs
    sorted_ = sorted_.assign(run=bad.numpy()[sorted_["run"]])
    sorted_["seed"] = students["seed"].to_numpy()[sorted_["run"]]
    sorted_["grad_max"] = students["grad_max"].to_numpy()[sorted_["run"]]
    cell = ["target", "width", "minimum"]
    sorted_["minimum_runs"] = sorted_.groupby(cell)["run"].transform("size")
    # Signs of eigenvalues that are zero to rounding are noise: only strict minima.
    word = sorted_["label"].where(sorted_["label"] != UNCERTIFIED, sorted_["verdict"])
    strict = sorted_[word == "minimum"]
    best = strict.sort_values([*cell, "grad_max", "run"]).drop_duplicates(cell)
    best = best.sort_values(
        ["target", "width", "minimum_runs", "minimum"], ascending=[True, True, False, True]
    )
    first = best.groupby(["target", "width"]).head(spec.minima)
    return first[names].reset_index(drop=True).astype("int64")


def _escapes(
    spec: EscapeSpec, task: Task, minima: Minima, chosen: pd.DataFrame, target: int, width: int
) -> dict[str, pd.DataFrame]:
    """Tables "points" and "starts" of the chosen minima of one (target, width)."""
    rows = chosen[(chosen["target"] == target) & (chosen["width"] == width)]
    if not len(rows):
        return {"points": _empty(POINTS), "starts": _empty(STARTS)}
    rows = rows.reset_index(drop=True)
    bad = minima.select(torch.tensor(rows["run"].to_numpy()))
    # A channel or a saddle would not be embedded; these are minima by their choice.
    bad = replace(bad, outcome=["bad"] * len(bad))
    found = escape_experiment(
        task,
        bad,
        add=spec.add,
        shares=spec.shares,
        copies=spec.copies,
        random=spec.random,
        step=spec.step,
        descent_steps=spec.descent_steps,
        tol=spec.tol,
        lbfgs_steps=spec.escape_lbfgs_steps,
        newton_steps=spec.escape_newton_steps,
        seed=spec.seed,
        progress=False,
    )
    source = found.points["source"].to_numpy()
    points = found.points.assign(
        point=np.arange(len(found.points)),
        **{name: rows[name].to_numpy()[source] for name in ("run", "seed", "minimum_runs")},
    )
    points["source"] = points["run"]
    at = found.starts["point"].to_numpy()
    starts = found.starts.assign(
        **{name: points[name].to_numpy()[at] for name in ("source", "target", "narrow", "width")}
    )
    return {
        "points": points[list(POINTS)].astype(POINTS),
        "starts": starts[list(STARTS)].astype(STARTS),
    }


def _paths(spec: EscapeSpec, task: Task, target: int, width: int) -> pd.DataFrame:
    """Gradient descent from random starts; how the loss curves at every recorded step."""
    seeds = seeds_of(spec, target)[:1]
    seeds = list(range(seeds[0], seeds[0] + spec.path_seeds))
    start = Ensemble.init(
        [width],
        seeds,
        d_in=task.d_in,
        d_out=task.d_out,
        activation=spec.activation,
        scheme=spec.init,
        bias=spec.bias,
        dtype=torch.float64,
    )
    start = at_reference_scale(start, spec.init, spec.teacher_width)
    index = torch.full((spec.path_seeds,), target)
    trained = masked_train(
        task,
        start,
        optimizer="gd",
        lr=spec.path_lr,
        steps=spec.path_steps,
        task_index=index,
        record=spec.path_records,
        record_params=True,
        progress=False,
    )
    if trained.interrupted:
        raise KeyboardInterrupt
    path = index_along_path(task, trained, progress=False)
    frame = path.to_dataframe().reset_index()
    frame = frame[frame["index"] >= 0].sort_values(["network", "step"], ignore_index=True)
    frame = frame.assign(target=target, width=width, seed=np.array(seeds)[frame["network"]])
    return frame[list(PATHS)].astype(PATHS)


def dimension_table(points: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Escape dimensions of embedded bad minima, against neurons added.

    Args:
        points: table ``points``.
        conf: coverage.

    Returns:
        One row per (narrow, added, shares): ``points``, ``minima`` behind them; ``clear``, points
        whose count is beyond doubt, and of those: ``agree``, where the closed form gives the same
        index, ``strict``, the share with at least one escape dimension, ``mean_index`` with
        bounds ``_low``, ``_high`` over minima (`edt.stats.ratio_interval`; NaN where there is
        one), and ``predicted``, the mean of the closed form.
    """
    rows = []
    for (narrow, added, shares), group in points.groupby(["narrow", "added", "shares"]):
        clear = group[group["clear"]]
        per = clear.groupby("source")["n_neg"].agg(["sum", "size"]).to_numpy(dtype=float)
        row = {
            "narrow": int(str(narrow)),
            "added": int(str(added)),
            "shares": shares,
            "points": len(group),
            "minima": int(group["source"].nunique()),
            "clear": len(clear),
            "agree": int((clear["n_neg"] == clear["predicted_neg"]).sum()),
        }
        if len(clear):
            mean = ratio_interval(per[:, 0], per[:, 1], conf, unit=1.0)
            row |= {
                "strict": float((clear["n_neg"] > 0).mean()),
                "mean_index": mean.value,
                "mean_index_low": max(mean.low, 0.0) if len(per) > 1 else np.nan,
                "mean_index_high": mean.high,
                "predicted": float(clear["predicted_neg"].mean()),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def plateau_table(paths: pd.DataFrame, depth: float = 0.3) -> pd.DataFrame:
    """Plateaus of gradient descent's paths.

    Args:
        paths: table ``paths``.
        depth: as in `edt.landscape.plateaus`.

    Returns:
        One row a plateau: ``target``, ``width``, ``seed``, ``step``, ``loss``, ``grad_norm``,
        ``index`` (escape dimensions open there), ``n_flat``, ``min_eig``.
    """
    found = []
    for (target, width, seed), group in paths.groupby(["target", "width", "seed"]):
        data = group.assign(network=0).set_index(["step", "network"])
        path = data[["loss", "grad_norm", "index", "n_flat", "min_eig"]].to_xarray()
        rows = plateaus(path, depth=depth).drop(columns="network")
        rows.insert(0, "seed", int(str(seed)))
        rows.insert(0, "width", int(str(width)))
        rows.insert(0, "target", int(str(target)))
        found.append(rows)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(
        columns=["target", "width", "seed", "step", "loss", "grad_norm", "index", "n_flat",
                 "min_eig"]
    )  # fmt: skip


def open_table(paths: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Escape dimensions along gradient descent, per width.

    Args:
        paths: table ``paths``.
        conf: coverage of the intervals, over networks (`edt.stats.ratio_interval`).

    Returns:
        One row per width: ``networks``; ``plateaus`` on their paths; ``start_index`` and
        ``end_index``, mean index at the start and at the last step; ``plateau_index``, mean index
        on plateaus with ``_low``, ``_high``, and ``shut``, plateaus where none is open.
    """
    places = plateau_table(paths)
    rows = []
    for width, group in paths.groupby("width"):
        ordered = group.sort_values("step").groupby(["target", "seed"])["index"]
        mine = places[places["width"] == width]
        row = {
            "width": int(str(width)),
            "networks": int(ordered.ngroups),
            "plateaus": len(mine),
            "start_index": float(ordered.first().mean()),
            "end_index": float(ordered.last().mean()),
            "plateau_index": np.nan,
            "plateau_index_low": np.nan,
            "plateau_index_high": np.nan,
            "shut": int((mine["index"] == 0).sum()),
        }
        if len(mine):
            per = mine.groupby(["target", "seed"])["index"].agg(["sum", "size"])
            mean = ratio_interval(per["sum"].astype(float), per["size"], conf, unit=1.0)
            row |= {
                "plateau_index": mean.value,
                "plateau_index_low": max(mean.low, 0.0) if len(per) > 1 else np.nan,
                "plateau_index_high": mean.high,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _empty(columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in columns.items()})


def _joined(tables: list[pd.DataFrame], columns: dict[str, str]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    if not filled:
        return _empty(columns)
    return pd.concat(filled, ignore_index=True).astype(columns)[list(columns)]
