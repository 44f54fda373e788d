"""Success at other thresholds: rates of known losses, and what is said of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edt.studies.common.thresholds import threshold_table, threshold_text


def runs(low, high, first, targets=4, each=50):
    """Half of each target's runs end at ``low``, the others at ``high``; Adam leaves ``first``."""
    loss = np.tile(np.repeat([low, high], each // 2), targets)
    return pd.DataFrame(
        {
            "target": np.repeat(np.arange(targets), each), "width": 4, "loss": loss,
            "threshold": 1e-8, "train_loss": np.where(loss <= 1e-8, first, loss),
        }
    )  # fmt: skip


def test_rates_are_counts():
    table = threshold_table(runs(1e-9, 3e-7, 5e-8)).set_index("factor")
    assert table["rate"].tolist() == [0.5, 0.5, 1.0, 1.0, 1.0]
    assert table["first"].tolist() == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert (table["targets"] == 4).all() and (table["runs"] == 200).all()
    assert (table["rate_low"] <= table["rate"]).all()
    assert (table["rate_high"] >= table["rate"]).all()
    with pytest.raises(ValueError, match="at least 1"):
        threshold_table(runs(1e-9, 1.0, 1e-9), factors=(0.1,))


def test_the_text_follows_the_numbers():
    said = threshold_text(threshold_table(runs(1e-9, 1e-2, 1e-9)))
    assert "no rate rises." in said and "the same rates" in said
    said = threshold_text(threshold_table(runs(1e-9, 3e-7, 5e-8)))
    assert "rises by up to 50 points" in said and "less often, by up to 50 points" in said
    silent = threshold_table(runs(1e-9, 1e-2, 1e-9).drop(columns="train_loss"))
    assert silent["first"].isna().all() and "First-order" not in threshold_text(silent)
