"""The multi-start experiment."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from edt.studies import MultiStart, MultiStartSpec, run_multi_start
from edt.studies.multi_start.run import agreement_table

SMALL = MultiStartSpec(
    teachers=2, teacher_width=2, widths=(2, 5), seeds=6, samples=40, steps=600, lbfgs_rounds=1,
    lbfgs_steps=200, good=1e-4,
)  # fmt: skip


def test_run_resume_and_counts(tmp_path):
    folder = tmp_path / "run"
    done = run_multi_start(SMALL, folder, progress=False)
    runs = done.tables["runs"]
    assert len(runs) == 24
    narrow = runs[runs["width"] == 2]
    # A network of width r is its own only ticket.
    assert (narrow["together"] == (narrow["alone"] > 0)).all()
    assert (narrow["together_loss"] == narrow["alone_loss"]).all() and (narrow["held"] == 1).all()
    table = done.agreement()
    cells = table[["both", "only_together", "only_alone", "neither"]].sum(axis=1)
    assert (cells == table["networks"]).all() and table["tickets"].tolist() == [1, 2]
    before = (folder / "runs.parquet").read_bytes()
    next((folder / "parts").glob("*width-0005.parquet")).unlink()
    again = run_multi_start(SMALL, folder, progress=False)
    assert (folder / "runs.parquet").read_bytes() == before
    pd.testing.assert_frame_equal(MultiStart.load(folder).tables["runs"], again.tables["runs"])


def test_agreement_of_a_perfect_multi_start():
    runs = pd.DataFrame(
        {"target": 0, "width": 8, "together": [True, False] * 20, "tickets": 2,
         "alone": [1, 0] * 20, "held": 1.0, "holder_won": True}
    )  # fmt: skip
    row = agreement_table(runs).iloc[0]
    assert row["information"] == 1.0 and row["rate_ticket"] == 0.25
    assert row["only_together"] == row["only_alone"] == 0


def test_bad_spec():
    with pytest.raises(ValueError, match="teacher_width"):
        dataclasses.replace(SMALL, widths=(1, 4))
    with pytest.raises(ValueError, match="rising"):
        dataclasses.replace(SMALL, widths=(4, 2))
    with pytest.raises(ValueError, match="task"):
        dataclasses.replace(SMALL, task="digits")
