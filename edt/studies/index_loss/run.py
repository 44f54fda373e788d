"""Critical points of every index, and how their index goes with their loss.

From points on training paths, and from ends pushed off again, Newton's method goes to the nearest
critical point, saddles included: ``|grad|`` is lowered, the loss may rise. What certificates call a
minimum, a flat minimum or a saddle there is kept. At each width the share of negative eigenvalues
is set against the loss.

References: A. Bray, D. Dean, Phys. Rev. Lett. 98 (2007) 150201; Y. Dauphin et al., NeurIPS 2014,
arXiv 1406.2572 (the curve for networks).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.landscape import certify, reduce_network
from edt.landscape.layers import target_of, unpack
from edt.runs.experiment import Part, Spec
from edt.stats import Tested
from edt.stats.association import rank_test
from edt.studies.common.one_table import OneTable, targets_and_widths
from edt.studies.index_loss.spec import IndexLossSpec
from edt.tasks import Task
from edt.training import converge, masked_train

#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "target": "int64",
    "width": "int64",
    "seed": "int64",
    "steps": "int64",  # of Adam before Newton set out
    "noise": "float64",  # pushed off by this share of the norm; 0: not at all
    "coords": "int64",
    "loss": "float64",  # as a share of the target's variance
    "grad_max": "float64",
    "label": "str",
    "index": "int64",
    "n_zero": "int64",
    "core": "int64",  # neurons of the irreducible core
}
#: Labels of critical points.
CRITICAL = ("minimum", "flat minimum", "saddle")
#: Losses below this share of the variance are zero: no index there.
ZERO = 1e-12


def critical_points(spec: IndexLossSpec, task: Task, target: int, width: int) -> pd.DataFrame:
    """Where Newton's method ends, from all starts of one teacher and width: rows of ``runs``."""
    seeds = [target * 1_000_000 + k for k in range(spec.seeds)]
    ens = spec.recipe.start(
        [width], seeds, d_in=task.d_in, d_out=task.d_out, activation=spec.activation,
        bias=spec.bias, dtype=torch.float64,
    )  # fmt: skip
    index = torch.full((spec.seeds,), target)
    tables, done = [], 0
    generator = torch.Generator().manual_seed(spec.seed + 1000 * target + width)
    for stop in spec.stops:
        trained = masked_train(
            task, ens, optimizer="adam", steps=stop - done, lr=spec.lr, schedule="constant",
            task_index=index, record=None, progress=False,
        )  # fmt: skip
        if trained.interrupted:
            raise KeyboardInterrupt
        ens, done = trained.networks, stop
        for noise in spec.noises:
            theta = ens.theta.reshape(ens.B, -1)
            push = torch.randn(theta.shape, generator=generator, dtype=torch.float64)
            length = noise * theta.norm(dim=1, keepdim=True) / push.norm(dim=1, keepdim=True)
            start = ens.with_theta((theta + length * push).flatten())
            tables.append(
                _critical(spec, task, start, index).assign(seed=seeds, steps=stop, noise=noise)
            )
    table = pd.concat(tables, ignore_index=True).assign(target=target, width=width)
    return table.astype(RUNS)[list(RUNS)]


@dataclass(repr=False)
class IndexLossRun(OneTable):
    """Find critical points of every index and set their index against their loss.

    Table ``runs`` has one row a start of Newton's method.
    """

    kind: ClassVar[str] = "index-loss"
    spec_type: ClassVar[type[Spec]] = IndexLossSpec
    rows: ClassVar[Callable[..., Any]] = staticmethod(critical_points)

    @staticmethod
    def plan(spec: IndexLossSpec) -> list[Part]:
        """One part a teacher and width."""
        return targets_and_widths(
            "target", spec, spec.teachers, "critical points",
            lambda width: spec.seeds * len(spec.stops) * len(spec.noises) * width**3,
            RUNS, "find critical points",
        )  # fmt: skip

    @classmethod
    def headline(cls, spec: IndexLossSpec) -> str:
        """What is about to run, in a line."""
        per = len(spec.widths) * spec.seeds * len(spec.stops) * len(spec.noises)
        return f"{spec.teachers * per:,} starts of Newton's method"

    @property
    def points(self) -> pd.DataFrame:
        """Distinct critical points: see `distinct_points`."""
        return distinct_points(self.tables["runs"])

    def curve(self, draws: int = 1000) -> pd.DataFrame:
        """Per width how index and loss go together: see `curve_table`."""
        return curve_table(self.points, draws)

    def summary(self) -> dict[str, pd.DataFrame]:
        """The table of the curve."""
        return {"index_against_loss": self.curve()}


