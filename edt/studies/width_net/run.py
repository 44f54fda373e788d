"""Do networks of modules fit their data more often with width than tickets would explain?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pandas as pd
import torch

from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.studies.common.net_spec import NetData, accuracy, train
from edt.studies.common.success_table import success_table
from edt.studies.width_net.spec import WidthNetSpec

__all__ = ["READINGS", "WidthNet", "run_width_net", "success"]

RUNS: dict[str, str] = {
    "factor": "float64",
    "width": "int64",  # channels or units of the first layer
    "parameters": "int64",
    "seed": "int64",
    "loss": "float64",  # on the training data
    "fit": "float64",  # share of the training data that is right
    "accuracy": "float64",  # on the test data
}
#: Readings of a wide network as independent narrow ones, columns of the table of success.
READINGS = ("disjoint", "combinatorial")
#: Networks of one width start at seeds of their own.
STRIDE = 1_000_000


@dataclass(repr=False)
class WidthNet(Experiment):
    """Train networks of several widths from many starts.

    Table ``runs`` has one row a training.
    """

    kind: ClassVar[str] = "width-net"
    spec_type: ClassVar[type[Spec]] = WidthNetSpec
    names: ClassVar[tuple[str, ...]] = ("runs",)

    @staticmethod
    def plan(spec: WidthNetSpec) -> list[Part]:
        """One part a width."""
        return [
            Part(f"width-{k:03d}", f"width factor {factor:g}", spec.seeds * factor**2,
                 "train networks", (k,))
            for k, factor in enumerate(spec.factors)
        ]  # fmt: skip

    @classmethod
    def headline(cls, spec: WidthNetSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.networks:,} networks ({spec.net} of {len(spec.factors)} widths on {spec.on})"

    @classmethod
    def data(cls, spec: WidthNetSpec) -> NetData:
        """What is learned."""
        return NetData.of(spec)

    @classmethod
    def measure(cls, spec: WidthNetSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """One table, the widths one below the other."""
        return {"runs": parts.table(partial(_part, spec, cls.data(spec)))}

    def success(self, conf: float = 0.95) -> pd.DataFrame:
        """Wins against width beside what tickets would give: see `success`."""
        return success(self.tables["runs"], self.spec.fits, conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """The table of success."""
        names = ["width", "parameters", "runs", "rate", "rate_low", "rate_high", *READINGS, "n_eff"]
        return {"success_against_width": self.success()[names]}


#: Runs it, or what is left of it.
run_width_net = WidthNet.run


def _part(spec: WidthNetSpec, data: NetData, k: int) -> pd.DataFrame:
    seeds = torch.arange(spec.seeds) + spec.seed * STRIDE * len(spec.factors) + k * STRIDE
    start = data.recipe.start([spec.factors[k]], seeds.tolist())
    ended = train(spec, data, start, seeds)
    return pd.DataFrame(
        {
            "factor": spec.factors[k],
            "width": start.blocks(0)[0].shape[0],
            "parameters": start.coords.tolist(),
            "seed": seeds.numpy(),
            "loss": ended.loss.numpy(),
            "fit": accuracy(ended.networks, data.train).numpy(),
            "accuracy": ended.accuracy.numpy(),
        }
    ).astype(RUNS)[list(RUNS)]


def success(runs: pd.DataFrame, fits: float, conf: float = 0.95) -> pd.DataFrame:
    """Wins against width, beside what narrow networks inside would give.

    Were a network of m channels n independent ones of the least width r, it would fail with
    probability ``(1 - p)^n``, p the rate at r: ``floor(m/r)`` disjoint ones, or all ``C(m, r)``.

    Args:
        runs: table ``runs``.
        fits: share of the training data right at and above which a network wins.
        conf: coverage, over starts.

    Returns:
        One row a width, of `edt.studies.common.success_table.success_table`, with ``parameters``,
        the mean test ``accuracy``, and for each reading ``ahead_disjoint`` and
        ``ahead_combinatorial``: the rate minus the prediction, with bounds from both (MOVER; NaN at
        r itself).

    Reference: G. Zou, A. Donner, Statist. Med. 27 (2008) 1693.
    """
    # Fits are shares of whole samples: a level is met in spite of rounding.
    won = runs["fit"] >= fits - 1e-12
    words = pd.DataFrame(
        {"target": 0, "width": runs["width"], "outcome": won.map({True: "good", False: "bad"})}
    )
    least = int(runs["width"].min())
    table = (
        success_table(words, least, conf).query("target == 0").drop(columns=["target", "targets"])
    )
    each = runs.groupby("width")
    table["parameters"] = each["parameters"].first().to_numpy()
    table["accuracy"] = each["accuracy"].mean().to_numpy()
    wide = table["width"] > least
    for name in READINGS:
        gap = (table["rate"] - table[name]).where(wide)
        down = (table["rate"] - table["rate_low"]) ** 2 + (table[f"{name}_high"] - table[name]) ** 2
        up = (table["rate_high"] - table["rate"]) ** 2 + (table[name] - table[f"{name}_low"]) ** 2
        table[f"ahead_{name}"] = gap
        table[f"ahead_{name}_low"] = gap - down.map(math.sqrt)
        table[f"ahead_{name}_high"] = gap + up.map(math.sqrt)
    return table.reset_index(drop=True)
