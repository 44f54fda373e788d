"""Killed, out of space, damaged, contended: nothing corrupt, and the same bits after a resume.

Every fault is real: processes are killed with SIGKILL, a small file system fills up, a file size
limit is hit, bytes are flipped.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edt.experiments import DirectoryError
from edt.files import CheckpointError
from edt.store import PartFiles, Store, in_use, read_marker
from edt.sweeps import Sweep, resume, status, sweep

TABLES = ("runs.parquet", "spectrum.parquet")
linux = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")


def same(folder, reference):
    return all((folder / name).read_bytes() == (reference / name).read_bytes() for name in TABLES)


def start(spec_file, folder, *more):
    """The program in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "edt", "sweep", str(spec_file), "--out", str(folder),
         "--no-progress", *more],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def manifests(folder):
    return list((folder / "parts").glob("*.manifest.json"))


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.005)


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


@linux
def test_killed_while_shards_are_written(spec_file, reference, tmp_path):
    folder = tmp_path / "run"
    process = start(spec_file, folder, "--workers", "2")
    wait_for(lambda: len(manifests(folder)) >= 2)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # Workers end with their parent; none may be left to write into what comes next.
    wait_for(lambda: not any(_alive(pid) for pid in workers), 10.0)
    found = status(folder)
    assert not found.running and not found.finished
    assert found.runs_done < found.runs
    with pytest.raises(CheckpointError):
        Sweep.load(folder)
    kept = {file: file.read_bytes() for file in manifests(folder)}
    resume(folder, workers=0)
    assert same(folder, reference)
    # Finished shards were not computed again: their manifests, with times, are the old ones.
    assert all(file.read_bytes() == data for file, data in kept.items())


@linux
def test_a_lost_worker_is_replaced(spec_file, reference, tmp_path):
    folder = tmp_path / "run"
    process = start(spec_file, folder, "--workers", "2")
    wait_for(lambda: len(manifests(folder)) >= 1 and children(process.pid))
    os.kill(children(process.pid)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert same(folder, reference)
    assert not status(folder).failures


def test_a_full_disk_stops_the_sweep_and_spoils_nothing(small, reference, tmp_path):
    """A tmpfs of 300 kB where we may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "edt-test", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no right to mount a tmpfs")
    try:
        with pytest.raises(OSError, match="No space left"):
            sweep(small, disk / "run", workers=0)
        found = status(disk / "run")
        assert 0 < found.parts_done < found.parts
        assert found.failures == [] or "space" in found.failures[0]["error"]
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        resume(disk / "run", workers=0)
        assert same(disk / "run", reference)
        assert not list((disk / "run" / "parts").glob(".*.tmp"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_file_size_limit_is_an_error_not_a_corruption(small, reference, tmp_path):
    """RLIMIT_FSIZE: shards fit, the tables at the end do not."""
    folder = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (18_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            sweep(small, folder, workers=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (folder / "runs.parquet").exists()
    sweep(small, folder, workers=0)
    assert same(folder, reference)


def test_damaged_files_are_made_again(small, reference, tmp_path):
    folder = tmp_path / "run"
    sweep(small, folder, workers=0)
    table, networks = (
        sorted((folder / "parts").glob(f"*.{end}"))[3] for end in ("runs.parquet", "safetensors")
    )
    for file in (table, networks):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(bytes(data))
    manifests(folder)[5].unlink()
    resume(folder, workers=0)
    assert same(folder, reference)
    for k in (3, 5):
        name = f"shard-{k:06d}"
        assert PartFiles(folder).whole(name) is not None


def test_two_processes_on_one_directory(small, spec_file, reference, tmp_path):
    """The second is refused while the first has the directory, and harms nothing."""
    folder = tmp_path / "run"
    sweep(small, folder, workers=0)
    with Store(folder, "sweep", read_marker(folder)["identity"]):
        assert in_use(folder) and status(folder).running
        with pytest.raises(DirectoryError, match="in use"):
            sweep(small, folder, workers=0)
        second = start(spec_file, folder, "--workers", "0")
        _, errors = second.communicate(timeout=100)
        assert second.returncode == 2
        assert "in use" in errors and "Traceback" not in errors
    assert not in_use(folder)
    assert same(folder, reference)
    sweep(small, folder, workers=0)
    assert same(folder, reference)


def test_a_lock_that_was_removed_keeps_nobody_out(tmp_path):
    """The file is deleted as the lock is given up; whoever waited for it must not own a ghost."""
    first = Store(tmp_path, "sweep", {})
    (tmp_path / ".lock").unlink()
    with Store(tmp_path, "sweep", {}):
        assert in_use(tmp_path)
    first.close()


def test_another_spec_is_refused(small, tmp_path):
    from dataclasses import replace

    sweep(replace(small, grid={"width": 2, "steps": 5}), tmp_path / "run", workers=0)
    with pytest.raises(DirectoryError, match="holds another run"):
        sweep(small, tmp_path / "run", workers=0)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
