"""Is it the number of parameters or the number of neurons? Each is varied without the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.ensemble.deviates import normal
from edt.ensemble.philox import draws
from edt.lottery import run_trial
from edt.lottery.trial import Ends, ObjectiveEnds, run_objective_trial
from edt.objectives import Factors, MappedObjective, Subspace, orthonormal
from edt.runs.experiment import Part, Spec
from edt.stats import Interval, cluster_rate, jackknife, paired_interval, wilson
from edt.stats.exact import sign_test
from edt.studies.common.find_tickets import SEED_STRIDE
from edt.studies.common.one_table import OneTable
from edt.studies.controls.spec import ControlsSpec
from edt.tasks import Task

#: Streams of the random directions and factors, apart from those of networks and tickets.
DIRECTIONS, FACTORS = 11 << 24, 12 << 24

#: Controls trained as `MappedObjective`.
MAPPED = ("factored", "rotated", "subspace")

#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "control": "str",
    "target": "int64",
    "width": "int64",  # hidden neurons
    "setting": "int64",  # k of factored, d of subspace, else 0
    "learning": "int64",  # neurons whose input weights train
    "dimension": "int64",  # trained parameters
    "seed": "int64",
    "train_loss": "float64",  # after Adam alone
    "loss": "float64",
    "steps": "int64",
    "win": "bool",
}
CELL = ["control", "width", "setting", "learning", "dimension"]


def _part(spec: ControlsSpec, task: Task, control: str, width: int, setting: int) -> pd.DataFrame:
    start, index = start_networks(spec, task, width)
    r, learning = spec.teacher_width, width
    ends: Ends | ObjectiveEnds
    if control in MAPPED:
        ends, dimension = _mapped(spec, task, control, start, index, setting)
    else:
        if control != "width":
            start = hold(start, r, outputs=control == "features")
            learning = r
        ends = run_trial(task, start, spec.protocol, index)
        dimension = int(start.coords[0])
    seeds = [t * SEED_STRIDE + k for t in range(spec.teachers) for k in range(spec.seeds)]
    table = pd.DataFrame(
        {
            "control": control,
            "target": index.numpy(),
            "width": width,
            "setting": setting,
            "learning": learning,
            "dimension": dimension,
            "seed": seeds,
            "train_loss": ends.first.numpy(),
            "loss": ends.loss.numpy(),
            "steps": ends.steps.numpy(),
            "win": ends.win.numpy(),
        }
    )
    return table.astype(RUNS)[list(RUNS)]


@dataclass(repr=False)
class Controls(OneTable):
    """Train networks with more parameters but no more tickets, and the other way round.

    Table ``runs`` has one row a network.
    """

    kind: ClassVar[str] = "controls"
    spec_type: ClassVar[type[Spec]] = ControlsSpec
    rows: ClassVar[Callable[..., Any]] = staticmethod(_part)

    @staticmethod
    def plan(spec: ControlsSpec) -> list[Part]:
        """One part a control, width and setting."""
        return [
            Part(
                f"{control}-width-{width:04d}-{setting:04d}",
                f"{control}, width {width}" + (f", {setting}" if setting else ""),
                float(width * (8 if control in MAPPED else 1)),
                control,
                (control, width, setting),
                columns=RUNS,
            )
            for control, width, setting in spec.cells
        ]

    @classmethod
    def headline(cls, spec: ControlsSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.networks:,} networks in {len(spec.cells)} ways to train"

    def rates(self, conf: float = 0.95) -> pd.DataFrame:
        """Success of every control, beside the same networks trained in the ordinary way."""
        return rate_table(self.tables["runs"], conf)

    def attribution(self) -> pd.DataFrame:
        """Does success go with dimension or with learning neurons: see `attribution_table`."""
        return attribution_table(self.tables["runs"])

    def summary(self) -> dict[str, pd.DataFrame]:
        """Rates and attribution."""
        rates = self.rates()
        names = [*CELL, "runs", "rate", "rate_low", "rate_high", "rate_ordinary",
                 "ahead", "ahead_low", "ahead_high"]  # fmt: skip
        tables = {"success_of_every_control": rates[names]}
        found = self.attribution()
        return {**tables, "attribution": found} if len(found) else tables


#: Runs it, or what is left of it: `edt.runs.experiment.Experiment.run`.
run_controls = Controls.run


def start_networks(spec: ControlsSpec, task: Task, width: int) -> tuple[Ensemble, torch.Tensor]:
    """The networks that every control of a width starts from, and their targets ``[B]``."""
    seeds = [t * SEED_STRIDE + k for t in range(spec.teachers) for k in range(spec.seeds)]
    start = spec.recipe.start(
        [width],
        seeds,
        d_in=task.d_in,
        d_out=task.d_out,
        activation=spec.activation,
        bias=spec.bias,
    )
    return start, torch.arange(spec.teachers).repeat_interleave(spec.seeds)


def hold(networks: Ensemble, learning: int, *, outputs: bool) -> Ensemble:
    """Freeze all neurons but the first ones.

    Args:
        networks: one hidden layer, one width m.
        learning: neurons that train.
        outputs: whether the others' output weights train.
    """
    width, d_in = int(networks.layer_widths[0, 1]), int(networks.d_in)
    state = networks.state.view(int(networks.B), -1).clone()
    state[:, learning * d_in : width * d_in] = 2
    at = width * d_in
    if networks.has_bias:
        state[:, at + learning : at + width] = 2
        at += width
    if not outputs:
        for o in range(int(networks.d_out)):
            state[:, at + o * width + learning : at + (o + 1) * width] = 2
    return networks.with_state(state.flatten())


def _mapped(
    spec: ControlsSpec,
    task: Task,
    control: str,
    start: Ensemble,
    index: torch.Tensor,
    setting: int,
) -> tuple[ObjectiveEnds, int]:
    """Ends and dimension of networks trained in other parameters."""
    count = int(start.B)
    origin = start.theta.view(count, -1)
    rate = torch.full((count,), spec.lr, dtype=torch.float64)
    maps: Factors | Subspace
    if control == "factored":
        widths = tuple(int(size) for size in start.layer_widths[0])
        size = Factors.products(widths, setting)
        # Entries of variance 1/k; then a step of Adam moves a weight sqrt(k) times as far.
        factors = _normals(spec, start, FACTORS, size) / math.sqrt(setting)
        maps = Factors(origin, widths, start.has_bias, setting, factors)
        phi, rate = maps.start, rate / math.sqrt(setting)
    else:
        full = origin.shape[1]
        d = full if control == "rotated" else setting
        vectors = _normals(spec, start, DIRECTIONS, full * d).view(count, d, full)
        maps = Subspace(origin, orthonormal(vectors.transpose(1, 2)))
        phi = torch.zeros(count, d, dtype=torch.float64)
    objective = MappedObjective(task.objective(start, index), maps)
    enough = (spec.good * task.variance)[index]
    ends = run_objective_trial(objective, phi.flatten(), spec.protocol, enough, lr=rate)
    return ends, maps.size


def _normals(spec: ControlsSpec, start: Ensemble, stream: int, size: int) -> torch.Tensor:
    """Standard normal ``[B, size]``; a network's first numbers do not depend on the size."""
    count = int(start.B)
    keys = np.full(count, spec.seed, dtype=np.uint64)
    seeds = [t * SEED_STRIDE + k for t in range(spec.teachers) for k in range(spec.seeds)]
    width = int(start.layer_widths[0, 1])
    names = np.array(seeds, dtype=np.uint64) * np.uint64(1024) + np.uint64(width)
    bits = draws(keys, names, stream, np.full(count, size, dtype=np.int64))
    return torch.from_numpy(normal(bits)).view(count, size)


