"""A directory from a stranger is data: nothing in it runs, connects, or leads elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import edt
from edt.cli import main as program
from edt.files import CheckpointError
from edt.runs.agreement import odd_one
from edt.runs.parts import Part
from edt.runs.store import DirectoryError, PartError, PartFiles
from edt.runs.sweeps import SweepSpec, sweep
from edt.studies.kinds import resume, status
from edt.studies.lottery import lottery_spec
from edt.studies.xor.run import Xor, run_xor
from edt.studies.xor.spec import XorSpec

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


# What a spec reads outside ------------------------------------------------------------------------


@pytest.fixture
def with_file(tmp_path):
    """A sweep over a file of its own, with a shard to do, as somebody else would get it."""
    file = tmp_path / "data.npz"
    np.savez(file, x=np.ones((4, 2)), y=np.arange(4.0)[:, None])
    spec = SweepSpec(task={"file": str(file)}, grid={"seed": "0..3", "steps": 5})
    folder = tmp_path / "run"
    sweep(spec, folder, workers=0)
    PartFiles(folder).discard("shard-000000")
    (folder / "runs.parquet").unlink()
    return folder, file


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Goes to another machine, or becomes another user: one with another key."""
    return lambda: monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))


def test_who_has_started_a_run_may_go_on(with_file):
    folder, _ = with_file
    assert status(folder).runs_done == 0
    assert len(resume(folder, workers=0).runs) == 4


def test_a_strangers_file_is_confirmed_or_not_read(with_file, elsewhere, capsys):
    folder, file = with_file
    elsewhere()
    # Whoever opened this would wait for ever.
    file.rename(file.with_name("aside"))
    os.mkfifo(file)
    for word in ("status", "resume"):
        code, errors = told(capsys, word, folder)
        assert code == 2 and f"--confirm {file}" in errors and "not in the directory" in errors
    with pytest.raises(DirectoryError, match="nothing shows that you have started it"):
        resume(folder, confirm=[str(file.parent)])
    file.unlink()
    file.with_name("aside").rename(file)
    assert status(folder, confirm=[str(file)]).runs_done == 0
    assert len(resume(folder, workers=0, confirm=[str(file)]).runs) == 4
    # This was a start of one's own, which need not be confirmed again.
    PartFiles(folder).discard("shard-000000")
    assert len(resume(folder, workers=0).runs) == 4


@pytest.mark.parametrize("kept", ["the spec", "the signature"])
def test_a_signature_is_of_one_spec_and_one_user(with_file, tmp_path, kept):
    """Neither another spec under it, nor it under another key."""
    folder, file = with_file
    if kept == "the signature":
        marker = json.loads((folder / "edt.json").read_text())
        marker["identity"]["spec"]["task"][0]["file"] = str(tmp_path / "other.npz")
        (folder / "edt.json").write_text(json.dumps(marker))
    else:
        note = json.loads((folder / "session.json").read_text())
        assert len(note["signed"]) == 64
        note["signed"] = "0" * 64
        (folder / "session.json").write_text(json.dumps(note))
    with pytest.raises(DirectoryError, match="nothing shows"):
        resume(folder, workers=0)
    assert file.is_file()


def test_a_strangers_folder_is_confirmed(tmp_path, capsys):
    """Of a study's data; its spec is read as text until then."""
    spec = lottery_spec("mnist", folder=str(tmp_path / "private"), quick=True)
    folder = tmp_path / "run"
    folder.mkdir()
    identity = {"spec": spec.to_dict(), "edt": edt.__version__}
    marker = {"kind": "lottery", "format": 1, "identity": identity}
    (folder / "edt.json").write_text(json.dumps(marker))
    code, errors = told(capsys, "resume", folder)
    assert code == 2 and f"--confirm {tmp_path / 'private'}" in errors
    assert status(folder).parts_done == 0  # its plan needs no data
    with pytest.raises(FileNotFoundError, match="private"):
        resume(folder, confirm=[str(tmp_path / "private")])


def test_no_key_is_made_where_nothing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    sweep(SMALL, tmp_path / "run", workers=0)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("file", ["", 3, "a\0b", ["x"]])
def test_a_file_is_named_by_a_path(file):
    with pytest.raises((TypeError, ValueError), match="task file must be a path"):
        SweepSpec(task={"file": file, "sha256": "0" * 64})


