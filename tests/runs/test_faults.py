"""Killed, out of space, damaged, contended: nothing corrupt, and the same bits after a resume.

Every fault is real: processes are killed with SIGKILL, a small file system fills up, a file size
limit is hit, bytes are flipped.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import beside
import pytest
from forks import Forks
from patience import PATIENCE, alive, children, linux, none_alive, state, wait_for

from edt.cli import main as program
from edt.files import CheckpointError
from edt.runs.store import DirectoryError, PartFiles, Store, in_use, read_marker
from edt.runs.sweeps import Sweep, SweepError, sweep
from edt.studies.kinds import resume, status

TABLES = ("runs.parquet", "spectrum.parquet")


def same(folder, reference):
    return all((folder / name).read_bytes() == (reference / name).read_bytes() for name in TABLES)


def start(spec_file, folder, *more):
    """The program in a process of its own, which leaves work for its workers."""
    return subprocess.Popen(
        [sys.executable, beside.__file__, "sweep", str(spec_file), "--out", str(folder),
         "--no-progress", *more],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def manifests(folder):
    return list((folder / "parts").glob("*.manifest.json"))


@pytest.fixture(scope="module")
def forks():
    made = Forks()
    yield made
    made.close()


def check_whole(folder, reference):
    """What counts as done is right to the last bit, whatever else lies about."""
    files = PartFiles(folder)
    for manifest in manifests(folder):
        assert files.intact(manifest.name.removesuffix(".manifest.json")) is not None
    for name in TABLES:
        if (folder / name).exists():
            assert (folder / name).read_bytes() == (reference / name).read_bytes()
    if read_marker(folder) is not None:
        found = status(folder)
        assert not found.running and found.parts_done == len(manifests(folder))


@linux
def test_two_at_once_with_the_lock(forks, small, reference, tmp_path):
    """One of them has the directory; the other is refused and harms nothing."""
    folder = tmp_path / "run"
    first = forks.start(small, folder, stop=True)
    wait_for(lambda: state(first) == "T")
    assert in_use(folder) and len(manifests(folder)) == 1
    assert forks.wait(forks.start(small, folder)) == 2
    os.kill(first, signal.SIGCONT)
    assert forks.wait(first) == 0
    assert same(folder, reference)
    check_whole(folder, reference)


@pytest.mark.parametrize("seed", range(2))
def test_two_at_once_without_a_lock(forks, small, reference, tmp_path, seed):
    """As behind a URL: both write everything, one is killed; the bytes are the same."""
    folder = tmp_path / "run"
    both = [forks.start(small, folder, locked=False) for _ in range(2)]
    time.sleep(random.Random(seed).uniform(0.05, 0.5))
    forks.kill(both[0])
    assert forks.wait(both[1]) == 0
    assert same(folder, reference)
    check_whole(folder, reference)


@linux
def test_killed_while_shards_are_written(spec_file, reference, tmp_path):
    folder = tmp_path / "run"
    process = start(spec_file, folder, "--workers", "2")
    wait_for(lambda: len(manifests(folder)) >= 2, process)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # Workers end with their parent; none may be left to write into what comes next.
    wait_for(lambda: none_alive(workers))
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
    wait_for(lambda: len(manifests(folder)) >= 1 and children(process.pid), process)
    (lost,) = children(process.pid)
    os.kill(lost, signal.SIGKILL)
    wait_for(lambda: set(children(process.pid)) - {lost}, process)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert same(folder, reference)
    assert not status(folder).failures


@linux
def test_a_shard_whose_worker_always_dies_is_given_up(small, reference, tmp_path):
    folder = tmp_path / "run"
    over = threading.Event()

    def hunt():
        while not over.is_set():
            for pid in children(os.getpid()):
                command = Path(f"/proc/{pid}/cmdline").read_bytes() if alive(pid) else b""
                if b"edt.runs.engines.worker" in command:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        with pytest.raises(SweepError, match=r"parts failed .*died \(signal SIGKILL\)"):
            sweep(small, folder, workers=2)
    finally:
        over.set()
        hunter.join()
    found = status(folder)
    # This process has computed the others.
    assert found.failures and len(found.failures) + found.parts_done == found.parts
    assert "SIGKILL" in found.failures[0]["error"]
    resume(folder, workers=0)
    assert same(folder, reference) and not status(folder).failures


@pytest.fixture
def disk(tmp_path):
    """Where a tmpfs may be mounted, and what mounts it or makes it larger."""
    place = tmp_path / "disk"
    place.mkdir()

    def resize(size):
        flags = f"remount,size={size}" if os.path.ismount(place) else f"size={size}"
        mount = ["mount", "-t", "tmpfs", "-o", flags, "edt-test", str(place)]
        try:
            done = subprocess.run(mount, capture_output=True).returncode == 0
        except OSError:
            done = False
        if not done:
            pytest.skip("no right to mount a tmpfs")
        return place

    yield resize
    if os.path.ismount(place):
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("size", ["4k", "40k", "900k", "1764k"])
def test_a_full_disk_stops_the_sweep_and_spoils_nothing(small, reference, tmp_path, disk, size):
    """No room for anything; a few shards; half of them; all but the tables at the end."""
    place = disk(size)
    folder = place / "run"
    with pytest.raises(OSError, match="No space left"):
        sweep(small, folder, workers=0)
    check_whole(folder, reference)
    assert not (folder / "runs.parquet").exists()
    assert not list(folder.glob("parts/.*.tmp"))
    if read_marker(folder) is not None:
        failures = status(folder).failures
        assert failures == [] or "space" in failures[0]["error"]
    disk("20m")
    sweep(small, folder, workers=0)
    assert same(folder, reference)


def test_a_disk_that_stays_full_for_long(small, reference, disk):
    """Every resume gets further; none spoils anything. Worker processes, too."""
    folder = disk("100k") / "run"
    done = -1
    for size, workers in (("100k", 0), ("200k", 2), ("400k", 0)):
        disk(size)
        with pytest.raises(OSError, match="No space left"):
            sweep(small, folder, workers=workers)
        check_whole(folder, reference)
        assert done < status(folder).parts_done
        done = status(folder).parts_done
    disk("20m")
    resume(folder, workers=0)
    assert same(folder, reference)


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
        assert PartFiles(folder).intact(name) is not None


def test_a_directory_in_use_is_refused(small, spec_file, reference, tmp_path, capsys):
    folder = tmp_path / "run"
    sweep(small, folder, workers=0)
    with Store(folder, "sweep", read_marker(folder)["identity"]):
        assert in_use(folder) and status(folder).running
        with pytest.raises(DirectoryError, match="in use"):
            sweep(small, folder, workers=0)
        with pytest.raises(SystemExit) as stop:
            program(["sweep", str(spec_file), "--out", str(folder)])
        assert stop.value.code == 2
        errors = capsys.readouterr().err
        assert "in use" in errors and "Traceback" not in errors
    assert not in_use(folder)
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
