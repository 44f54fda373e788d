"""Every command but ``edt run`` (whose tables have tests of their own) on a terminal of 80 columns:
no line is longer, no cell is cut, and numbers are written as on the pages.
"""

from __future__ import annotations

import io
import re
import sys

import pytest

from edt.bench import Figure
from edt.cli import main as program

SPEC = """task = "xor"
[grid]
width = [2, 16, 128]
seed = "0..3"
lr = [0.05, 0.1]
steps = 20
init = ["he", "glorot"]
"""
DEMO = ["demo", "--quick", "--widths", "2,4", "--seeds", "3", "--teachers", "1", "--no-progress",
        "--out", "demo", "--threads", "1"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all of this file's commands run: what one has made the next ones show."""
    return tmp_path_factory.mktemp("eighty")


@pytest.fixture
def said(folder, monkeypatch):
    """What a command prints, on both streams."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        out = io.StringIO()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", out)
        with pytest.raises(SystemExit) as stop:
            program([*arguments])
        assert not stop.value.code, out.getvalue()
        return out.getvalue()

    return run


def insist_whole(text):
    lines = text.splitlines()
    assert lines
    long = [line for line in lines if len(line.rstrip()) > 80]
    assert not long
    assert "…" not in text
    assert not re.search(r"\d(?:\.\d+)?e[-+]\d|\bnan\b|\d\.\d{5,}", text), text


def test_sweep_and_what_shows_it(folder, said):
    (folder / "spec.toml").write_text(SPEC)
    insist_whole(said("sweep", "spec.toml", "--plan"))
    text = said("sweep", "spec.toml", "--out", "grid", "--workers", "0", "--no-progress")
    insist_whole(text)
    # Widths as numbers, downwards, and every row of the grid with its interval.
    widths = re.findall(r"(?m)^ *(?:glorot|he) +(\d+) ", text)
    assert widths == ["2", "2", "16", "16", "128", "128"] * 2
    assert len(re.findall(r"\d+% \([\d.<]+–[\d.>]+%\)", text)) == 12
    for command in (["status"], ["report"], ["export"], ["resume", "--no-progress"]):
        insist_whole(said(command[0], "grid", *command[1:]))


def test_demo(said):
    text = said(*DEMO)
    insist_whole(text)
    assert "Success against width" in text and "95% interval" in text
    insist_whole(said("status", "demo"))


def test_doctor(said):
    insist_whole(re.sub(r"agrees with PyTorch to \S+", "", said("doctor")))


def test_claims(said, monkeypatch):
    """With no studies, whose own tables are elsewhere: the sentences are wrapped between words."""
    monkeypatch.setattr("edt.studies.claims.run.run_claims", lambda *folder, **options: {})
    text = said("claims", "--quick", "--out", "claims")
    insist_whole(text)
    assert len(re.findall(r"(?m)^\([a-d]\) ", text)) == 4
    assert "not decided by these runs." in " ".join(text.split())


@pytest.mark.parametrize("quick", [True, False])
def test_bench(said, monkeypatch, quick):
    """The longest names with the largest numbers, as the full command prints them."""
    figures = [
        Figure("8 Hessian-vector products of 192 networks, float64", 12345.678, peer=98765.4321),
        Figure("Adam step of 192 networks, tanh float32", 0.0123456, peer=1.5),
        Figure("multiply-add peak, float32", 1406.0954, "GFLOP/s"),
    ]
    monkeypatch.setattr("edt.bench.measure", lambda few: iter(figures))
    text = said("bench", *["--quick"] * quick)
    insist_whole(text)
    assert ("PyTorch" in text.splitlines()[1]) != quick  # nothing beside one call of a few steps
    first = text.splitlines()[2].split()
    assert first[-1 if quick else -3] == "12,300"


@pytest.mark.parametrize(
    "command",
    ["demo", "doctor", "claims", "sweep", "status", "resume", "export", "report", "bench", "run"],
)
def test_help(said, command):
    insist_whole(said(command, "--help"))
