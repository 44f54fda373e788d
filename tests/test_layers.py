"""Imports point down only; the check itself finds what it is for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def layers():
    found = importlib.util.spec_from_file_location("layers", ROOT / ".ci" / "layers.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_import_points_down(layers, capsys):
    wrong = layers.main(ROOT)
    assert wrong == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("ops/new.py", "from edt.training import run", "'training' is not below 'ops'"),
        ("ops/new.py", "def f():\n    import edt.cli.app", "'cli' is not below 'ops'"),
        ("rest/new.py", "", "'rest' has no layer"),
        (
            "ops/cpu.py",
            "from edt.ops.calls import calls_of",
            "circle: edt.ops.calls <-> edt.ops.cpu",
        ),
    ],
)
def test_what_it_finds(layers, tmp_path, capsys, file, text, says):
    for part in ("ops/core.py", "training/run.py", "cli/app.py", file):
        (tmp_path / "edt" / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "edt" / part).touch()
    (tmp_path / "edt/ops/calls.py").write_text("from edt.ops import cpu")
    (tmp_path / "edt" / file).write_text(text)
    assert layers.main(tmp_path) == 1
    assert says in capsys.readouterr().out


def test_imports_for_type_checkers_do_not_count(layers, tmp_path):
    for folder in ("ops", "training"):
        (tmp_path / "edt" / folder).mkdir(parents=True)
    (tmp_path / "edt/training/run.py").touch()
    (tmp_path / "edt/ops/new.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from edt.training import run"
    )
    assert layers.main(tmp_path) == 0
