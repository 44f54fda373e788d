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


#: What every folder of a study may hold.
OF_A_STUDY = {"__init__.py", "spec.py", "run.py", "panels.py", "page.py", "terminal.py"}


def _near(one: str, other: str) -> bool:
    """Whether one letter changed, more or less makes one of the other."""
    if len(one) == len(other):
        return sum(a != b for a, b in zip(one, other, strict=True)) == 1
    short, long = sorted((one, other), key=len)
    return len(long) == len(short) + 1 and any(
        long[:k] + long[k + 1 :] == short for k in range(len(long))
    )


def _mistakable(files: list[Path]) -> list[str]:
    """Files of one folder one letter apart, and names that four files have."""
    found = [
        f"{one} and {other.name}"
        for k, one in enumerate(files)
        for other in files[k + 1 :]
        if one.parent == other.parent and _near(one.stem, other.stem)
    ]
    names = [file.name for file in files if file.name not in OF_A_STUDY]
    return found + [name for name in sorted(set(names)) if names.count(name) >= 4]


def test_no_file_can_be_mistaken_for_another():
    files = [
        file.relative_to(ROOT)
        for top in ("edt", "csrc")
        for file in sorted((ROOT / top).rglob("*"))
        if file.suffix in (".py", ".h", ".cpp", ".cu", ".cuh")
    ]
    assert len(files) > 300 and _mistakable(files) == []
    spoilt = [Path("edt/a/panel.py"), Path("edt/a/panels.py")]
    spoilt += [Path(f"edt/{k}/one.py") for k in range(4)]
    assert _mistakable(spoilt) == ["edt/a/panel.py and panels.py", "one.py"]
