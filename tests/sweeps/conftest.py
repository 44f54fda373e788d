"""A small sweep of many shards, and its tables computed in one process."""

from __future__ import annotations

import json

import pytest

from edt.sweeps import SweepSpec, sweep

SPEC = {
    "task": {"name": "teacher_student", "n": 64, "normalise": True},
    "grid": {
        "width": [2, 3],
        "seed": "0..9",
        "lr": [0.01, 0.03],
        "steps": 200,
        "activation": ["tanh", "softplus"],
    },
    "analysis": ["spectrum"],
    # Cuts each of the two groups into about ten shards.
    "shard_seconds": 0.00024,
}


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
    text = 'analysis = ["spectrum"]\nshard_seconds = 0.00024\n'
    for table in ("task", "grid"):
        text += f"[{table}]\n"
        text += "".join(f"{name} = {json.dumps(value)}\n" for name, value in SPEC[table].items())
    file = tmp_path / "small.toml"
    file.write_text(text)
    return file