#: Runs it, or what is left of it.
run_index_loss = IndexLossRun.run


def _critical(
    spec: IndexLossSpec, task: Task, start: Ensemble, index: torch.Tensor
) -> pd.DataFrame:
    ended = converge(
        task, start, task_index=index, lbfgs_steps=0, newton_steps=spec.newton_steps,
        escape_saddles=False, progress=False,
    )  # fmt: skip
    if ended.interrupted:
        raise KeyboardInterrupt
    found = certify(task, ended.networks, task_index=index, steps=0)
    size = task.variance[index]
    rows = []
    for b, at in enumerate(found.standings):
        critical = found.label[b] in CRITICAL and not at.zero_loss
        rows.append(
            {
                "coords": int(ended.networks.coords[b]),
                "loss": at.loss / float(size[b]),
                "grad_max": float(found.grad_max[b]),
                "label": found.label[b],
                "index": at.index if critical else -1,
                "n_zero": at.n_zero,
                "core": _core(task, found.networks, b, int(index[b])) if critical else -1,
            }
        )
    return pd.DataFrame(rows)


def _core(task: Task, ens: Ensemble, b: int, target: int) -> int:
    x, _, coef = target_of(task, target)
    core = reduce_network(
        unpack(ens, b), ens.activation, x.double(), coef.double(),
        1e-6 * float(task.variance[target]) ** 0.5,
    )  # fmt: skip
    return core.width


def distinct_points(runs: pd.DataFrame, gap: float = 1e-6) -> pd.DataFrame:
    """Critical points above loss 0, each once: those of equal width, teacher, index and loss are
    one.

    Newton's method meets some points hundreds of times; copies are no independent evidence.

    Args:
        runs: table ``runs``.
        gap: relative difference of losses that are one.

    Returns:
        Rows of ``runs`` with ``met``, how often, and ``share``, the index by the coordinates that
        are not flat.
    """
    kept = runs[runs["label"].isin(CRITICAL) & (runs["index"] >= 0) & (runs["loss"] > ZERO)]
    kept = kept.sort_values(["target", "width", "index", "loss"], ignore_index=True)
    cell = kept[["target", "width", "index"]]
    new = (cell != cell.shift()).any(axis=1) | (kept["loss"].diff() > gap * kept["loss"].shift())
    number = new.cumsum()
    first = kept.groupby(number).head(1).reset_index(drop=True)
    met = kept.groupby(number).size().to_numpy()
    share = first["index"] / (first["coords"] - first["n_zero"]).clip(lower=1)
    return first.assign(met=met, share=share)


def curve_table(points: pd.DataFrame, draws: int = 1000) -> pd.DataFrame:
    """How the share of negative eigenvalues goes with the loss, per width.

    Args:
        points: from `distinct_points`.
        draws: permutations behind the test.

    Returns:
        One row per width: ``points``, ``minima``, ``saddles``, ``irreducible`` (no neuron to
        spare), ``correlation`` (Spearman's, of share and loss, within teachers), the null's 97.5%
        point ``limit`` and ``p`` (two-sided, loss shuffled among a teacher's points);
        ``share_low``, ``share_high``: mean share below and above the median loss.
    """
    rows = []
    for width, part in points.groupby("width"):
        target = part["target"].to_numpy()
        loss = part["loss"].to_numpy()
        found = (
            rank_test(loss, part["share"].to_numpy(), target, draws)
            if len(part) > 2
            else Tested(math.nan, 0.0, math.nan, 1.0)
        )
        middle = part.groupby("target")["loss"].transform("median")
        low, high = part[part["loss"] <= middle], part[part["loss"] > middle]
        rows.append(
            {
                "width": int(str(width)),
                "teachers": int(part["target"].nunique()),
                "points": len(part),
                "minima": int((part["index"] == 0).sum()),
                "saddles": int((part["index"] > 0).sum()),
                "irreducible": int((part["core"] == part["width"]).sum()),
                "correlation": found.value,
                "limit": found.limit,
                "p": found.p,
                "share_low": float(low["share"].mean()) if len(low) else math.nan,
                "share_high": float(high["share"].mean()) if len(high) else math.nan,
            }
        )
    return pd.DataFrame(rows)
