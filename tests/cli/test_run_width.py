"""`edt run width-sweep`, `xor` and `controls`: files, resume, refusals."""

from __future__ import annotations

import json

import pytest

from edt.cli import main as program


def main(arguments):
    """Exit code of the program."""
    with pytest.raises(SystemExit) as stop:
        program(arguments)
    return stop.value.code or 0


SWEEP = [
    "width-sweep", "--quick", "--widths", "2,4,5,6", "--seeds", "4", "--activation", "softplus",
    "--set", "teachers=1", "--set", "samples=40", "--set", "steps=300", "--set", "lbfgs_rounds=1",
    "--set", "lbfgs_steps=100", "--set", "newton_steps=20", "--set", "escape_lbfgs_steps=100",
    "--set", "escape_newton_steps=20", "--set", "good=1e-3",
]  # fmt: skip
XOR = ["xor", "--quick", "--widths", "2..4", "--seeds", "20", "--set", "steps=800",
       "--set", "success=0.4"]  # fmt: skip


CONTROLS = [
    "controls", "--quick", "--seeds", "3", "--set", "steps=100", "--set", "lbfgs_steps=20",
    "--set", "samples=32", "--set", "good=0.05", "--set", "teacher_width=2", "--widths", "2,4",
]  # fmt: skip


@pytest.mark.parametrize("arguments", [SWEEP, XOR, CONTROLS], ids=lambda a: a[0])
def test_writes_everything_and_resumes(tmp_path, capsys, page_text, arguments):
    out = tmp_path / "run"
    assert main(["run", *arguments, "--out", str(out), "--no-progress"]) == 0
    assert "Report" in capsys.readouterr().out
    page = page_text(out)
    assert "95%" in page and "nan" not in page
    assert (out / "provenance.json").exists() and not (out / "figures").exists()
    assert ("Which law of width fits" in page) == (arguments is not CONTROLS)
    before = (out / "runs.parquet").read_bytes()
    assert main(["run", *arguments, "--out", str(out), "--no-progress", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["spec_digest"] and found["report"]
    assert (out / "runs.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["width-sweep", "--task", "teacher_studnet"], "did you mean"),
        (["width-sweep", "--activation", "tanhh"], "did you mean"),
        (
            ["width-sweep", "--task", "diabetes", "--teachers", "2"],
            "teachers is for teacher_student",
        ),
        (["width-sweep", "--task", "rosenbrock", "--set", "samples=50"], "square"),
        (["xor", "--widths", "x"], "widths"),
        (["controls", "--controls", "width,frozn"], "did you mean"),
        (["controls", "--widths", "6,8"], "teacher_width"),
        (["xor", "--set", "starts=('glorot',)"], "starts"),
    ],
)
def test_wrong_values_are_one_line(tmp_path, capsys, arguments, says):
    out = tmp_path / "run"
    assert main(["run", *arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert not out.exists()
