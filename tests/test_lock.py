"""requirements/dev.lock holds what pyproject.toml asks for."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def locked():
    lines = (ROOT / "requirements" / "dev.lock").read_text().splitlines()
    for line in lines:
        if not line.startswith("#"):
            pin, _, hash_ = line.partition(" --hash=sha256:")
            assert len(hash_) == 64, line
            yield pin.split("==")


def test_every_requirement_is_pinned_to_a_version_it_allows():
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    project = toml.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    wanted += [text for name in ("test", "lint", "docs") for text in extras[name]]
    pins = {canonicalize_name(name): version for name, version in locked()}
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        old = requirement.marker is not None and "python_version" in str(requirement.marker)
        if name == "torch" or old:
            continue
        assert name in pins, f"{name} is not pinned: make lock"
        assert requirement.specifier.contains(pins[name]), f"{requirement}: make lock"


def test_the_lock_names_no_place():
    assert "://" not in (ROOT / "requirements" / "dev.lock").read_text()