def rate_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Success of every control.

    Args:
        runs: table ``runs``.
        conf: coverage; over targets (`edt.stats.cluster_rate`), of a single one Wilson's.

    Returns:
        One row per (control, width, setting), all targets together: ``learning``, ``dimension``,
        ``targets``, ``runs``, ``good``, ``rate`` with bounds; ``rate_ordinary``, of the same starts
        trained in the ordinary way; ``only_here`` and ``only_ordinary``, starts that win in one way
        only; ``p``, the exact test that these are equally likely (McNemar's), which speaks of these
        targets alone; and ``ahead``, the difference with its bounds over targets
        (`edt.stats.paired_interval`; NaN of ordinary networks, the bounds of a single target).

    Reference: Q. McNemar, Psychometrika 12 (1947) 153.
    """
    plain = runs[runs["control"] == "width"].set_index(["width", "target", "seed"])["win"]
    rows = []
    for cell in dict.fromkeys(zip(*[runs[name].tolist() for name in CELL], strict=True)):
        part = runs[(runs[CELL] == list(cell)).all(axis=1)]
        good = int(part["win"].sum())
        by = part.groupby("target")["win"].agg(["sum", "size"])
        rate = (
            cluster_rate(by["sum"], by["size"], conf)
            if len(by) > 1
            else wilson(good, len(part), conf)
        )
        key = pd.MultiIndex.from_frame(part[["width", "target", "seed"]])
        other = plain.reindex(key).to_numpy(dtype=bool)
        here = part["win"].to_numpy()
        more, fewer = int((here & ~other).sum()), int((other & ~here).sum())
        gap = paired_interval(here.astype(float) - other, part["target"], conf)
        if cell[0] == "width":
            gap = Interval(math.nan, math.nan, math.nan)
        rows.append(
            {
                **dict(zip(CELL, cell, strict=True)),
                "targets": len(by),
                "runs": len(part),
                "good": good,
                "rate": rate.value,
                "rate_low": rate.low,
                "rate_high": rate.high,
                "rate_ordinary": float(other.mean()),
                "only_here": more,
                "only_ordinary": fewer,
                "p": sign_test(more, more + fewer),
                "ahead": gap.value,
                "ahead_low": gap.low,
                "ahead_high": gap.high,
            }
        )
    return pd.DataFrame(rows)


#: Regressions of success: name to (covariates, in words).
ATTRIBUTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "neither": ((), "neither"),
    "dimension": (("dimension",), "ln parameters"),
    "learning": (("learning",), "ln learning neurons"),
    "both": (("dimension", "learning"), "ln parameters and ln learning neurons"),
}


def attribution_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Logistic regressions of success on ln dimension and ln learning neurons.

    Each target has its own intercept; every control is in.

    Args:
        runs: table ``runs``.
        conf: coverage of the slopes' intervals over targets.

    Returns:
        One row a regression: ``model``, ``parameters``, ``log_likelihood``, ``aic``,
        ``delta_aic``, slopes ``b_dimension`` and ``b_learning``, and ``p``, the likelihood ratio
        test against the regression on both, which speaks of these targets alone. The slopes of
        that on both have bounds by the jackknife over targets (`edt.stats.jackknife`; NaN of a
        single one). Empty where there are fewer than two cells.
    """
    from scipy.special import chdtrc

    from edt.success import Counts, Fit, fit, regression

    names = ["target", *CELL]
    cells = runs.groupby(names, as_index=False).agg(good=("win", "sum"), runs=("win", "size"))
    if cells["dimension"].nunique() < 2 or cells["learning"].nunique() < 2:
        return pd.DataFrame()
    values = {
        name: np.log(cells[name].to_numpy(dtype=np.float64)) for name in ("dimension", "learning")
    }
    table = cells.drop(columns=list(values)).assign(**values)

    def fitted(name: str, part: pd.DataFrame) -> Fit:
        covariates, words = ATTRIBUTIONS[name]
        counts = Counts.of(part, int(cells["width"].min()), covariates=tuple(values))
        return fit(regression(name, words, covariates), counts)

    fits = {name: fitted(name, table) for name in ATTRIBUTIONS}
    targets = table["target"].unique().astype(np.float64)
    bounds: dict[str, float] = {}
    for name in values:

        def slope(chosen: npt.NDArray[np.float64], name: str = name) -> float:
            part = table[table["target"].isin(chosen)]
            return fitted("both", part).shared[f"b[{name}]"]

        found = jackknife(targets, slope, conf)
        bounds |= {f"b_{name}_low": found.low, f"b_{name}_high": found.high}
    full = fits["both"]
    least = min(found.aic for found in fits.values())
    rows = []
    for name, found_fit in fits.items():
        freedom = full.parameters - found_fit.parameters
        gain = max(0.0, 2.0 * (full.log_likelihood - found_fit.log_likelihood))
        rows.append(
            {
                "model": name,
                "parameters": found_fit.parameters,
                "log_likelihood": found_fit.log_likelihood,
                "aic": found_fit.aic,
                "delta_aic": found_fit.aic - least,
                "b_dimension": found_fit.shared.get("b[dimension]", math.nan),
                "b_learning": found_fit.shared.get("b[learning]", math.nan),
                "p": float(chdtrc(freedom, gain)) if freedom else math.nan,
                **{key: bound if not freedom else math.nan for key, bound in bounds.items()},
            }
        )
    return pd.DataFrame(rows)
