"""Clocks of machines jump, and differ between machines: rates and times must not notice."""

from __future__ import annotations

import json
import math
import time

import pytest

from edt.runs.store import Store
from edt.runs.sweeps import SweepSpec, sweep
from edt.studies.kinds import resume, status

SPEC = SweepSpec(task="xor", grid={"seed": "0..3", "steps": 20, "init": ["he", "glorot", "torch"]})
YEAR = 3e7


@pytest.fixture
def half_done(tmp_path, monkeypatch):
    """Makes a run whose clock of the day jumps by so much before every look at it."""

    def make(jump):
        real, turns = time.time, iter(range(10**6))
        monkeypatch.setattr(time, "time", lambda: real() + jump * next(turns))
        folder = tmp_path / "run"
        sweep(SPEC, folder, workers=0, progress=False)
        (folder / "parts" / "shard-000001.manifest.json").unlink()
        return folder

    return make


@pytest.mark.parametrize("jump", [0.0, YEAR, -YEAR, 1e12, -1e12], ids=str)
def test_rates_do_not_follow_the_clock_of_the_day(half_done, jump):
    folder = half_done(jump)
    took = [
        json.loads(file.read_text())["seconds"]
        for file in (folder / "parts").glob("*.manifest.json")
    ]
    with Store(folder, "sweep", json.loads((folder / "edt.json").read_text())["identity"]):
        for found in (status(folder), status(folder)):
            assert found.running and found.runs_done == 8
            assert found.rate == pytest.approx(8 / sum(took))
            # A third of equal work is left.
            assert found.seconds_left == pytest.approx(sum(took) / 2)
    assert status(folder).rate == pytest.approx(8 / sum(took))
    assert resume(folder, workers=0, progress=False).runs["run"].tolist() == list(range(12))


def test_only_the_last_start_counts(half_done):
    """However a clock orders the two."""
    folder = half_done(-YEAR)
    first = json.loads((folder / "session.json").read_text())["token"]
    resume(folder, workers=0, progress=False)
    assert json.loads((folder / "session.json").read_text())["token"] != first
    (only,) = [
        found
        for file in (folder / "parts").glob("*.manifest.json")
        if (found := json.loads(file.read_text()))["start"] != first
    ]
    assert only["name"] == "shard-000001"
    assert status(folder).rate == pytest.approx(4 / only["seconds"])


@pytest.mark.parametrize("seconds", [0.0, -5.0, 1e-300, 1e299])
def test_times_of_a_stranger_are_numbers_still(half_done, seconds):
    folder = half_done(0.0)
    for file in (folder / "parts").glob("*.manifest.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "seconds": seconds}))
    found = status(folder)
    assert math.isfinite(found.rate) and found.rate > 0
    assert math.isfinite(found.seconds_left) and found.seconds_left >= 0
