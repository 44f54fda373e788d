"""Success against channels, and the index after a channel of a minimum is split.

Students and teachers are one convolution, tanh and a linear readout. By *mean* a channel has one
output weight, its mean over positions: as of a neuron, ``a.P = 0`` says P = 0, and B alone decides
whether a split opens a way down. By *positions* it has one for each of K positions, and P has rank
``min(D, K - 1)``: every split opens as many (`edt.landscape.inertia`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import nn

from edt.curvature import hessian_spectrum
from edt.curvature.verdicts import inertia, zero_threshold
from edt.ensemble import ModuleEnsemble
from edt.functional import predict
from edt.landscape import predicted_inertia, split_every, split_matrices
from edt.nets.common import glorot
from edt.ops.threads import one_blas_thread
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.stats import cluster_rate, mean_interval
from edt.studies.channel_sweep.spec import ChannelSweepSpec
from edt.studies.common.find_tickets import SEED_STRIDE
from edt.studies.common.success_table import success_table
from edt.tasks import Task
from edt.training import converge, masked_train

#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "readout": "str",
    "target": "int64",
    "width": "int64",  # channels
    "seed": "int64",
    "train_loss": "float64",  # after Adam alone
    "loss": "float64",
    "outcome": "str",  # "good" or "bad"
}
#: Columns of ``splits``: one row a channel of a minimum and a share.
SPLITS: dict[str, str] = {
    "readout": "str",
    "target": "int64",
    "width": "int64",
    "seed": "int64",
    "loss": "float64",
    "channel": "int64",
    "share": "float64",
    "rank": "int64",  # of P
    "predicted": "int64",  # index in closed form
    "index": "int64",  # of the full Hessian
    "clear": "bool",  # no eigenvalue near the limit of what counts as zero
    "left": "float64",  # lowest loss found down the steepest way, over that of the minimum
}
#: Eigenvalues within this factor of the limit leave a count in doubt.
DOUBT = 30.0
#: Steps along the most negative direction, as shares of the parameters' norm.
STEP = 0.02
#: Iterations of L-BFGS after that step.
DOWN = 60


def network(spec: ChannelSweepSpec, readout: str, channels: int) -> nn.Module:
    """A student, Glorot normal."""
    positions = (spec.side - spec.kernel + 1) ** 2
    last = [nn.AdaptiveAvgPool2d(1)] if readout == "mean" else []
    size = channels if readout == "mean" else channels * positions
    return glorot(
        nn.Sequential(
            nn.Conv2d(1, channels, spec.kernel), nn.Tanh(), *last, nn.Flatten(), nn.Linear(size, 1)
        )
    )


def students(
    spec: ChannelSweepSpec, readout: str, channels: int, seeds: list[int]
) -> ModuleEnsemble:
    """Students of one readout and number of channels, one a seed."""
    return ModuleEnsemble.build(
        lambda width, _: network(spec, readout, width), [channels], seeds, dtype=torch.float64,
        input_shape=(1, spec.side, spec.side),
    )  # fmt: skip


def teachers(spec: ChannelSweepSpec, readout: str) -> Task:
    """One target a teacher, of mean 0 and variance 1.

    Kernels are random directions of length ``teacher_gain``, biases N(0, 1/4), output weights of a
    channel +1 or -1 in turn (times N(0, 1) a position).
    """
    r = spec.teacher_channels
    generator = torch.Generator().manual_seed(spec.seed)
    x = torch.randn(spec.samples, spec.side**2, generator=generator, dtype=torch.float64)
    made = students(spec, readout, r, list(range(spec.teachers)))
    theta = made.theta.clone()
    for b in range(made.B):
        kernel, bias, out, _ = (
            theta[int(made.offsets[b]) :][block.span].view(block.shape) for block in made.blocks(b)
        )
        kernel.copy_(torch.randn(kernel.shape, generator=generator, dtype=torch.float64))
        kernel.mul_(spec.teacher_gain / kernel.flatten(1).norm(dim=1)[:, None, None, None])
        bias.copy_(0.5 * torch.randn(r, generator=generator, dtype=torch.float64))
        sign = torch.tensor([(-1.0) ** j for j in range(r)], dtype=torch.float64)[:, None]
        each = torch.randn(r, out.shape[1] // r, generator=generator, dtype=torch.float64)
        out.copy_((sign * (torch.ones_like(each) if readout == "mean" else each)).view(1, -1))
    y = predict(made.with_theta(theta), (x, x[:, :1]))
    y = (y - y.mean(1, keepdim=True)) / y.std(1, keepdim=True, correction=0)
    return Task(x, y, name=f"convolutional teachers, {readout}")


def _part(
    spec: ChannelSweepSpec, tasks: dict[str, Task], readout: str, target: int, width: int
) -> dict[str, pd.DataFrame]:
    task = tasks[readout]
    seeds = [target * SEED_STRIDE + k for k in range(spec.seeds)]
    start = students(spec, readout, width, seeds)
    index = torch.full((spec.seeds,), target)
    with one_blas_thread():  # the bits of modules depend on how many there are
        trained = masked_train(
            task, start, optimizer="adam", lr=spec.lr, steps=spec.steps, schedule="cosine",
            task_index=index, record=None, progress=False,
        )  # fmt: skip
        ended = _lower(task, trained.networks, index, spec.lbfgs_steps, 0)
        if trained.interrupted or ended.interrupted:
            raise KeyboardInterrupt
        loss = ended.loss.numpy()
        runs = pd.DataFrame(
            {
                "readout": readout, "target": target, "width": width, "seed": seeds,
                "train_loss": trained.loss.numpy(), "loss": loss,
                "outcome": np.where(loss <= spec.good, "good", "bad"),
            }
        )  # fmt: skip
        bad = np.flatnonzero(loss > spec.good)
        chosen = torch.from_numpy(bad[np.argsort(loss[bad], kind="stable")][: spec.minima])
        splits = [] if not len(chosen) else _splits(spec, task, ended.networks[chosen], target)
    rows = [
        {"readout": readout, "target": target, "width": width, "seed": seeds[chosen[b]], **row}
        for b, row in splits
    ]
    made = pd.DataFrame(rows) if rows else pd.DataFrame({name: [] for name in SPLITS})
    return {"runs": runs.astype(RUNS)[list(RUNS)], "splits": made.astype(SPLITS)[list(SPLITS)]}


def _lower(task: Task, networks: Any, index: torch.Tensor, lbfgs: int, newton: int) -> Any:
    return converge(
        task, networks, task_index=index, lbfgs_steps=lbfgs, newton_steps=newton, progress=False
    )


def _splits(
    spec: ChannelSweepSpec, task: Task, networks: ModuleEnsemble, target: int
) -> list[tuple[int, dict[str, Any]]]:
    """(network, row) for every channel and share of those that are minima."""
    found = _lower(task, networks, torch.full((networks.B,), target), 0, spec.newton_steps)
    if found.interrupted:
        raise KeyboardInterrupt
    kept = [b for b in range(networks.B) if found.verdict[b] == "minimum"]
    kept = [b for b in kept if float(found.loss[b]) > spec.good]
    if not kept:
        return []
    minima = found.networks.select(kept)
    counts = [(0, 0, int(size)) for size in minima.coords]  # what a minimum is
    matrices = [split_matrices(task, minima, k, target=target) for k in range(minima.B)]
    rows = []
    for share in spec.shares:
        wide = split_every(minima, share)
        where = torch.full((wide.networks.B,), target)
        values, vectors = hessian_spectrum(wide.networks, task, task_index=where, vectors=True)
        theta = wide.networks.theta.clone()
        for i, vector in enumerate(vectors):
            span = slice(int(wide.networks.offsets[i]), int(wide.networks.offsets[i + 1]))
            theta[span] += STEP * theta[span].norm() * vector[:, 0]
        down = _lower(task, wide.networks.with_theta(theta), where, DOWN, 0)
        pairs = zip(wide.source.tolist(), wide.neuron.tolist(), strict=True)
        for i, (k, channel) in enumerate(pairs):
            eps = zero_threshold(values[i])
            size = values[i].abs()
            loss = float(found.loss[kept[k]])
            matrix = matrices[k][channel]
            rows.append(
                (
                    kept[k],
                    {
                        "loss": loss, "channel": channel, "share": share, "rank": matrix.rank,
                        "predicted": -1 if matrix.unmet
                        else predicted_inertia(counts[k], matrix, share)[0],
                        "index": inertia(values[i], eps)[0],
                        "clear": not bool(((size > eps / DOUBT) & (size < eps * DOUBT)).any()),
                        "left": float(down.loss[i]) / loss,
                    },
                )
            )  # fmt: skip
    return rows


@dataclass(repr=False)
class ChannelSweep(Experiment):
    """Train students of many channels, and split channels of the bad minima that they find.

    Tables: ``runs`` (one row a student), ``splits`` (one row a channel of a bad minimum and share).
    """

    kind: ClassVar[str] = "channel-sweep"
    spec_type: ClassVar[type[Spec]] = ChannelSweepSpec
    names: ClassVar[tuple[str, ...]] = ("runs", "splits")

    @staticmethod
    def plan(spec: ChannelSweepSpec) -> list[Part]:
        """One part a readout, teacher and number of channels."""
        return [
            Part(
                f"{readout}-{target:02d}-channels-{width:04d}",
                f"read out by {readout}, teacher {target + 1}, {width} channels",
                float(spec.seeds * width), "train students, split their channels",
                (readout, target, width), tables=("runs", "splits"), marked=False,
            )
            for readout in spec.readouts
            for target in range(spec.teachers)
            for width in spec.channels
        ]  # fmt: skip

    @classmethod
    def headline(cls, spec: ChannelSweepSpec) -> str:
        """What is about to run, in a line."""
        each = len(spec.readouts) * spec.teachers * len(spec.channels) * spec.seeds
        return f"{each:,} convolutional students of {spec.teachers} teachers a readout"

    @classmethod
    def data(cls, spec: ChannelSweepSpec) -> dict[str, Task]:
        """What is learned, by readout."""
        return {readout: teachers(spec, readout) for readout in spec.readouts}

    @classmethod
    def measure(cls, spec: ChannelSweepSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """Both tables."""
        made = parts.run(partial(_part, spec, cls.data(spec)))
        return {
            name: pd.concat([one[name] for one in made], ignore_index=True) for name in cls.names
        }

    def success(self, conf: float = 0.95) -> pd.DataFrame:
        """Success, lottery predictions and effective tickets: see `success`."""
        return success(self.tables["runs"], self.spec.teacher_channels, conf)

    def ways(self, conf: float = 0.95) -> pd.DataFrame:
        """Ways down after a split: see `ways`."""
        return ways(self.tables["splits"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Both."""
        names = ["readout", "width", "runs", "rate", "rate_low", "rate_high", "n_eff"]
        return {
            "success_against_channels": self.success()[names],
            "ways_down_after_a_split": self.ways(),
        }


