"""Loss levels of small networks on the modified Rosenbrock target, over many starts.

Every start follows its gradient flow, then `edt.converge` takes it to the bottom, and
`edt.certify` pushes it on and says what it is; what it would have been called without a certificate
stands beside it. Ends are minima, plateau saddles, or what the certificate calls them:

A **plateau saddle** is an end where neurons repeat each other, so that the loss is that of a
narrower network's end. It lies on a line of points as low, along which a stretch of minima, flat in
its direction, borders on saddles (Fukumizu and Amari 2000). In a **channel** the loss still falls
towards a value at infinity (`edt.training.channels`); where the narrower end is in a channel, so is
the plateau saddle, and it counts as that.

Reference: F. Martinelli et al., NeurIPS 2025, arXiv 2506.14951, figure 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.flow import gradient_flow
from edt.landscape.certificates import Certificates, certify
from edt.landscape.irreducible import Core, reduce_network
from edt.landscape.layers import unpack
from edt.ops.threads import one_blas_thread
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.studies.loss_levels.spec import LossLevelsSpec
from edt.studies.loss_levels.tables import (
    label_ends,
    label_levels,
    loss_level_table,
    uncertified_ends,
)
from edt.tasks import Task, rosenbrock
from edt.training import converge

__all__ = ["LossLevels", "LossLevelsSpec", "run_loss_levels"]

#: Starts of a part: what a killed run loses at most. Flows of many networks share their steps.
PART = 100
#: Change of the outputs (root mean square; the target's is 1) up to which neurons are merged.
MERGE = 1e-5
#: Columns of ``runs`` and their dtypes; the last is filled over all parts.
RUNS: dict[str, str] = {
    "bias": "bool",
    "width": "int64",
    "seed": "int64",
    "flow_loss": "float64",  # where the flow ended
    "flow_time": "float64",
    "flow_status": "str",
    "status": "str",  # of `edt.converge`
    "verdict": "str",
    "loss": "float64",  # where the certificate's push left it, as all that follows
    "grad_max": "float64",
    "label": "str",  # of `edt.certify`
    "distance": "float64",  # Newton distance relative to the norm
    "gain": "float64",  # share of the loss that a Newton step promises
    "saturated": "int64",  # units that became constant or a step on the data
    "certify_steps": "int64",  # Newton steps given to the run to certify it
    "index": "int64",
    "n_flat": "int64",
    "min_eig": "float64",
    "eps_H": "float64",
    "closeness": "float64",  # 1 - cos of the closest opponents
    "flow_norm": "float64",  # of the parameters where the flow ended
    "norm": "float64",  # and at the end
    "core": "int64",  # neurons of the irreducible core
    "duplicates": "int64",  # neurons that repeat another
    "uncertified": "str",  # kind of end before the push, see `uncertified_ends`
    "end": "str",  # see `ENDS` of `edt.studies.loss_levels.tables`
    "level": "int64",
}


@dataclass(repr=False)
class LossLevels(Experiment):
    """Take every start to the bottom and say what kind of end it has.

    Table ``runs`` has one row a start.

    Example:
        >>> spec = LossLevelsSpec(widths=(1,), starts=4, points=11, biases=(False,))
        >>> len(run_loss_levels(spec, progress=False).tables["runs"])
        8
    """

    kind: ClassVar[str] = "loss-levels"
    spec_type: ClassVar[type[Spec]] = LossLevelsSpec
    names: ClassVar[tuple[str, ...]] = ("runs",)

    @staticmethod
    def plan(spec: LossLevelsSpec) -> list[Part]:
        """One part per `PART` starts of a width and bias setting."""
        return [
            Part(
                f"bias-{int(bias)}-width-{width:02d}-starts-{first:06d}",
                f"width {width}, {'biases' if bias else 'no biases'}: starts {first + 1:,}.."
                f"{last:,}",
                float((last - first) * width * (3 + bias)),
                "flow and converge",
                (bias, width, first, last),
                columns=RUNS,
            )
            for width in spec.widths
            for bias in spec.biases
            for first in range(0, spec.starts_of(width), PART)
            for last in (min(first + PART, spec.starts_of(width)),)
        ]

    @classmethod
    def headline(cls, spec: LossLevelsSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.networks:,} networks on {spec.points**2:,} points"

    @classmethod
    def data(cls, spec: LossLevelsSpec) -> Task:
        """What is learned."""
        return rosenbrock(spec.points)

    @classmethod
    def measure(cls, spec: LossLevelsSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """All ends, with what they are and their levels."""
        task = cls.data(spec)
        runs = parts.table(partial(_part, spec, task))
        runs = runs.sort_values(["bias", "width", "seed"], ignore_index=True)
        runs["level"] = label_levels(runs)
        return {"runs": runs.astype(RUNS)[list(RUNS)]}

    def table(self, conf: float = 0.95) -> pd.DataFrame:
        """One row a bias setting and width; see `loss_level_table`."""
        return loss_level_table(self.tables["runs"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """The table."""
        return {"table": self.table()}


#: Runs it, or what is left of it: `edt.runs.experiment.Experiment.run`.
run_loss_levels = LossLevels.run


def _part(
    spec: LossLevelsSpec, task: Task, bias: bool, width: int, first: int, last: int
) -> pd.DataFrame:
    seeds = list(range(spec.first_seed + first, spec.first_seed + last))
    start = Ensemble.init(
        widths=[width],
        seeds=seeds,
        d_in=task.d_in,
        d_out=task.d_out,
        activation=spec.activation,
        scheme=spec.init,
        bias=bias,
        dtype=torch.float64,
    )
    flow = gradient_flow(
        task,
        start,
        max_time=spec.max_time,
        rtol=spec.rtol,
        atol=0.01 * spec.rtol,
        tol=spec.tol,
        norm_limit=spec.norm_limit,
        record=None,
        progress=False,
    )
    if flow.interrupted:
        raise KeyboardInterrupt
    ended = converge(
        task,
        flow.networks,
        tol=spec.tol,
        lbfgs_steps=spec.lbfgs_steps,
        newton_steps=spec.newton_steps,
        progress=False,
    )
    if ended.interrupted:
        raise KeyboardInterrupt
    pushed = certify(task, ended.networks, steps=spec.certify_steps)
    numbers = ("loss", "grad_max", "index", "n_flat", "min_eig", "eps_H", "closeness")
    frame = pd.DataFrame(
        {
            "bias": bias,
            "width": width,
            "seed": seeds,
            "flow_loss": flow.loss.tolist(),
            "flow_time": flow.time.tolist(),
            "flow_status": flow.status,
            "status": ended.status,
            "verdict": ended.verdict,
            **{name: getattr(ended, name).tolist() for name in numbers},
            "flow_norm": _norms(flow.networks),
            "norm": _norms(ended.networks),
            "duplicates": [core.duplicates for core in _cores(spec, task, ended.networks)],
            "level": -1,
        }
    )
    frame["uncertified"] = uncertified_ends(frame)
    _certified(frame, pushed)
    cores = _cores(spec, task, pushed.networks)
    frame["core"] = [core.width for core in cores]
    frame["duplicates"] = [core.duplicates for core in cores]
    frame["end"] = label_ends(frame)
    return frame.astype(RUNS)[list(RUNS)]


def _cores(spec: LossLevelsSpec, task: Task, networks: Ensemble) -> list[Core]:
    with one_blas_thread():  # small arrays: waking threads would take longer than the sums
        return [
            reduce_network(unpack(networks, b), spec.activation, task.x, task.coef[0], MERGE)
            for b in range(networks.B)
        ]


def _norms(networks: Ensemble) -> list[float]:
    norms: list[float] = networks.theta.view(networks.B, -1).norm(dim=1).tolist()
    return norms


def _certified(frame: pd.DataFrame, found: Certificates) -> None:
    """Write where the push left the networks over where they were."""
    for name, value in (("distance", float("nan")), ("gain", float("nan")), ("saturated", -1),
                        ("certify_steps", 0)):  # fmt: skip
        frame[name] = value
    found.write_into(frame, list(frame.index))
    frame["closeness"] = [at.closeness for at in found.standings]
    frame["norm"] = _norms(found.networks)