HOSTILE = """
import json, os, sys
from pathlib import Path

import edt
from edt.cli import main
import edt.studies.sweep.page, edt.studies.exports, xarray, scipy.io

folder, home = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
watching, seen = False, []
# What Python, its packages and their caches are made of.
quiet = tuple(os.path.realpath(place) for place in (folder, home, *sys.path, sys.prefix,
              Path(edt.__file__).parent, sys.base_prefix, "/proc", "/sys", "/dev/null", "/usr",
              "/lib") if str(place))

def watch(event, words):
    if not watching:
        return
    if event == "open" and isinstance(words[0], (str, bytes)):
        name = os.fsdecode(words[0])
        if "/" in name and not os.path.realpath(name).startswith(quiet):
            seen.append([event, name])
    elif event.startswith(("subprocess", "os.exec", "os.posix_spawn", "os.system", "os.fork",
                           "socket.connect", "socket.getaddrinfo", "pickle.find_class")):
        if 'uname' not in words:  # asked by Python's module platform
            seen.append([event, repr(words)[:200]])
    elif event == "import" and words[0].partition(".")[0] in ("antigravity", "this", "evil"):
        seen.append([event, words[0]])

sys.addaudithook(watch)
for command in json.loads(sys.argv[3]):
    watching = True
    try:
        main([*command, str(folder)])
    except SystemExit:
        pass
    watching = False
print(json.dumps(seen))
"""


