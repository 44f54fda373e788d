"""Ray and Slurm (its local executor): the same bits; a lost Ray worker is replaced; GPUs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from patience import PATIENCE

from edt.runs.engines.base import Failure, Job
from edt.runs.engines.ray import Ray
from edt.runs.engines.slurm import Slurm, _ahead
from edt.runs.store import PartFiles
from edt.runs.sweeps import sweep
from edt.runs.sweeps.plan import make_plan
from edt.studies.kinds import status

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


@pytest.fixture
def no_ray():
    """Ray is there, and not running."""
    ray = pytest.importorskip("ray")
    assert not ray.is_initialized()
    return ray


@pytest.fixture(scope="module")
def ray():
    """Ray on this machine, with a GPU that is only a number."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False,
        object_store_memory=100 * 2**20,
    )  # fmt: skip
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_every_engine_gives_the_same_bits(small, reference, no_ray, tmp_path):
    """Of the tables, and of the networks in every shard."""
    pytest.importorskip("submitit")
    wanted = {file.name: file.read_bytes() for file in (reference / "parts").glob("*.safetensors")}
    for engine, options in (
        ("local", {"workers": 2}),
        ("ray", {}),
        ("slurm", {"cluster": "local", "workers": 1}),
    ):
        folder = tmp_path / engine
        sweep(small, folder, engine=engine, **options)
        assert same(folder, reference), engine
        assert {name: (folder / "parts" / name).read_bytes() for name in wanted} == wanted, engine
        assert status(folder).finished and not status(folder).failures, engine
    assert not no_ray.is_initialized()  # what started it has ended it


@pytest.mark.slow
def test_a_killed_ray_worker_is_replaced(small, reference, ray, tmp_path):
    folder = tmp_path / "run"
    killed = []

    def kill():
        end = time.monotonic() + PATIENCE
        while not killed and time.monotonic() < end:
            for pid in ray_workers()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.002)

    hunter = threading.Thread(target=kill)
    try:
        hunter.start()
        sweep(small, folder, engine="ray", workers=2)
    finally:
        hunter.join()
    assert killed
    assert same(folder, reference)
    assert ray.is_initialized()  # it was there before


def changed(job: Job, **settings) -> Job:
    arguments = {**job.arguments, "settings": {**job.arguments["settings"], **settings}}
    return replace(job, arguments=arguments)


def test_ray_keeps_gpus_for_shards_that_train_on_one(small, ray, tmp_path):
    (tmp_path / "edt.json").write_text("{}")  # a run's directory
    on_cpu = make_plan(small).job(0)
    on_gpu = replace(changed(on_cpu, device="cuda"), gpu=True)
    engine = Ray(cpus=1, gpus=0.5)
    assert engine.resources(on_cpu) == {"num_cpus": 1, "num_gpus": 0}
    assert engine.resources(on_gpu) == {"num_cpus": 1, "num_gpus": 0.5}
    assert Ray().resources(on_gpu)["num_gpus"] == 1
    if not torch.cuda.is_available():
        # It is scheduled, and finds that the GPU is only a number.
        (outcome,) = engine.run(str(tmp_path), [on_gpu])
        assert isinstance(outcome, Failure) and "cuda" in outcome.error.lower()
        assert PartFiles(tmp_path).failures()[0]["error"] == outcome.error


def test_what_a_ray_started_here_lacks_is_refused(small, ray):
    """Ray itself would wait for it for ever."""
    with pytest.raises(ValueError, match="cpus must be at most 2, which Ray has here, got 999"):
        Ray(cpus=999).check_resources([make_plan(small).job(0)])


def test_ray_stops_where_nothing_can_be_written(small, ray, tmp_path):
    (tmp_path / "edt.json").write_text("{}")  # a run's directory
    (tmp_path / "parts").mkdir()
    read_only = ["mount", "-t", "tmpfs", "-o", "size=4k", "edt-test", str(tmp_path / "parts")]
    if subprocess.run(read_only, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a tmpfs")
    try:
        with pytest.raises(OSError, match="No space left"):
            list(Ray().run(str(tmp_path), [make_plan(small).job(k) for k in range(4)]))
    finally:
        subprocess.run(["umount", str(tmp_path / "parts")], check=True)


def test_slurm_looks_at_what_is_next_alone(small, tmp_path, monkeypatch):
    """Not at every shard each time: a look at a thousand is one look while none is done."""
    (tmp_path / "edt.json").write_text("{}")
    files, seen = PartFiles(tmp_path), []
    look = PartFiles.manifest
    monkeypatch.setattr(
        PartFiles, "manifest", lambda self, name: seen.append(name) or look(self, name)
    )
    hand = [replace(make_plan(small).job(0), name=f"s{k}") for k in range(1_000)]
    table = {"": pd.DataFrame({"run": [0]})}
    assert list(_ahead(files, hand, {})) == [] and seen == ["s0"]
    for name in ("s0", "s1"):
        files.write(name, table, cost=1.0, seconds=1.0, threads=1)
    files.fail("s2", "no memory")
    old = {"s2": files.failure("s2")}
    assert [found.name for found in _ahead(files, hand, old)] == ["s0", "s1"]
    assert [job.name for job in hand[:2]] == ["s2", "s3"]  # that failure is of an earlier attempt
    assert list(_ahead(files, hand, {})) == [] and hand[0].name == "s3"
    assert len(seen) < 10


def test_slurm_gives_up_shards_that_fail(small, tmp_path):
    (tmp_path / "edt.json").write_text("{}")  # a run's directory
    pytest.importorskip("submitit")
    job = make_plan(small).job(0)
    broken: Job = changed(job, optimizer="none")
    engine = Slurm(1, cluster="debug")
    (outcome,) = engine.run(str(tmp_path), [broken])
    assert isinstance(outcome, Failure)
    assert "optimizer must be one of" in outcome.error
