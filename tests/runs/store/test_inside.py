"""Nothing outside the directory of a run is read, made or deleted, whatever lies in it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

import edt
from edt.cli import main as program
from edt.runs.store import DirectoryError, PartFiles, Store, in_use, inside, read_marker
from edt.runs.store.directory import STALE
from edt.runs.sweeps import SweepSpec, sweep
from edt.studies.kinds import resume, status

SMALL = SweepSpec(task="xor", grid={"seed": "0..3", "steps": 20, "init": ["he", "glorot"]})


@pytest.fixture
def run(tmp_path):
    """A finished sweep."""
    folder = tmp_path / "run"
    sweep(SMALL, folder, workers=0)
    return folder


@pytest.fixture
def outside(tmp_path):
    """Somebody's own files, with names that a run would use."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("a.parquet", "shard-000000.manifest.json", "sweep.png", "runs.csv"):
        (folder / name).write_text("mine")
    return folder


def untouched(folder):
    return sorted(file.name for file in folder.iterdir()) == [
        "a.parquet", "runs.csv", "shard-000000.manifest.json", "sweep.png",
    ] and all(file.read_text() == "mine" for file in folder.iterdir())  # fmt: skip


def refused(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        program([str(word) for word in words])
    errors = " ".join(capsys.readouterr().err.split())
    assert stop.value.code == 2 and "symbolic link" in errors, errors
    return True


@pytest.mark.parametrize("name", ["parts", "figures"])
def test_fresh_deletes_nothing_through_a_link(run, outside, tmp_path, capsys, name):
    (run / name).rename(tmp_path / "moved") if (run / name).exists() else None
    (run / name).symlink_to(outside)
    kept = {file.name for file in run.iterdir()}
    with pytest.raises(DirectoryError, match="symbolic link"):
        sweep(SMALL, run, workers=0, fresh=True)
    with pytest.raises(DirectoryError, match="symbolic link"):
        sweep(SMALL, run, workers=0)
    assert refused(capsys, "resume", run)
    # Refused before anything was deleted inside, too.
    assert untouched(outside) and {file.name for file in run.iterdir()} == kept
    assert not in_use(run)


def test_a_lock_that_is_a_link_makes_nothing(run, tmp_path):
    (run / ".lock").symlink_to(tmp_path / "made")
    with pytest.raises(DirectoryError, match="symbolic link"):
        resume(run)
    assert not (tmp_path / "made").exists() and status(run).running is False


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_lock_that_is_no_file(run, make):
    make(run / ".lock")
    with pytest.raises((DirectoryError, OSError)):
        resume(run)
    assert status(run).running is False


def test_reports_and_exports_stay_inside(run, outside, capsys):
    for name in ("figures", "export"):
        (run / name).symlink_to(outside)
    assert refused(capsys, "report", run, "--figures", "png")
    assert refused(capsys, "export", run)
    assert untouched(outside)


def test_a_link_in_place_of_a_file_is_replaced(run, outside):
    """Inside, a link is a name like any other: what it leads to is not written to."""
    (run / "report.html").symlink_to(outside / "a.parquet")
    (run / "session.json").unlink()
    (run / "session.json").symlink_to(outside / "runs.csv")
    PartFiles(run).discard("shard-000000")
    resume(run, workers=0)
    program_ok("report", run)
    assert untouched(outside)
    assert not (run / "report.html").is_symlink() and not (run / "session.json").is_symlink()


def program_ok(*words):
    with pytest.raises(SystemExit) as stop:
        program([str(word) for word in words])
    assert not stop.value.code


def test_tables_are_not_read_through_links(run, tmp_path, capsys):
    """What another of a person's folders holds does not end up in a report on a stranger's."""
    (run / "runs.parquet").rename(tmp_path / "private.parquet")
    (run / "runs.parquet").symlink_to(tmp_path / "private.parquet")
    assert refused(capsys, "export", run)
    table = next((run / "parts").glob("*.runs.parquet"))
    table.rename(tmp_path / "part")
    table.symlink_to(tmp_path / "part")
    assert PartFiles(run).intact(table.name.split(".")[0]) is None


def test_the_directory_itself_may_be_a_link(run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    PartFiles(run).discard("shard-000000")
    assert len(resume(tmp_path / "link").runs) == 8


def test_a_folder_that_is_swapped_for_a_link_meanwhile(run, outside, tmp_path):
    """Writers that hold a handle write where it leads, however often the name is swapped."""
    over = threading.Event()
    parts = run / "parts"

    def swap():
        turn = 0
        while not over.is_set():
            turn += 1
            # A writer may make the folder anew where there is none for a moment.
            with suppress(OSError):
                parts.rename(tmp_path / f"aside-{turn}")
            with suppress(OSError):
                parts.symlink_to(outside)
                time.sleep(0.0001)
                parts.unlink()

    swapper = threading.Thread(target=swap)
    swapper.start()
    written = 0
    try:
        for k in range(300):
            try:
                inside.write(run, f"parts/a{k}.parquet", b"run's", claimed=True)
                written += 1
            except (DirectoryError, OSError):
                continue
    finally:
        over.set()
        swapper.join()
    assert untouched(outside) and written > 0


@pytest.mark.parametrize("name", ["edt.json", "session.json", "runs.parquet", "manifest.json"])
def test_pipes_and_devices_are_not_waited_for(run, name):
    (run / name).unlink()
    for make in (os.mkfifo, lambda file: file.symlink_to("/dev/zero")):
        make(run / name)
        for call in (status, resume, edt.Sweep.load):
            done = within(5.0, call, run)
            assert done is not None
        (run / name).unlink(missing_ok=True)


def within(seconds, call, *words):
    """What a call returned or raised, and None where it took longer."""
    found = []

    def carry_out():
        try:
            found.append(call(*words))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=carry_out, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None


def test_only_this_module_writes_in_directories_of_runs():
    """Everything else reaches files through it, so that the rule holds by construction."""
    root = Path(edt.__file__).parent
    words = ("replace_file(", ".unlink(", ".write_bytes(", ".write_text(", "shutil.", "os.remove(")
    allowed = {
        # files of a person's own naming: results, checkpoints, exports elsewhere
        "files.py", "locations.py", "training/groups.py", "studies/exports.py",
        "runs/store/inside.py",
    }  # fmt: skip
    found = {
        str(file.relative_to(root)): word
        for file in root.rglob("*.py")
        for word in words
        if word in file.read_text() and str(file.relative_to(root)) not in allowed
    }
    found.pop("cli/health.py", None)  # looks for programs on the path
    assert not found


# Locks ------------------------------------------------------------------------------------------


def test_a_start_that_fails_gives_the_lock_back(run, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(inside, "replace_at", full)
    with pytest.raises(OSError, match="No space left"):
        Store(run, "sweep", {"other": 1}, fresh=True)
    assert not in_use(run)
    monkeypatch.undo()
    with Store(run, "sweep", {"other": 1}, fresh=True):
        assert in_use(run)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to become somebody else")
def test_another_user_sees_that_it_runs(run):
    """The lock was opened for writing, so a colleague's run looked dead."""
    for folder in (run, *list(run.parents)[:3]):
        folder.chmod(0o755)

    def asked():
        """`in_use` in a process of nobody's."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setgid(65534)
            os.setuid(65534)
            os.write(write, repr(in_use(run)).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        os.close(write)
        with os.fdopen(read) as answer:
            return answer.read()

    assert asked() == "False"
    with Store(run, "sweep", read_marker(run)["identity"]):
        assert asked() == "True"
        (run / ".lock").chmod(0o600)
        assert asked() == "None"


LOOK = """
import sys
from pathlib import Path
from edt.runs.store import in_use
while True:
    in_use(Path(sys.argv[1]))
"""


def test_looking_makes_no_start_fail(run):
    """73 of 3,595 starts failed because `status` held the lock at that moment."""
    identity = read_marker(run)["identity"]
    looking = [subprocess.Popen([sys.executable, "-c", LOOK, str(run)]) for _ in range(2)]
    try:
        time.sleep(2.0)
        for _ in range(500):
            Store(run, "sweep", identity).close()
    finally:
        for process in looking:
            process.kill()
            process.wait()


# What is left lying about -----------------------------------------------------------------------


def test_temporary_files_are_swept_up_everywhere(run):
    (run / "figures").mkdir(exist_ok=True)
    old = [
        run / ".runs.parquet.abc.tmp",
        run / "parts" / ".a.tmp",
        run / "figures" / ".b.png.0.tmp",
    ]
    for file in old:
        file.write_bytes(b"half")
        os.utime(file, (time.time() - STALE - 10,) * 2)
    fresh = run / "parts" / ".c.tmp"
    fresh.write_bytes(b"being written")
    resume(run)
    assert not any(file.exists() for file in old) and fresh.exists()


def test_a_directory_deleted_under_way_is_not_made_again(tmp_path):
    folder = tmp_path / "run"
    with Store(folder, "sweep", {"spec": {}}):
        for file in folder.iterdir():
            file.unlink()
        with pytest.raises(FileNotFoundError, match="deleted or emptied"):
            inside.write(folder, "parts/a.parquet", b"", claimed=True)
        assert not list(folder.iterdir())
        folder.rmdir()
        with pytest.raises(FileNotFoundError):
            inside.write(folder, "parts/a.parquet", b"", claimed=True)
        assert not folder.exists()


def test_a_directory_deleted_in_the_middle_of_a_sweep(tmp_path, monkeypatch):
    import shutil

    from edt.runs.engines import base

    folder, real = tmp_path / "run", base._execute

    def late(directory, job):
        if job.name == "shard-000001":
            shutil.rmtree(directory)
        return real(directory, job)

    monkeypatch.setattr(base, "_execute", late)
    with pytest.raises(OSError, match="deleted or emptied"):
        sweep(SMALL, folder, workers=0)
    assert not folder.exists()
    monkeypatch.undo()
    assert len(sweep(SMALL, folder, workers=0).runs) == 8


def test_what_was_half_deleted_can_be_used_again(run):
    """Killed between deleting the marker and the rest: the leftovers are a run's, nobody else's."""
    (run / "edt.json").unlink()
    for table in run.glob("*.parquet"):
        table.unlink()
    for name in ("manifest.json",):
        (run / name).unlink()
    assert len(sweep(SMALL, run, workers=0).runs) == 8
    (run / "edt.json").unlink()
    (run / "parts" / "thesis.tex").write_text("mine")
    with pytest.raises(DirectoryError, match="not written by edt"):
        sweep(SMALL, run, workers=0)


def test_errors_name_the_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    ens = edt.Ensemble.init([2], [0], d_in=1, d_out=1)
    with pytest.raises(OSError) as caught:
        ens.save(tmp_path / "n.safetensors")
    assert caught.value.filename == str(tmp_path / "n.safetensors")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError) as caught:
        inside.write(tmp_path, "parts/a.parquet", b"")
    assert caught.value.filename == str(tmp_path / "parts" / "a.parquet")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