#: Runs it, or what is left of it.
run_channel_sweep: Callable[..., ChannelSweep] = ChannelSweep.run


def success(runs: pd.DataFrame, r: int, conf: float = 0.95) -> pd.DataFrame:
    """Success over all teachers, by readout and number of channels.

    Args:
        runs: table ``runs``.
        r: channels of the teachers.
        conf: coverage, over teachers.

    Returns:
        Rows of `edt.studies.common.success_table.success_table` for all teachers together.
    """
    tables = []
    for readout, part in runs.groupby("readout", sort=False):
        table = success_table(part, r, conf).query("target == -1").drop(columns="target")
        tables.append(table.assign(readout=str(readout)))
    return pd.concat(tables, ignore_index=True)


def ways(splits: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Ways down after a channel of a bad minimum is split.

    Args:
        splits: table ``splits``.
        conf: coverage. Teachers are the clusters.

    Returns:
        One row per (readout, share, width), then one per (readout, share) with ``width`` 0 for all:
        ``targets``, ``minima``, ``splits``; ``strict``, the share that has a way down, with bounds;
        ``index``, their mean, and ``index_low``, ``index_high`` over teachers (NaN of one);
        ``rank``, mean rank of P; ``agree`` of ``clear``, splits whose full Hessian has the index
        of the closed form, of those beyond doubt; ``left``, median of the loss down the way over
        that of the minimum.
    """
    rows = []
    everything = pd.concat([splits, splits.assign(width=0)], ignore_index=True)
    for (readout, share, width), part in everything.groupby(["readout", "share", "width"]):
        strict = part.assign(strict=part["index"] > 0).groupby("target")["strict"]
        by = strict.agg(["sum", "size"])
        rate = cluster_rate(by["sum"].to_numpy(), by["size"].to_numpy(), conf)
        each = part.groupby("target")["index"].mean().to_numpy()
        mean = mean_interval(each, conf) if len(each) > 1 else None
        sure = part[part["clear"] & (part["predicted"] >= 0)]
        rows.append(
            {
                "readout": str(readout), "share": float(str(share)), "width": int(str(width)),
                "targets": len(by), "minima": len(part.groupby(["target", "width", "seed"])),
                "splits": len(part), "strict": rate.value, "strict_low": rate.low,
                "strict_high": rate.high, "index": float(each.mean()),
                "index_low": mean.low if mean else np.nan,
                "index_high": mean.high if mean else np.nan, "rank": float(part["rank"].mean()),
                "agree": int((sure["index"] == sure["predicted"]).sum()), "clear": len(sure),
                "left": float(part["left"].median()),
            }
        )  # fmt: skip
    names = ["readout", "share", "width", "targets", "minima", "splits", "strict", "strict_low",
             "strict_high", "index", "index_low", "index_high", "rank", "agree", "clear",
             "left"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)