def test_no_command_import_connection_or_path_comes_from_a_directory(tmp_path):
    """Python itself tells of everything that is opened, started and connected to."""
    spec = SweepSpec(task="xor", grid={"seed": "0..3", "steps": 5, "width": [2, 3]})
    folder, home = tmp_path / "run", tmp_path / "home"
    home.mkdir()
    sweep(spec, folder, workers=0)
    PartFiles(folder).discard("shard-000000")
    evil = {
        "import": "evil:run", "module": "antigravity", "command": "touch /tmp/x", "py": "evil",
        "address": "ray://192.0.2.1:10001", "url": "s3://bucket/x", "path": "/etc/passwd",
    }  # fmt: skip
    # A word of everything in every file that is read: as a value, a key, and a name.
    for name in ("session.json", "manifest.json", "parts/shard-000001.manifest.json"):
        file = folder / name
        found = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**found, **evil}))
    (folder / "parts" / "shard-000000.failed.json").write_text(
        json.dumps({"name": "shard-000000", "error": "evil:run", "traceback": "/etc/shadow"})
    )
    for name in ("evil.py", "sitecustomize.py", "conftest.py", "pandas.py", "parts/evil.py"):
        (folder / name).write_text("raise SystemExit('ran')")
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE, str(folder), str(home),
         json.dumps([["status"], ["resume", "--no-progress"], ["export"], ["report"]])],
        capture_output=True, text=True, cwd=folder.parent,
        env={**os.environ, "HOME": str(home), "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [], done.stderr
    assert (folder / "report.html").is_file() and (folder / "export" / "runs.csv").is_file()


# Parts that are not what the plan says ------------------------------------------------------------


@pytest.fixture
def spectra(tmp_path):
    """A finished sweep with spectra, its spec, and its tables."""
    spec = SweepSpec(
        task="xor", grid={"seed": "0..3", "steps": 20, "init": ["he", "glorot"], "width": 2},
        analysis=["spectrum"],
    )  # fmt: skip
    folder = tmp_path / "run"
    sweep(spec, folder, workers=0)
    tables = {name: (folder / f"{name}.parquet").read_bytes() for name in ("runs", "spectrum")}
    return folder, tables


def rewrite(folder, kind, change, runs=None):
    """Forge a table of the first shard, checksums and all."""
    part = folder / "parts" / f"shard-000000.{kind}.parquet"
    change(pd.read_parquet(part)).to_parquet(part, index=False)
    manifest = folder / "parts" / "shard-000000.manifest.json"
    note = json.loads(manifest.read_text())
    note["files"][part.name] = hashlib.sha256(part.read_bytes()).hexdigest()
    note["runs"] = note["runs"] if runs is None else runs
    manifest.write_text(json.dumps(note))
    (folder / "runs.parquet").unlink()


FORGERIES = {
    "too few rows": ("runs", lambda t: t.iloc[1:], "3 rows, the plan 4"),
    "too many rows": ("runs", lambda t: pd.concat([t, t]), "8 rows, the plan 4"),
    "rows of others": ("runs", lambda t: t.assign(run=t["run"] + 4), "'run'"),
    "a row twice": ("runs", lambda t: t.iloc[[0, 0, 2, 3]], "'run'"),
    "a column less": ("runs", lambda t: t.drop(columns="loss"), "no column 'loss'"),
    "a column more": ("runs", lambda t: t.assign(more=1), "more"),
    "another dtype": ("runs", lambda t: t.astype({"index": "float64"}), "'index' must be int64"),
    "texts for losses": ("runs", lambda t: t.astype({"loss": str}), "'loss' must be float64"),
    "no spectra": ("spectrum", lambda t: t.iloc[:0].drop(columns="k"), "no column 'k'"),
    "short spectra": ("spectrum", lambda t: t.iloc[:-1], "spectra of shard-000000"),
    "spectra of others": ("spectrum", lambda t: t.assign(run=7), "'run'"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_part_that_is_not_the_plans_is_named_and_made_again(spectra, name):
    folder, tables = spectra
    kind, change, words = FORGERIES[name]
    rewrite(folder, kind, change)
    with pytest.raises(PartError, match="shard-000000") as caught:
        resume(folder, workers=0)
    assert words in str(caught.value) and "edt resume" in str(caught.value)
    # What the message says is so.
    resume(folder, workers=0)
    assert {name: (folder / f"{name}.parquet").read_bytes() for name in tables} == tables


@pytest.mark.parametrize(
    "change",
    [
        {"files": {}},
        {"files": {"shard-000001.runs.parquet": "00"}},
        {"runs": 3},
        {"spec": "0" * 16},
        {"spec": ""},
    ],
    ids=str,
)
def test_a_manifest_that_is_not_the_plans_counts_for_nothing(spectra, change):
    folder, tables = spectra
    manifest = folder / "parts" / "shard-000000.manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **change}))
    (folder / "runs.parquet").unlink()
    resume(folder, workers=0)
    assert {name: (folder / f"{name}.parquet").read_bytes() for name in tables} == tables


def test_networks_of_another_number_are_named(spectra):
    folder, _ = spectra
    path = folder / "parts" / "shard-000000.safetensors"
    edt.Ensemble.load(path).select(torch.tensor([0])).save(path)
    with pytest.raises(PartError, match="holds 1 networks, the plan 4"):
        edt.Sweep.load(folder).networks([0])


# The same of studies ----------------------------------------------------------------------------


STUDY = XorSpec(widths=(2, 3), seeds=20, steps=50)


def forge_part(folder, change, rows=None):
    """Change the table of a study's part, checksums and all."""
    part = min((folder / "parts").glob("*.parquet"))
    table = change(pd.read_parquet(part))
    table.to_parquet(part, index=False)
    manifest = part.with_name(part.name.replace(".parquet", ".manifest.json"))
    note = json.loads(manifest.read_text())
    note["files"][part.name] = hashlib.sha256(part.read_bytes()).hexdigest()
    note["runs"] = len(table) if rows is None else rows
    manifest.write_text(json.dumps(note))
    (folder / "runs.parquet").unlink()
    return part.name.removesuffix(".parquet")


STUDY_FORGERIES = {
    "a column less": (lambda t: t.drop(columns="loss"), "no column 'loss'"),
    "a column more": (lambda t: t.assign(more=1.0), "more"),
    "texts for losses": (lambda t: t.astype({"loss": str}), "'loss' must be float64"),
    "numbers for flags": (lambda t: t.astype({"win": float}), "'win' must be bool"),
    "another order": (lambda t: t[t.columns[::-1]], "another order"),
    "another width": (lambda t: t.assign(width=7), "its 'width' is not 2"),
    "another start": (lambda t: t.assign(start="mine"), "its 'start' is not"),
}  # fmt: skip


@pytest.mark.parametrize("name", STUDY_FORGERIES)
def test_a_studys_part_is_named_and_made_again(study, tmp_path, name):
    folder = tmp_path / "run"
    shutil.copytree(study, folder)
    change, words = STUDY_FORGERIES[name]
    part = forge_part(folder, change)
    with pytest.raises(PartError, match="no part of this run") as caught:
        resume(folder, progress=False)
    assert part in str(caught.value) and words in str(caught.value)
    resume(folder, progress=False)
    assert (folder / "runs.parquet").read_bytes() == (study / "runs.parquet").read_bytes()


@pytest.mark.parametrize(("rows", "kept"), [(19, 19), (None, 19), (20, 19)])
def test_a_studys_rows_are_counted(study, tmp_path, rows, kept):
    """By the plan, where it knows them, and by what the manifest says."""
    folder = tmp_path / "run"
    shutil.copytree(study, folder)
    forge_part(folder, lambda t: t.iloc[:kept], rows)
    if rows == 20:
        with pytest.raises(PartError, match="has 19 rows, its manifest says 20"):
            resume(folder, progress=False)
    resume(folder, progress=False)
    assert (folder / "runs.parquet").read_bytes() == (study / "runs.parquet").read_bytes()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "run"
    run_xor(STUDY, folder, progress=False)
    return folder


SIBLINGS = {
    "a column less": (lambda t: t.drop(columns="loss"), "no column 'loss'"),
    "a column more": (lambda t: t.assign(more=1.0), "column 'more', which the others"),
    "texts for losses": (lambda t: t.assign(loss="x"), "holds texts, that of the others numbers"),
    "numbers for flags": (
        lambda t: t.astype({"win": float}),
        "holds numbers, that of the",
    ),
    "another order": (lambda t: t[t.columns[::-1]], "in another order"),
}


@pytest.mark.parametrize("name", SIBLINGS)
def test_parts_of_a_stage_are_known_by_each_other(name):
    """Where a plan states no columns; what was computed just now is right."""
    change, words = SIBLINGS[name]
    good = pd.DataFrame({"width": 2, "loss": [0.5, 0.25], "win": [True, False]})
    parts = [Part(f"p{k}", "", 1.0, "train", (2,)) for k in range(3)]
    tables = {"p0": {"": change(good)}, "p1": {"": good}, "p2": {"": good}}
    rows = {"p0": 2, "p1": 2, "p2": 2}
    named, why = odd_one(parts, tables, rows, lambda width: None)
    assert named == "p0" and words in why
    # One against one: the one that this process has computed.
    named, why = odd_one(parts[:2], tables, {"p0": 2}, lambda width: None)
    assert named == "p0" and words in why
    empty = {**tables, "p0": {"": good.iloc[:0]}}
    assert odd_one(parts, empty, {**rows, "p0": 0}, lambda width: None) is None
    unknown = {**tables, "p0": {"": good.assign(loss=None)}}
    assert odd_one(parts, unknown, rows, lambda width: None) is None


def test_a_part_without_others_is_known_by_the_columns_of_its_plan(tmp_path):
    folder = tmp_path / "run"
    run_xor(XorSpec(widths=(2,), starts=STUDY.starts[:1], seeds=5, steps=5), folder, progress=False)
    part = forge_part(folder, lambda t: t.astype({"loss": str}))
    with pytest.raises(PartError, match=f"part {part} column 'loss' must be float64"):
        resume(folder, progress=False)


def test_columns_that_no_plan_states_are_missed_where_they_are_needed(tmp_path, monkeypatch):
    """What a study makes of them then makes no sense; the part is named, and nothing is deleted."""
    folder = tmp_path / "run"
    run_xor(XorSpec(widths=(2,), starts=STUDY.starts[:1], seeds=5, steps=5), folder, progress=False)
    part = forge_part(folder, lambda t: t)

    def measure(spec, parts):
        parts.run(lambda start, width: None)
        raise KeyError("loss")

    monkeypatch.setattr(Xor, "measure", staticmethod(measure))
    with pytest.raises(CheckpointError, match=rf"\({part}\) make no sense \(KeyError: 'loss'\)"):
        resume(folder, progress=False)
    assert (folder / "parts" / f"{part}.manifest.json").is_file()
