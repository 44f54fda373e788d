"""A small sweep of many shards, and its tables computed in one process."""

from __future__ import annotations

import pytest
from small_sweep import SPEC, write_toml

from edt.runs.sweeps import SweepSpec, sweep


@pytest.fixture(scope="session")
def small():
    return SweepSpec.from_dict(SPEC)


@pytest.fixture(scope="session")
def reference(small, tmp_path_factory):
    """The finished directory of the small sweep, in one process, never interrupted."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    sweep(small, folder, workers=0)
    return folder


@pytest.fixture
def spec_file(tmp_path):
    """The small sweep as TOML."""
    return write_toml(tmp_path / "small.toml", SPEC)
