"""requirements/dev.lock holds what pyproject.toml asks for, peers.lock what its maker names."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def locked(name="dev.lock"):
    lines = (ROOT / "requirements" / name).read_text().splitlines()
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


def test_peers_are_those_that_are_named_and_bring_no_torch():
    text = (ROOT / ".ci" / "lock.py").read_text()
    pins = dict(locked("peers.lock"))
    assert {"curvlinops-for-pytorch", "hessian-eigenthings", "pyhessian"} <= pins.keys()
    assert all(f'"{name}": "{version}"' in text for name, version in pins.items()), "make lock"
    assert not {name for name in pins if name.startswith("torch")}
    assert not pins.keys() & dict(locked()).keys()


def test_the_locks_name_no_place():
    for name in ("dev.lock", "peers.lock"):
        assert "://" not in (ROOT / "requirements" / name).read_text()
