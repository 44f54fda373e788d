"""A directory from a stranger is data: nothing in it runs, connects, or leads elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from edt.cli import main as program
from edt.runs.store import DirectoryError, PartFiles
from edt.runs.sweeps import SweepSpec, sweep
from edt.studies.kinds import resume

SMALL = SweepSpec(task="xor", grid={"seed": "0..3", "steps": 20, "init": ["he", "glorot"]})


@pytest.fixture
def unfinished(tmp_path):
    """A sweep with one shard to do."""
    folder = tmp_path / "run"
    sweep(SMALL, folder, workers=0)
    PartFiles(folder).discard("shard-000000")
    return folder


def forge(folder, **asked):
    note = json.loads((folder / "session.json").read_text())
    note["asked"] = asked
    (folder / "session.json").write_text(json.dumps(note))


def told(capsys, *words):
    """Exit code and errors of the program."""
    with pytest.raises(SystemExit) as stop:
        program([str(word) for word in words])
    return stop.value.code, " ".join(capsys.readouterr().err.split())


def test_a_forged_session_runs_no_command(unfinished, tmp_path, capsys):
    """Through submitit's local set-up, lines of a job script reached a shell."""
    pytest.importorskip("submitit")
    ran = tmp_path / "ran"
    for options in (
        {"cluster": "local", "options": {"slurm_setup": [f"touch {ran}"]}},
        {"cluster": "local", "options": {"local_setup": [f"touch {ran}"]}},
        {"cluster": "local"},
        {"options": {"slurm_srun_args": ["--wrap", f"touch {ran}"]}},
    ):
        forge(unfinished, engine="slurm", workers=1, options=options)
        code, errors = told(capsys, "resume", unfinished)
        assert code == 2 and "not taken from a directory" in errors and "--engine slurm" in errors
        assert not ran.exists() and not (unfinished / ".submitit").exists()


def test_a_forged_address_is_not_connected_to(unfinished, capsys):
    forge(unfinished, engine="ray", workers=1, options={"address": "ray://192.0.2.1:10001"})
    code, errors = told(capsys, "resume", unfinished)
    assert code == 2 and "address='ray://192.0.2.1:10001'" in errors


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"engine": "os.system", "workers": 1}, "os.system"),
        ({"engine": ["local"]}, "local"),
        ({"engine": "local", "workers": 10**9}, "workers=1000000000"),
        ({"engine": "local", "workers": "many"}, "workers='many'"),
        ({"engine": "ray", "options": {"cpus": -1}}, "cpus=-1"),
    ],
)
def test_what_no_start_writes_is_refused(unfinished, capsys, asked, words):
    forge(unfinished, **asked)
    code, errors = told(capsys, "resume", unfinished)
    assert code == 2 and words in errors


def test_the_call_says_what_the_directory_may_not(unfinished):
    """Naming the engine is enough: then nothing but workers is taken from the directory."""
    forge(unfinished, engine="local", workers=0, options={"cluster": "local"})
    assert len(resume(unfinished, engine="local").runs) == 8


def test_forged_results_of_jobs_are_not_unpickled(unfinished, tmp_path):
    """submitit unpickles results by the number of the job, from a folder of the run."""
    submitit = pytest.importorskip("submitit")
    ran = tmp_path / "ran"
    trap = tmp_path / "trap.py"
    trap.write_text(
        "import os, pickle, sys\n"
        "class Trap:\n"
        f"    def __reduce__(self): return os.mkdir, ({str(ran)!r},)\n"
        "sys.stdout.buffer.write(pickle.dumps(('success', Trap())))\n"
    )
    data = subprocess.run([sys.executable, str(trap)], capture_output=True, check=True).stdout
    folder = unfinished / ".submitit"
    folder.mkdir()
    next_pid = os.getpid()
    for number in range(next_pid, next_pid + 3000):
        (folder / f"{number}_0_result.pkl").write_bytes(data)
    assert submitit is not None
    resume(unfinished, engine="slurm", cluster="local", workers=1, progress=False)
    assert not ran.exists()


def test_a_linked_folder_of_jobs_is_refused(unfinished, tmp_path):
    pytest.importorskip("submitit")
    outside = tmp_path / "outside"
    outside.mkdir()
    (unfinished / ".submitit").symlink_to(outside)
    with pytest.raises(DirectoryError, match="symbolic link"):
        resume(unfinished, engine="slurm", cluster="local", workers=1, progress=False)
    assert not list(outside.iterdir())
