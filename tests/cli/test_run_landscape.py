"""`edt run census` and `edt run escape`: tables, report, resume, refusals, numbers done again."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from edt.cli import main as program
from edt.studies import CensusRun, EscapeRun
from edt.studies.census import page as census_page
from edt.studies.escape import page as escape_page
from edt.studies.reporting import report_on


def main(arguments):
    """Exit code of the program."""
    with pytest.raises(SystemExit) as stop:
        program(arguments)
    return stop.value.code or 0


TINY = [
    "--quick", "--seeds", "4", "--no-progress", "--set", "teacher_width=2", "--set", "samples=48",
    "--set", "steps=400", "--set", "d_in=2",
]  # fmt: skip
CENSUS = ["census", *TINY, "--widths", "1,2,3"]
ESCAPE = [
    "escape", *TINY, "--widths", "1", "--add", "1,2", "--set", "path_widths=(2,)", "--set",
    "descent_steps=300", "--set", "path_steps=500", "--set", "escape_lbfgs_steps=500",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Directory of a finished run of each kind."""
    out = tmp_path_factory.mktemp("runs")
    for arguments in (CENSUS, ESCAPE):
        assert main(["run", *arguments, "--out", str(out / arguments[0])]) == 0
    return out


@pytest.mark.parametrize("arguments", [CENSUS, ESCAPE], ids=lambda a: a[0])
def test_writes_everything_and_resumes(runs, capsys, arguments):
    out = runs / arguments[0]
    page = (out / "report.html").read_text()
    assert "95%" in page and ">nan" not in page and "nan%" not in page
    assert (out / "provenance.json").exists()
    assert main(["run", *arguments, "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["spec"]["teacher_width"] == 2 and found["report"]
    again = json.loads((out / "provenance.json").read_text())
    assert again["seconds"] == {}  # nothing was run again
    assert report_on(out) == out / "report.html"


def snippet(text, folder, monkeypatch):
    """What the code shown on a page leaves behind, run in the directory of the run."""
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(text, names)
    return names


def test_census_numbers_from_the_saved_tables(runs, monkeypatch):
    folder = runs / "census"
    done = CensusRun.load(folder)
    page = (folder / "report.html").read_text()
    text = census_page.SNIPPET.format(r=2, odd=done.spec.activation in census_page.ODD)
    assert text.splitlines()[3] in page.replace("&quot;", '"')
    found = snippet(text, folder, monkeypatch)
    pd.testing.assert_frame_equal(found["table"], done.table())
    pd.testing.assert_frame_equal(found["basins"], done.basins())
    pd.testing.assert_frame_equal(found["counted"], done.prediction())


def test_escape_numbers_from_the_saved_tables(runs, monkeypatch):
    folder = runs / "escape"
    done = EscapeRun.load(folder)
    assert len(done.starts)
    page = (folder / "report.html").read_text()
    assert escape_page.SNIPPET.splitlines()[4] in page.replace("&quot;", '"')
    found = snippet(escape_page.SNIPPET, folder, monkeypatch)
    pd.testing.assert_frame_equal(found["dimensions"], done.dimensions())
    pd.testing.assert_frame_equal(found["ends"], done.table(("narrow", "width")))
    pd.testing.assert_frame_equal(found["by_start"], done.table())
    pd.testing.assert_frame_equal(found["opened"], done.open_dimensions())
    pd.testing.assert_frame_equal(found["places"], done.plateaus())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["census", "--task", "teacher-studnet"], "did you mean"),
        (["census", "--task", "diabetes", "--teachers", "3"], "teachers is for teacher_student"),
        (["census", "--widths", "4-2"], "rising"),
        (["census", "--set", "minima=2"], "field must be one of"),
        (["escape", "--activation", "thanh"], "did you mean"),
        (["escape", "--add", "0"], "add"),
    ],
)
def test_wrong_values_are_one_line(tmp_path, capsys, arguments, says):
    out = tmp_path / "run"
    assert main(["run", *arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert not out.exists()
