"""`edt run`: tables, report, resume, refusals."""

from __future__ import annotations

import json

import pytest

from edt.cli import main as program
from edt.cli.flags import numbers, settings
from edt.cli.run import without_mnist1d


def main(arguments):
    """Exit code of the program."""
    with pytest.raises(SystemExit) as stop:
        program(arguments)
    return stop.value.code or 0


TINY = ["--set", "steps=300", "--set", "samples=40", "--set", "lbfgs_rounds=1"]
PERTURB = [
    "perturb-rest", "--quick", *TINY, "--tickets", "2", "--rests", "2", "--sizes", "0.5,1",
    "--set", "good=1e-3", "--set", "teacher_width=2", "--width", "4", "--set", "losers=1",
    "--set", "random_rests=1", "--set", "loser_rests=1", "--set", "population=4",
]  # fmt: skip
MULTI = ["multi-start", "--quick", *TINY, "--widths", "4,8", "--seeds", "3"]
LOTTERY = [
    "lottery", "--quick", "--rounds", "1", "--steps", "40", "--methods", "ticket, random",
    "--set", "samples=200",
]  # fmt: skip


@pytest.mark.parametrize("arguments", [PERTURB, MULTI, LOTTERY], ids=lambda a: a[0])
def test_writes_everything_and_resumes(tmp_path, capsys, page_text, arguments):
    out = tmp_path / "run"
    assert main(["run", *arguments, "--out", str(out), "--no-progress"]) == 0
    assert "Report" in capsys.readouterr().out
    page = page_text(out)
    assert "95%" in page and "nan" not in page
    assert (out / "provenance.json").exists() and not (out / "figures").exists()
    before = (out / "runs.parquet").read_bytes()
    assert main(["run", *arguments, "--out", str(out), "--no-progress", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["spec_digest"] and found["report"]
    assert (out / "runs.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["perturb-rest", "--ticket", "macthed"], "did you mean"),
        (["perturb-rest", "--change", "flip", "--sizes", "2"], "0..1"),
        (["perturb-rest", "--sizes", "a,b"], "--sizes"),
        (["perturb-rest", "--set", "rests"], "FIELD=VALUE"),
        (["perturb-rest", "--set", "restz=3"], "did you mean"),
        (["multi-start", "--widths", "2..3"], "teacher_width"),
        (["lottery", "--task", "mnist"], "folder"),
        (["lottery", "--task", "mnist", "--folder", "/nowhere"], "nowhere"),
        (["lottery", "--methods", "random"], "ticket"),
    ],
)
def test_wrong_values_are_one_line(tmp_path, capsys, arguments, says):
    out = tmp_path / "run"
    assert main(["run", *arguments, "--out", str(out)]) in (1, 2)
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert not out.exists()


def test_settings():
    given = ["width=6", "sizes=(0.5, 1)", "change=noise", "hidden=[3, 4]"]
    assert settings(given) == {
        "width": 6, "sizes": (0.5, 1), "change": "noise", "hidden": [3, 4],
    }  # fmt: skip
    assert numbers("0.5,1", "--sizes") == (0.5, 1.0)


@pytest.mark.parametrize("there", [True, False])
def test_the_lottery_says_what_it_takes_instead_of_mnist1d(there, monkeypatch, capsys):
    monkeypatch.setattr("edt.cli.run.find_spec", lambda name: object() if there else None)
    assert without_mnist1d() == (None if there else "digits")
    told = capsys.readouterr().err
    assert ("pip install mnist1d" in told and "digits" in told) != there
