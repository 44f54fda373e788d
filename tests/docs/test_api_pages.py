"""The pages of the reference list every public name."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "api"
PACKAGES = (
    "edt", "edt.curvature", "edt.ensemble", "edt.estimators", "edt.flow", "edt.infinite",
    "edt.landscape", "edt.lottery", "edt.nets", "edt.objectives", "edt.plots", "edt.stats",
    "edt.studies", "edt.tasks", "edt.training",
)  # fmt: skip


def listed() -> list[str]:
    """Every path that a page names."""
    texts = [page.read_text() for page in sorted(PAGES.glob("*.md"))]
    return [path for text in texts for path in re.findall(r"^::: (\S+)", text, re.MULTILINE)]


def found(path: str) -> Any:
    """What a path names."""
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: Any = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            value = getattr(value, name)
        return value
    raise AssertionError(path)


def test_what_is_listed_is_there_and_listed_once() -> None:
    paths = listed()
    assert len(paths) == len(set(paths))
    for path in paths:
        found(path)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_listed(package: str) -> None:
    paths = listed()
    there = [found(path) for path in paths]
    modules = [value for value in there if isinstance(value, ModuleType)]
    whole = {module.__name__ for module in modules}
    for module in modules:
        there += [getattr(module, name) for name in getattr(module, "__all__", ())]
    missing = []
    for name in import_module(package).__all__:
        value = getattr(import_module(package), name)
        home = getattr(value, "__module__", package)
        if name == "__version__" or isinstance(value, ModuleType) or {home, package} & whole:
            continue
        if f"{package}.{name}" not in paths and not any(value is one for one in there):
            missing.append(name)
    assert not missing, f"add '::: {package}.NAME' to a page in docs/api for {missing}"
