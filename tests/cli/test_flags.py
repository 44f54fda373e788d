"""Options of studies' commands come from their specs; they reach every engine."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from edt.cli import main as program
from edt.cli.app import app
from edt.cli.flags import field_texts
from edt.studies.registry import STUDIES


@pytest.mark.parametrize("kind", STUDIES)
def test_every_flag_is_a_field_that_the_docstring_explains(kind, capsys):
    study = STUDIES[kind]
    texts = field_texts(study.experiment.spec_type)
    assert set(study.flags) <= set(texts)
    # Teachers are the unit of intervals: how many there are is the first thing to change.
    assert "teachers" in study.flags or "teachers" not in texts
    with pytest.raises(SystemExit) as stop:
        program(["run", kind, "--help"])
    assert not stop.value.code
    shown = capsys.readouterr().out
    for name in (*study.flags, "engine", "workers", "quick", "set"):
        assert f"--{name.replace('_', '-')}" in shown


def test_listing_the_studies_imports_none(capsys):
    import subprocess
    import sys

    code = (
        "import sys; from edt.cli import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(kind in found.stdout for kind in STUDIES)


def test_workers_give_the_same_bits(tmp_path):
    words = ["run", "multi-start", "--quick", "--no-progress", "--set", "steps=50"]
    for name, more in (("one", []), ("two", ["--workers", "2"])):
        with pytest.raises(SystemExit) as stop:
            program([*words, "--out", str(tmp_path / name), *more])
        assert not stop.value.code
    first, second = ((tmp_path / name / "runs.parquet").read_bytes() for name in ("one", "two"))
    assert first == second


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--engine", "rya"], "did you mean"),
        (["--cpus", "2"], "--cpus is not for --engine local"),
    ],
)
def test_wrong_engines_are_one_line(tmp_path, capsys, more, says):
    with pytest.raises(SystemExit) as stop:
        program(["run", "xor", "--quick", "--out", str(tmp_path / "run"), *more])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "run" / "runs.parquet").exists()


@pytest.mark.parametrize("kind", STUDIES)
def test_help_is_whole_at_80_columns(kind):
    found = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["run", kind, "--help"])
    assert found.exit_code == 0
    assert max(map(len, found.output.splitlines())) <= 80
    assert "…" not in found.output
