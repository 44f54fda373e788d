"""The command line: exit codes, one-line errors, machine-readable output."""

from __future__ import annotations

import json

import pytest

from edt import _core
from edt.cli import main as program


def main(arguments):
    """Exit code of the program."""
    with pytest.raises(SystemExit) as stop:
        program(arguments)
    return stop.value.code or 0


QUICK = ["demo", "--quick", "--widths", "2,4", "--seeds", "3", "--teachers", "1", "--no-progress"]


def test_demo_writes_everything_and_resumes(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*QUICK, "--out", str(out)]) == 0
    assert "Success against width" in capsys.readouterr().out
    for name in ("report.html", "runs.parquet", "splits.parquet"):
        assert (out / name).exists(), name
    before = (out / "runs.parquet").read_bytes()
    assert main([*QUICK, "--out", str(out), "--json"]) == 0
    json.loads(capsys.readouterr().out)
    assert (out / "runs.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "teacher_studnet"], "did you mean"),
        (["--seeds", "0"], "seeds"),
        (["--widths", "2-x"], "widths"),
        (["--threads", "0"], "threads"),
    ],
)
def test_wrong_values_are_one_line(tmp_path, capsys, arguments, says):
    out = tmp_path / "run"
    assert main(["demo", *arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert not out.exists()


def test_foreign_folder_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main([*QUICK, "--out", str(tmp_path)]) != 0
    assert tmp_path.name in capsys.readouterr().err.replace("\n", "")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_wrong_use(capsys):
    assert main(["demo", "--no-such-option"]) == 2
    assert main(["nonsense"]) == 2


def test_doctor(capsys, monkeypatch):
    assert main(["doctor", "--json"]) == 0
    found = json.dumps(json.loads(capsys.readouterr().out))
    assert _core.isas() and all(isa in found for isa in _core.isas())
    assert main(["doctor"]) == 0


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("edt ")


def test_bench(capsys):
    assert main(["bench", "--quick", "--threads", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [figure["name"] for figure in found["figures"]]
    assert len(names) == len(set(names)) >= 9
    assert all(figure["value"] > 0 for figure in found["figures"])
    # Single calls are not compared: the next run would say something else.
    assert any(figure["pytorch"] for figure in found["figures"])
    assert all(figure["ratio"] is None for figure in found["figures"])
