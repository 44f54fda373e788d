"""The examples run as they are and say something."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["perturb_the_rest", "iterative_pruning"])
def test_example_runs(name, capsys):
    runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
    assert "%" in capsys.readouterr().out or name == "perturb_the_rest"


def test_the_tour_of_the_landscape_draws_four_figures(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(HERE / "look_around.py"), run_name="__main__")
    written = capsys.readouterr().out.split()
    assert len(written) == 4
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in written)
