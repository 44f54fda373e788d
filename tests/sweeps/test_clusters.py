"""Ray and Slurm (its local executor): the same bits; a lost Ray worker is replaced."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from edt.sweeps import status, sweep
from edt.sweeps.engines.base import Failure
from edt.sweeps.plan import Job, make_plan

TABLES = ("runs.parquet", "spectrum.parquet")


def same(folder, reference):
    return all((folder / name).read_bytes() == (reference / name).read_bytes() for name in TABLES)


def ray_workers():
    """Process ids of Ray tasks of this engine."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::_task" in file.read_bytes():
                found.append(int(file.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_ray_gives_the_same_bits_and_survives_a_killed_worker(small, reference, tmp_path):
    ray = pytest.importorskip("ray")
    folder = tmp_path / "run"
    killed = []

    def kill():
        end = time.monotonic() + 120
        while not killed and time.monotonic() < end:
            for pid in ray_workers()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.002)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    hunter = threading.Thread(target=kill)
    try:
        hunter.start()
        sweep(small, folder, engine="ray", workers=2)
    finally:
        hunter.join()
        ray.shutdown()
    assert killed
    assert same(folder, reference)


@pytest.mark.slow
def test_slurm_local_executor_gives_the_same_bits(small, reference, tmp_path):
    pytest.importorskip("submitit")
    folder = tmp_path / "run"
    sweep(small, folder, engine="slurm", cluster="local", workers=1)
    assert same(folder, reference)
    assert status(folder).finished


def test_slurm_gives_up_shards_that_fail(small, tmp_path):
    pytest.importorskip("submitit")
    from dataclasses import replace

    from edt.sweeps.engines.slurm import Slurm

    job = make_plan(small).job(0)
    broken: Job = replace(job, settings={**job.settings, "optimizer": "none"})
    engine = Slurm(1, cluster="debug")
    (outcome,) = engine.run(str(tmp_path), [broken])
    assert isinstance(outcome, Failure)
    assert "optimizer must be one of" in outcome.error
