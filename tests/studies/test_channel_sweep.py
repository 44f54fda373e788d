"""Channels of convolutions: what is said of ways down, and that counts are the closed form's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edt.studies.channel_sweep import channel_sweep_spec
from edt.studies.channel_sweep.page import findings
from edt.studies.channel_sweep.run import ChannelSweep, teachers, ways


def splits(strict: float, targets: int = 10, each: int = 10) -> pd.DataFrame:
    """Splits of which a share has ways down, the same of every teacher."""
    count = round(strict * each)
    rows = [
        {"readout": "mean", "target": t, "width": 2, "seed": k, "loss": 0.1, "channel": 0,
         "share": 0.5, "rank": 0, "predicted": int(k < count), "index": int(k < count),
         "clear": True, "left": 0.5}
        for t in range(targets) for k in range(each)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("strict", "speaks"), [(1.0, "for"), (0.0, "against"), (0.5, "silent")])
def test_what_is_said_follows_the_share_of_splits_with_a_way_down(strict, speaks):
    (found,) = findings(ways(splits(strict)))
    assert found.speaks == speaks
    assert "100 of 100 counts beyond doubt" in found.text


def test_one_teacher_says_nothing_and_shares_outside_are_not_told():
    (found,) = findings(ways(splits(1.0, targets=1)))
    assert found.speaks == "silent"
    assert findings(ways(splits(1.0).assign(share=1.5))) == []
    assert findings(ways(splits(1.0).iloc[:0])) == []


def test_full_hessians_have_the_index_of_the_closed_form(tmp_path):
    spec = channel_sweep_spec(quick=True, channels=(1, 2), seeds=2, steps=100, teachers=1)
    run = ChannelSweep.run(spec, tmp_path, progress=False)
    table = run.tables["splits"]
    sure = table[table["clear"] & (table["predicted"] >= 0)]
    assert len(sure) >= 4 and set(sure["readout"]) == {"mean", "positions"}
    assert (sure["index"] == sure["predicted"]).all()
    # One output weight a channel; nine, of which the gradient takes one.
    assert set(sure.loc[sure["readout"] == "mean", "rank"]) == {0}
    assert set(sure.loc[sure["readout"] == "positions", "rank"]) == {8}
    assert (sure.loc[sure["readout"] == "positions", "index"] >= 8).all()
    # The way down of a saddle leads down.
    assert (sure.loc[sure["index"] > 0, "left"] < 1.0).all()


def test_targets_have_variance_one_and_specs_are_checked():
    task = teachers(channel_sweep_spec(teachers=3), "positions")
    assert task.T == 3
    assert np.allclose(task.variance, 1.0)
    with pytest.raises(ValueError, match="readouts must be"):
        channel_sweep_spec(readouts=("max",))
    with pytest.raises(ValueError, match="kernel"):
        channel_sweep_spec(kernel=9)
