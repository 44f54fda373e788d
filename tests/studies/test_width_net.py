"""Width of networks of modules: what is trained, what is counted, and what is said."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from edt.ops.threads import one_blas_thread
from edt.studies.common.net_spec import NetData, accuracy, train
from edt.studies.registry import STUDIES
from edt.studies.width_net.page import findings
from edt.studies.width_net.run import STRIDE, WidthNet, success
from edt.studies.width_net.spec import WidthNetSpec

SPEC = WidthNetSpec(
    net="lenet5", factors=(0.1, 0.2), samples=80, steps=12, batch=20, milestones=(), seeds=2,
    fits=0.15,
)  # fmt: skip


def runs_of(rates: dict[int, float], seeds: int, seed: int | None = None) -> pd.DataFrame:
    """Runs that win at these rates: exactly, or at random."""
    draw = np.random.Generator(np.random.Philox(seed or 0))
    parts = []
    for width, rate in rates.items():
        won = np.arange(seeds) < round(rate * seeds) if seed is None else draw.random(seeds) < rate
        parts.append(
            pd.DataFrame({"width": width, "parameters": 9 * width, "fit": won, "accuracy": 0.5})
        )
    return pd.concat(parts, ignore_index=True).astype({"fit": float})


def test_rows_are_trainings_from_starts_of_their_own(tmp_path) -> None:
    found = WidthNet.run(SPEC, tmp_path / "run", progress=False).tables["runs"]
    assert found["seed"].tolist() == [0, 1, STRIDE, STRIDE + 1]
    data = NetData.of(SPEC)
    with one_blas_thread():
        for factor, part in found.groupby("factor"):
            seeds = torch.tensor(part["seed"].tolist())
            ended = train(SPEC, data, data.recipe.start([factor], seeds.tolist()), seeds)
            assert part["loss"].tolist() == ended.loss.tolist()
            assert part["fit"].tolist() == accuracy(ended.networks, data.train).tolist()
            sizes = {
                sum(p.numel() for p in ended.networks.to_module(b).parameters()) for b in (0, 1)
            }
            assert set(part["parameters"]) == sizes
    assert found["width"].tolist() == [
        data.recipe.start([factor], [0]).blocks(0)[0].shape[0] for factor in (0.1, 0.1, 0.2, 0.2)
    ]


def test_predictions_and_bounds() -> None:
    """Half of the narrow ones win: of two disjoint ones 3/4 would, of six overlapping 63/64."""
    table = success(runs_of({2: 0.5, 4: 0.9}, 40), 0.9)
    wide = table[table["width"] == 4].iloc[0]
    assert wide["disjoint"] == 0.75 and wide["combinatorial"] == 1 - 0.5**6
    assert wide["n_disjoint"] == 2 and wide["n_combinatorial"] == 6
    for name in ("disjoint", "combinatorial"):
        gap = wide["rate"] - wide[name]
        down = math.hypot(wide["rate"] - wide["rate_low"], wide[f"{name}_high"] - wide[name])
        up = math.hypot(wide["rate_high"] - wide["rate"], wide[name] - wide[f"{name}_low"])
        assert wide[f"ahead_{name}"] == gap
        assert wide[f"ahead_{name}_low"] == pytest.approx(gap - down, abs=1e-15)
        assert wide[f"ahead_{name}_high"] == pytest.approx(gap + up, abs=1e-15)
    assert table[table["width"] == 2]["ahead_disjoint"].isna().all()


def test_networks_that_are_tickets_speak_for_nothing() -> None:
    """Networks that are three and five independent tickets, between the disjoint and all that
    overlap: intervals that hold together at 95% leave one of twenty such data sets to chance."""
    told = 0
    for seed in range(1, 21):
        rates = {2: 0.3, 4: 1 - 0.7**3, 6: 1 - 0.7**5}
        table = success(runs_of(rates, 60, seed), 0.9, conf=1 - 0.05 / 4)
        told += any(found.speaks != "silent" for found in findings(table))
    assert told <= 1


@pytest.mark.parametrize(
    ("rates", "speaks"),
    [({2: 0.1, 3: 0.95}, "for"), ({2: 0.5, 8: 0.3}, "for"), ({2: 0.0, 3: 0.2}, "for"),
     ({2: 0.3, 4: 0.7}, "silent"), ({2: 1.0, 4: 1.0}, "silent")],
)  # fmt: skip
def test_what_is_said_follows_the_rates(rates, speaks) -> None:
    (found,) = findings(success(runs_of(rates, 60), 0.9))
    assert found.claim == "b" and found.speaks == speaks
    above = "were each tried" in found.text
    assert above == (speaks == "for" and rates[max(rates)] > rates[2])


def test_one_width_says_nothing() -> None:
    assert findings(success(runs_of({2: 0.5}, 10), 0.9)) == []


def test_bad_specs() -> None:
    for change, words in (
        ({"factors": (0.2, 0.1)}, "factors must be rising and distinct"),
        ({"fits": 1.0}, "fits must be"),
        ({"net": "conv2", "task": "mnist1d"}, "takes images"),
        ({"seeds": 0}, "seeds must be >= 1"),
    ):
        with pytest.raises(ValueError, match=words):
            STUDIES["width-net"].spec(**change)
