"""Outcomes by optimiser, scale of the start and width; escape times by batch size.

Every network is trained by its first-order rule alone, then taken to the bottom and certified: what
the rule reached, and in whose basin it was. Small scales of the start make features move far
relative to where they began, large ones hardly ("lazy"); the distance moved says which.

Escape: a certified bad minimum with one neuron split is a saddle with a known way down v, of
curvature -kappa. Started a step off along v, plain descent of rate eta grows away from it like
``(1 + eta kappa)^t``; minibatches kick as well. Measured is the number of steps until a tenth of
the loss is gone, by batch size, beside ``ln(1 / off) / ln(1 + eta kappa)``.

Plateaus: gradient flow from small starts goes from saddle to saddle. At every dip of the gradient
the most negative eigenvalue -kappa of the Hessian is measured, and the time from there until a
tenth of the loss is gone: near a saddle distances grow like ``e^(kappa t)``, so that the flatter
its way down, the longer the plateau.

References: L. Chizat, E. Oyallon, F. Bach, NeurIPS 2019, arXiv 1812.07956 (lazy training); C. Jin
et al., ICML 2017, arXiv 1703.00887 (leaving saddles).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from edt.curvature import hessian_spectrum
from edt.ensemble import Ensemble
from edt.landscape import split_every
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.stats import Interval, ratio_interval
from edt.studies.common.contrast import contrast_table, outcome_rates
from edt.studies.common.find_tickets import SEED_STRIDE
from edt.studies.common.finish import finish
from edt.studies.common.targets import teacher_task
from edt.studies.optimisers.flows import PLATEAUS, plateau_rows, plateau_table, plateaus_of
from edt.studies.optimisers.spec import RULES, OptimisersSpec
from edt.tasks import Task
from edt.training import masked_train

#: Rules in words.
RULE_WORDS = {
    "gd": "gradient descent", "sgd": "SGD in batches of 16", "sgd small": "SGD in batches of 4",
    "adam": "Adam",
}  # fmt: skip
#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "rule": "str",  # of `RULES`
    "scale": "float64",
    "target": "int64",
    "width": "int64",
    "seed": "int64",
    "parameters": "int64",
    "moved": "float64",  # distance from the start, in units of its norm, by the rule alone
    "train_loss": "float64",  # by the rule alone, as a share of the target's variance
    "loss": "float64",  # at the bottom
    "threshold": "float64",
    "label": "str",
    "outcome": "str",
}
#: Columns of ``escapes`` and their dtypes.
ESCAPES: dict[str, str] = {
    "target": "int64",
    "saddle": "int64",
    "batch": "int64",
    "noise": "int64",  # seed of the batches
    "kappa": "float64",
    "predicted": "float64",
    "steps": "int64",  # until a tenth of the loss is gone; those allowed where it is not
    "left": "bool",
}
#: Step off the saddle along the way down, in units of its norm; share of the loss to be gone.
OFF, GONE = 1e-3, 0.1


@dataclass(repr=False)
class OptimisersRun(Experiment):
    """Train by several rules; leave saddles with several batch sizes.

    Tables: ``runs`` (one row a student), ``escapes`` (one row a run that leaves a saddle),
    ``plateaus`` (one row a dip of the gradient along gradient flow).
    """

    kind: ClassVar[str] = "optimisers"
    spec_type: ClassVar[type[Spec]] = OptimisersSpec
    names: ClassVar[tuple[str, ...]] = ("runs", "escapes", "plateaus")
    main: ClassVar[str] = "runs"

    @staticmethod
    def plan(spec: OptimisersSpec) -> list[Part]:
        """One part a rule and width, then one a teacher's saddles."""
        return [
            *(
                Part(
                    f"{rule.replace(' ', '-')}-width-{width:04d}",
                    f"{rule}, width {width}",
                    float(spec.teachers * spec.seeds * len(spec.scales) * width),
                    "train by rules",
                    (rule, width),
                )
                for rule in spec.rules
                for width in spec.widths
            ),
            *(
                Part(
                    f"saddles-{target:02d}", f"teacher {target + 1}: leave saddles",
                    float(spec.saddles * len(spec.batches) * spec.noises), "leave saddles",
                    (target,),
                )
                for target in range(spec.teachers)
            ),
            *(
                Part(
                    f"flow-{target:02d}", f"teacher {target + 1}: gradient flow",
                    float(20 * spec.flows * spec.flow_width), "flow", (target,), columns=PLATEAUS,
                )
                for target in range(spec.teachers)
            ),
        ]  # fmt: skip

    @classmethod
    def headline(cls, spec: OptimisersSpec) -> str:
        """What is about to run, in a line."""
        each = spec.teachers * spec.seeds * len(spec.scales) * len(spec.widths)
        return f"{each * len(spec.rules):,} students by {len(spec.rules)} rules, and saddles"

    @classmethod
    def data(cls, spec: OptimisersSpec) -> Task:
        """What is learned."""
        return teacher_task(spec)

    @classmethod
    def measure(cls, spec: OptimisersSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """All tables, the parts one below the other."""
        task = cls.data(spec)
        runs = parts.table(partial(_part, spec, task), "train by rules")
        leave = partial(_leave, spec, task)
        escapes = parts.table(leave, "leave saddles", empty=_escapes([]))
        plateaus = parts.table(partial(_flow, spec, task), "flow", empty=plateau_rows([]))
        return {"runs": runs, "escapes": escapes, "plateaus": plateaus}

    def rates(self, conf: float = 0.95) -> pd.DataFrame:
        """Outcomes per setting and width, with the median distance ``moved``."""
        runs = with_setting(self.tables["runs"])
        found = outcome_rates(runs, "setting", conf)
        moved = runs.groupby(["setting", "width"])["moved"].median().reset_index()
        return found.merge(moved, on=["setting", "width"])

    def contrasts(self, conf: float = 0.95) -> pd.DataFrame:
        """Narrowest against widest: see `edt.studies.common.contrast.contrast_table`."""
        return contrast_table(with_setting(self.tables["runs"]), "setting", conf)

    def times(self, conf: float = 0.95) -> pd.DataFrame:
        """Escape times by batch size: see `time_table`."""
        return time_table(self.tables["escapes"], conf)

    def plateaus(self, draws: int = 1000) -> pd.DataFrame:
        """Plateaus of gradient flow against curvature: see `plateau_table`."""
        return plateau_table(self.tables["plateaus"], draws)

    def summary(self) -> dict[str, pd.DataFrame]:
        """All tables."""
        return {
            "outcomes": self.rates(), "contrasts": self.contrasts(), "times": self.times(),
            "plateaus": self.plateaus(),
        }  # fmt: skip


#: Runs it, or what is left of it.
run_optimisers = OptimisersRun.run


def with_setting(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with ``setting``: rule and scale, in words."""
    names = [f"{RULE_WORDS[rule]}, start × {scale:g}"
             for rule, scale in zip(runs["rule"], runs["scale"], strict=True)]  # fmt: skip
    return runs.assign(setting=names)


def _part(spec: OptimisersSpec, task: Task, rule: str, width: int) -> pd.DataFrame:
    optimizer, batch, lr = RULES[rule]
    targets = torch.arange(spec.teachers).repeat_interleave(spec.seeds)
    seeds = [t * SEED_STRIDE + k for t in range(spec.teachers) for k in range(spec.seeds)]
    tables = []
    for scale in spec.scales:
        plain = spec.recipe.start(
            [width], seeds, d_in=task.d_in, d_out=task.d_out, activation=spec.activation,
            bias=spec.bias, dtype=torch.float64,
        )  # fmt: skip
        start = plain.with_theta(scale * plain.theta)
        trained = masked_train(
            task, start, optimizer=optimizer, batch_size=_batch(batch, spec.samples), lr=lr,
            steps=spec.steps, schedule=spec.schedule, task_index=targets, data_seed=spec.seed,
            record=None, progress=False,
        )  # fmt: skip
        if trained.interrupted:
            raise KeyboardInterrupt
        size = task.variance[targets]
        limit = (spec.good * size).numpy()
        ended = finish(
            task, trained.networks, targets, limit, lbfgs_steps=spec.lbfgs_steps,
            newton_steps=spec.newton_steps, certify_steps=spec.certify_steps,
        )  # fmt: skip
        rows = [theta.reshape(len(seeds), -1) for theta in (start.theta, trained.networks.theta)]
        tables.append(
            pd.DataFrame(
                {
                    "rule": rule, "scale": scale, "target": targets.numpy(), "width": width,
                    "seed": seeds, "parameters": start.coords.numpy(),
                    "moved": ((rows[1] - rows[0]).norm(dim=1) / rows[0].norm(dim=1)).numpy(),
                    "train_loss": (trained.loss / size).numpy(), "loss": ended.loss / size.numpy(),
                    "threshold": spec.good, "label": ended.label, "outcome": ended.outcome,
                }
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True).astype(RUNS)[list(RUNS)]


def _batch(batch: int | None, samples: int) -> int | None:
    return None if batch is None or batch >= samples else batch


def _flow(spec: OptimisersSpec, task: Task, target: int) -> pd.DataFrame:
    seeds = [target * SEED_STRIDE + k for k in range(spec.flows)]
    plain = spec.recipe.start(
        [spec.flow_width], seeds, d_in=task.d_in, d_out=task.d_out, activation=spec.activation,
        bias=spec.bias, dtype=torch.float64,
    )  # fmt: skip
    start = plain.with_theta(spec.flow_scale * plain.theta)
    return plateaus_of(task, start, target, seeds, spec.flow_time)


def _escapes(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(ESCAPES)).astype(ESCAPES)


def _leave(spec: OptimisersSpec, task: Task, target: int) -> pd.DataFrame:
    at = _saddles(spec, task, target)
    if at is None:
        return _escapes([])
    count = at.networks.B
    index = torch.full((count,), target)
    theta = at.networks.theta.reshape(count, -1)
    start = theta + OFF * theta.norm(dim=1, keepdim=True) * at.way
    rows = []
    for batch in spec.batches:
        size = _batch(batch, spec.samples)
        for noise in range(1 if size is None else spec.noises):
            trained = masked_train(
                task, at.networks.with_theta(start.flatten()),
                optimizer="gd" if size is None else "sgd", batch_size=size, lr=spec.leave_lr,
                steps=spec.leave_steps, task_index=index, data_seed=noise,
                record=max(spec.leave_steps // 400, 1), progress=False,
            )  # fmt: skip
            if trained.interrupted:
                raise KeyboardInterrupt
            below: np.ndarray = (trained.recorded.loss < (1.0 - GONE) * at.loss).numpy()
            left: list[bool] = np.any(below, axis=0).tolist()
            when = trained.recorded.at.numpy()[below.argmax(0)]
            for b in range(count):
                rate = math.log1p(spec.leave_lr * float(at.kappa[b]))
                rows.append(
                    {
                        "target": target, "saddle": b, "batch": batch, "noise": noise,
                        "kappa": float(at.kappa[b]), "predicted": math.log(1.0 / OFF) / rate,
                        "steps": int(when[b]) if left[b] else spec.leave_steps,
                        "left": left[b],
                    }
                )  # fmt: skip
    return _escapes(rows)


@dataclass(frozen=True)
class _Saddles:
    """Split minima with their ways down: networks, unit vectors ``[B, P]``, curvatures, losses."""

    networks: Ensemble
    way: torch.Tensor
    kappa: torch.Tensor
    loss: torch.Tensor


def _saddles(spec: OptimisersSpec, task: Task, target: int) -> _Saddles | None:
    """Certified bad minima of one width, each with the neuron split that opens the steepest way."""
    seeds = [target * SEED_STRIDE + 900_000 + k for k in range(4 * spec.saddles)]
    start = spec.recipe.start(
        [spec.saddle_width], seeds, d_in=task.d_in, d_out=task.d_out, activation=spec.activation,
        bias=spec.bias, dtype=torch.float64,
    )  # fmt: skip
    index = torch.full((start.B,), target)
    trained = masked_train(
        task, start, optimizer="adam", lr=spec.lr, steps=spec.steps, schedule=spec.schedule,
        task_index=index, record=None, progress=False,
    )  # fmt: skip
    if trained.interrupted:
        raise KeyboardInterrupt
    limit = (spec.good * task.variance[index]).numpy()
    ended = finish(
        task, trained.networks, index, limit, lbfgs_steps=spec.lbfgs_steps,
        newton_steps=spec.newton_steps, certify_steps=spec.certify_steps,
    )  # fmt: skip
    bad = [b for b, word in enumerate(ended.outcome) if word == "bad"][: spec.saddles]
    found: list[tuple[Ensemble, torch.Tensor, float, float]] = []
    for b in bad:
        wide = split_every(ended.networks.select([b]), 0.5).networks
        spectra, vectors = hessian_spectrum(
            wide, task, task_index=torch.full((wide.B,), target), vectors=True
        )
        lowest = [float(values[0]) for values in spectra]
        best = int(np.argmin(lowest))
        if lowest[best] < 0.0:
            at = (wide.select([best]), vectors[best][:, 0], -lowest[best], float(ended.loss[b]))
            found.append(at)
    if not found:
        return None
    return _Saddles(
        Ensemble.concat([row[0] for row in found]), torch.stack([row[1] for row in found]),
        torch.tensor([row[2] for row in found]), torch.tensor([row[3] for row in found]),
    )  # fmt: skip


def time_table(escapes: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Escape times by batch size; saddles are the unit.

    Runs that have not left count with the steps allowed: times are then at least what is said.

    Args:
        escapes: table ``escapes``.
        conf: coverage; over teachers (`edt.stats.ratio_interval`).

    Returns:
        One row per batch size: ``saddles``, ``teachers``, ``left`` (share of the runs), ``steps``
        and ``predicted`` (medians), and ``speed``: the mean over saddles of
        ``log10(steps of the full batch / steps)``, above 0 where small batches leave sooner, with
        bounds (NaN for the full batch).
    """
    if not len(escapes):
        return pd.DataFrame(
            columns=["batch", "saddles", "teachers", "left", "steps", "predicted", "speed",
                     "speed_low", "speed_high"]
        )  # fmt: skip
    whole = int(escapes["batch"].max())
    steps = pd.Series(np.log10(escapes["steps"].clip(lower=1).astype(float)))
    mean = steps.groupby([escapes["batch"], escapes["target"], escapes["saddle"]]).mean()
    rows = []
    for batch, part in escapes.groupby("batch"):
        apart = pd.Series(mean.loc[whole] - mean.loc[batch])
        gap = apart.groupby(level="target").agg(["sum", "size"])
        speed = (
            Interval(math.nan, math.nan, math.nan)
            if batch == whole
            else ratio_interval(gap["sum"], gap["size"], conf)
        )
        rows.append(
            {
                "batch": int(str(batch)), "saddles": int(gap["size"].sum()), "teachers": len(gap),
                "left": float(part["left"].mean()), "steps": float(part["steps"].median()),
                "predicted": float(part["predicted"].median()), "speed": speed.value,
                "speed_low": speed.low, "speed_high": speed.high,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
