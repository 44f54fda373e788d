"""`edt run` for published results: tables, report, resume, refusals."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from edt.cli import main as program
from edt.cli.flags import integers
from edt.studies import loss_level_table, table_beside_published


def main(arguments):
    """Exit code of the program."""
    with pytest.raises(SystemExit) as stop:
        program(arguments)
    return stop.value.code or 0


SAFRAN = ["safran-shamir", "--teachers", "6,9", "--extra", "0,1", "--starts", "12"]


def test_safran_shamir(tmp_path, capsys, page_text):
    out = tmp_path / "run"
    assert main(["run", *SAFRAN, "--out", str(out), "--no-progress"]) == 0
    said = capsys.readouterr().out
    assert "reported" in said and "unverified" in said and "Report" in said
    page = page_text(out)
    assert "reported (unverified)" in page and "95%" in page and "nan" not in page
    assert (out / "provenance.json").exists()
    before = (out / "runs.parquet").read_bytes()
    assert main(["run", *SAFRAN, "--out", str(out), "--no-progress", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (out / "runs.parquet").read_bytes() == before
    # The numbers that are told are those of the saved table.
    again = table_beside_published(pd.read_parquet(out / "runs.parquet"))
    told = pd.DataFrame(found["table"])
    pd.testing.assert_frame_equal(told, again, check_dtype=False, rtol=1e-9)
    for row in again.to_dict("records"):
        assert f"{row['spurious']:,}" in page
    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    assert (out / "report.html").exists()


LEVELS = ["loss-levels", "--quick", "--widths", "1,2", "--starts", "1"]


def test_loss_levels(tmp_path, capsys, page_text):
    out = tmp_path / "run"
    assert main(["run", *LEVELS, "--out", str(out), "--no-progress"]) == 0
    said = capsys.readouterr().out
    assert "Reported and not verified by us" in " ".join(said.split()) and "Report:" in said
    page = page_text(out)
    assert "reported (unverified)" in page and "95%" in page and "nan" not in page
    before = (out / "runs.parquet").read_bytes()
    assert main(["run", *LEVELS, "--out", str(out), "--no-progress", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (out / "runs.parquet").read_bytes() == before
    again = loss_level_table(pd.read_parquet(out / "runs.parquet"))
    pd.testing.assert_frame_equal(pd.DataFrame(found["table"]), again, check_dtype=False, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["safran-shamir", "--teachers", "six"], "--teachers"),
        (["safran-shamir", "--extra", "0..x"], "--extra"),
        (["safran-shamir", "--set", "finish=most"], "finish must be one of"),
        (["safran-shamir", "--set", "startz=3"], "did you mean"),
        (["loss-levels", "--quick", "--full"], "exclude each other"),
        (["loss-levels", "--widths", "0"], "widths"),
        (["loss-levels", "--activation", "gg"], "activation"),
    ],
)
def test_wrong_values_are_one_line(tmp_path, capsys, arguments, says):
    out = tmp_path / "run"
    assert main(["run", *arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert not out.exists()


def test_numbers():
    assert integers("0..2, 5", "--extra") == (0, 1, 2, 5)
    assert integers("4..16:4", "--widths") == (4, 8, 12, 16)
