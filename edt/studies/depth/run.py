"""Success and labels against width at several depths.

Teachers have the depth of their students, so that loss 0 is possible at every width from the
teacher's on, and the same number of neurons in each hidden layer. Students start as the scheme
says: there is no reference scale beyond one hidden layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import torch

from edt import tasks
from edt.ensemble import Ensemble
from edt.lottery import run_trial
from edt.runs.experiment import Part, Spec
from edt.studies.common.contrast import contrast_table, outcome_rates
from edt.studies.common.find_tickets import SEED_STRIDE
from edt.studies.common.finish import finish
from edt.studies.common.one_table import OneTable
from edt.studies.depth.spec import DepthSpec
from edt.tasks import Task

#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "depth": "int64",
    "target": "int64",
    "width": "int64",
    "seed": "int64",
    "parameters": "int64",
    "train_loss": "float64",  # after Adam alone, likewise
    "loss": "float64",  # as a share of the target's variance
    "threshold": "float64",
    "label": "str",
    "outcome": "str",
}


def _part(spec: DepthSpec, depth: int, width: int) -> pd.DataFrame:
    task = deep_teachers(spec, depth)
    targets = torch.arange(spec.teachers).repeat_interleave(spec.seeds)
    seeds = [t * SEED_STRIDE + k for t in range(spec.teachers) for k in range(spec.seeds)]
    start = Ensemble.init(
        [(width,) * depth], seeds, d_in=task.d_in, d_out=task.d_out,
        activation=spec.activation, scheme=spec.init, bias=spec.bias, dtype=torch.float64,
    )  # fmt: skip
    ends = run_trial(task, start, spec.protocol, targets)
    size = task.variance[targets]
    ended = finish(
        task, ends.networks, targets, (spec.good * size).numpy(), lbfgs_steps=0,
        newton_steps=spec.newton_steps, certify_steps=spec.certify_steps,
    )  # fmt: skip
    return pd.DataFrame(
        {
            "depth": depth, "target": targets.numpy(), "width": width, "seed": seeds,
            "parameters": start.coords.numpy(), "train_loss": (ends.first / size).numpy(),
            "loss": ended.loss / size.numpy(), "threshold": spec.good,
            "label": ended.label, "outcome": ended.outcome,
        }
    ).astype(RUNS)[list(RUNS)]  # fmt: skip


@dataclass(repr=False)
class DepthRun(OneTable):
    """Train students of several depths to the bottom; table ``runs`` has one row a student."""

    kind: ClassVar[str] = "depth"
    spec_type: ClassVar[type[Spec]] = DepthSpec
    rows: ClassVar[Callable[..., Any]] = staticmethod(_part)

    @staticmethod
    def plan(spec: DepthSpec) -> list[Part]:
        """One part a depth and width."""
        return [
            Part(
                f"depth-{depth:02d}-width-{width:04d}",
                f"{depth} hidden layers of {width}",
                float(spec.teachers * spec.seeds * depth**2 * width**2),
                "train to the bottom",
                (depth, width),
            )
            for depth in spec.depths
            for width in spec.widths
        ]

    @classmethod
    def headline(cls, spec: DepthSpec) -> str:
        """What is about to run, in a line."""
        each = spec.teachers * spec.seeds * len(spec.widths)
        return f"{each * len(spec.depths):,} students of depths {', '.join(map(str, spec.depths))}"

    @classmethod
    def data(cls, spec: DepthSpec) -> None:
        """Nothing: teachers have the depth of their students, and each part makes its own."""

    def rates(self, conf: float = 0.95) -> pd.DataFrame:
        """Outcomes per depth and width: see `edt.studies.common.contrast.outcome_rates`."""
        return outcome_rates(self.tables["runs"], "depth", conf)

    def contrasts(self, conf: float = 0.95) -> pd.DataFrame:
        """Narrowest against widest: see `edt.studies.common.contrast.contrast_table`."""
        return contrast_table(self.tables["runs"], "depth", conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Both tables."""
        return {"outcomes": self.rates(), "contrasts": self.contrasts()}


#: Runs it, or what is left of it.
run_depth = DepthRun.run


def deep_teachers(spec: DepthSpec, depth: int) -> Task:
    """Teachers of one depth: a target each, of variance 1."""
    return tasks.teacher_student(
        spec.d_in, (spec.teacher_width,) * depth, n=spec.samples, teachers=spec.teachers,
        activation=spec.activation, inputs=spec.inputs, scale=spec.teacher_gain**0.5,
        bias=spec.bias, normalise=True, seed=spec.task_seed,
    )  # fmt: skip
