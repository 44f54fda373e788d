"""``edt sweep``, ``status``, ``resume``, ``export``."""

from __future__ import annotations

import io
import json
import os

import pytest

from edt.cli import main as program
from edt.runs.store import Store
from edt.runs.sweeps import SweepSpec
from edt.runs.sweeps.spec import MOST

SPEC = """
task = "xor"
shard_seconds = 0.0006
[grid]
width = [2, 3]
seed = "0..3"
steps = 30
lr = [0.05, 0.1]
"""


def main(arguments):
    """Exit code of the program."""
    with pytest.raises(SystemExit) as stop:
        program([str(word) for word in arguments])
    return stop.value.code or 0


@pytest.fixture
def spec(tmp_path):
    file = tmp_path / "spec.toml"
    file.write_text(SPEC)
    return file


def test_rows_that_the_terminal_leaves_out_are_counted(spec, tmp_path, capsys):
    spec.write_text(SPEC.replace("lr = [0.05, 0.1]", f"lr = {[k / 100 for k in range(1, 22)]}"))
    assert main(["sweep", spec, "--out", tmp_path / "run", "--workers", "0", "--no-progress"]) == 0
    assert "outcomes: the first 40 of 42 rows" in capsys.readouterr().out


def test_a_spec_from_standard_input(monkeypatch, tmp_path, capsys):
    """And from no other pipe: one without a writer would be waited for for ever."""
    monkeypatch.chdir(tmp_path)
    for given in ("-", "/dev/stdin"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SPEC.encode())))
        assert main(["sweep", given, "--plan"]) == 0
        assert "16 runs" in capsys.readouterr().out
        assert main(["sweep", given]) == 2
        assert "--out must name a directory" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"#" * (MOST + 2))))
    assert main(["sweep", "-", "--plan"]) == 2
    assert "-: not TOML: more than 17 MB" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_sweep_status_resume_export(spec, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["sweep", spec, "--out", out, "--workers", "0", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["rows"]["runs"] == 16 and (out / "runs.parquet").is_file()
    assert main(["status", out, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["finished"] and found["runs_done"] == 16
    before = (out / "runs.parquet").read_bytes()
    next((out / "parts").glob("*.manifest.json")).unlink()
    assert main(["status", out]) == 3
    assert "edt resume" in capsys.readouterr().out.replace("\n", " ")
    assert main(["resume", out, "--workers", "0"]) == 0
    assert (out / "runs.parquet").read_bytes() == before
    capsys.readouterr()
    assert main(["export", out, "--to", "csv", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)
    assert [os.path.basename(file) for file in files] == ["runs.csv"]
    (out / "report.html").unlink()
    assert main(["report", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == []
    assert (out / "report.html").is_file() and not (out / "figures").exists()
    assert main(["report", out, "--figures", "png, pdf", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [os.path.basename(file) for file in facts["figures"]] == ["sweep.pdf", "sweep.png"]
    assert main(["report", out, "--figures", "gif"]) == 2
    assert "figures must be of png, svg, pdf, got gif" in capsys.readouterr().err


def test_plan_writes_nothing(spec, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["sweep", spec, "--out", out, "--plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 16
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "more", "says"),
    [
        (SPEC.replace("width", "widht"), [], "did you mean 'width'"),
        ("grid = [", [], "not TOML"),
        (SPEC, ["--engine", "rya"], "did you mean 'ray'"),
        (SPEC, ["--gpus", "1"], "--gpus is not for --engine local"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(tmp_path, capsys, text, more, says):
    file = tmp_path / "spec.toml"
    file.write_text(text)
    assert main(["sweep", file, "--out", tmp_path / "run", *more]) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error


def test_debug_shows_the_traceback(tmp_path, capsys):
    (tmp_path / "spec.toml").write_text("grid = [")
    assert main(["sweep", tmp_path / "spec.toml", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "resume", "export", "report"])
def test_no_run_there(tmp_path, capsys, command):
    assert main([command, tmp_path]) == 2
    assert "not the directory of an edt run" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("command", ["export", "report"])
def test_tables_of_an_unfinished_run(tmp_path, capsys, command):
    spec = SweepSpec.from_dict({"task": "xor", "grid": {"steps": 1}})
    with Store(tmp_path / "run", "sweep", {"spec": spec.to_dict(), "edt": "any"}):
        pass
    assert main([command, tmp_path / "run"]) == 2
    assert "runs.parquet: no such file" in capsys.readouterr().err.replace("\n", "")


def test_status_of_a_started_sweep(tmp_path, capsys):
    spec = SweepSpec.from_dict({"task": "xor", "grid": {"steps": 1}})
    with Store(tmp_path / "run", "sweep", {"spec": spec.to_dict(), "edt": "any"}):
        assert main(["status", tmp_path / "run"]) == 0
        assert "running" in capsys.readouterr().out
    assert main(["status", tmp_path / "run"]) == 3


def test_exit_codes_are_in_the_help(capsys):
    assert main(["--help"]) == 0
    assert "130 Ctrl-C" in capsys.readouterr().out
