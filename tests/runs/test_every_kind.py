"""Every kind of run: how far it is, and going on from what its directory holds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from finished_runs import SPECS, run
from patience import wait_for

from edt.cli import main as program
from edt.files import CheckpointError
from edt.ops.threads import torch_threads
from edt.runs.engines import Processes
from edt.runs.store import DirectoryError, PartFiles, in_use
from edt.runs.sweeps import sweep
from edt.studies.exports import export
from edt.studies.kinds import KINDS, resume, status
from edt.studies.reporting import report_of


@pytest.mark.parametrize("kind", SPECS)
def test_gives_the_same_bits_on_workers(kind, finished, tmp_path):
    """Parts of every stage are computed by other processes, from what earlier stages wrote."""
    finished(kind, tmp_path / "here")
    KINDS[kind].run(SPECS[kind], tmp_path / "there", workers=2, progress=False)
    for file in (tmp_path / "here").glob("*.parquet"):
        assert file.read_bytes() == (tmp_path / "there" / file.name).read_bytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_workers_start_where_what_is_left_is_worth_it(threads, tmp_path, monkeypatch):
    """After the first part, whose pace tells; no more than the threads that were given."""
    monkeypatch.setattr("edt.runs.experiment.WORTH", 0.0)
    spec, crews = SPECS["census"], []
    known = Processes.run

    def watched(self, directory, jobs):
        crews.append((self.workers, self.threads, len(jobs)))
        return known(self, directory, jobs)

    monkeypatch.setattr(Processes, "run", watched)
    monkeypatch.setattr("edt.runs.experiment.cores", lambda: 8)
    with torch_threads(threads):
        KINDS["census"].run(spec, tmp_path / "run", progress=False)
    parts = len(KINDS["census"].plan(spec))
    assert crews == ([(2, 1, parts - 1)] if threads == 2 else [])
    assert status(tmp_path / "run").finished


def test_every_kind_is_here_and_has_a_report():
    assert set(SPECS) == set(KINDS)
    assert all(callable(report_of(kind)) for kind in KINDS)


@pytest.mark.parametrize("kind", SPECS)
def test_goes_on_from_its_directory(kind, finished, tmp_path):
    folder = tmp_path / "run"
    done = finished(kind, folder)
    for to in ("csv", "parquet", "xarray"):
        assert len(export(folder, to, tmp_path / to)) == len(done.tables)
    found = status(folder)
    assert found.finished and not found.running and found.share == 1.0
    assert found.kind == kind and found.parts_done == found.parts >= 2
    assert found.rate > 0 and found.workers == 1

    before = {file.name: file.read_bytes() for file in folder.glob("*.parquet")}
    assert set(before) == {f"{name}.parquet" for name in done.tables}
    files, names = PartFiles(folder), [part.name for part in KINDS[kind].plan(SPECS[kind])]
    untouched = (folder / "parts" / f"{names[0]}.manifest.json").read_bytes()
    files.discard(names[-1])
    flip(next((folder / "parts").glob(f"{names[1]}.*parquet")))
    next(folder.glob("*.parquet")).unlink()
    found = status(folder)
    assert not found.finished and found.parts_done == found.parts - 1
    with pytest.raises(CheckpointError, match="no such file"):
        KINDS[kind].load(folder)

    again = resume(folder)
    assert type(again) is type(done) and status(folder).finished
    assert {file.name: file.read_bytes() for file in folder.glob("*.parquet")} == before
    assert all(files.intact(name) for name in names)
    # What was whole was not computed again: its manifest, with its time, is the old one.
    assert (folder / "parts" / f"{names[0]}.manifest.json").read_bytes() == untouched


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def test_a_damaged_table_is_found_out_and_made_again(tmp_path):
    folder = tmp_path / "run"
    run("xor", folder)
    before = (folder / "runs.parquet").read_bytes()
    flip(folder / "runs.parquet")
    with pytest.raises(CheckpointError, match="checksum"):
        KINDS["xor"].load(folder)
    resume(folder)
    assert (folder / "runs.parquet").read_bytes() == before


def test_a_part_that_fails_is_shown_until_it_succeeds(tmp_path, monkeypatch):
    import edt.studies.xor.run as module

    folder, real = tmp_path / "run", module.masked_train
    monkeypatch.setattr(module, "masked_train", lambda *a, **b: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("xor", folder)
    (failure,) = status(folder).failures
    assert failure["name"] == "fixed-width-0002" and "ZeroDivisionError" in failure["error"]
    monkeypatch.setattr(module, "masked_train", real)
    resume(folder)
    assert status(folder).failures == []


def test_an_experiment_killed_at_work(tmp_path):
    """SIGKILL; then `edt status` (code 3) and `edt resume`, with the bits of a whole run."""
    words = ["run", "xor", "--widths", "2..9", "--seeds", "300", "--set", "steps=3000"]
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "edt", *words, "--out", str(folder), "--threads", "1"],
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: len(list((folder / "parts").glob("*.manifest.json"))) >= 2, process)
    assert in_use(folder)
    found = status(folder)
    assert found.running and found.seconds_left > 0
    with pytest.raises(DirectoryError, match="in use"):
        resume(folder)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = status(folder)
    assert not found.running and 2 <= found.parts_done < found.parts == 16
    with pytest.raises(SystemExit) as stop:
        program(["status", str(folder)])
    assert stop.value.code == 3
    spec = KINDS["xor"].spec_of(folder)
    resume(folder)
    KINDS["xor"].run(spec, tmp_path / "whole", progress=False)
    assert (folder / "runs.parquet").read_bytes() == (
        tmp_path / "whole" / "runs.parquet"
    ).read_bytes()


def test_resume_on_the_command_line(tmp_path, capsys):
    folder = tmp_path / "run"
    run("xor", folder)
    PartFiles(folder).discard("fixed-width-0002")
    with pytest.raises(SystemExit) as stop:
        program(["resume", str(folder), "--json", "--no-progress"])
    assert not stop.value.code
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "xor" and facts["rows"] == {"runs": 80}
    assert (folder / "report.html").is_file()
    with pytest.raises(SystemExit) as stop:
        program(["resume", str(folder), "--workers", "2", "--cpus", "2", "--no-progress"])
    assert stop.value.code == 2
    assert "cpus is not an option" in capsys.readouterr().err.replace("\n", " ")


def test_resume_works_as_the_last_start_did(tmp_path, monkeypatch):
    from edt.runs import experiment as module

    folder = tmp_path / "run"
    sweep(SPECS["sweep"], folder, workers=0)
    made = []
    real = module.make_engine

    def spy(name, workers, shards, **options):
        made.append((name, workers))
        return real(name, workers, shards, **options)

    monkeypatch.setattr(module, "make_engine", spy)
    for given in ({}, {"workers": 1}, {}):
        PartFiles(folder).discard("shard-000000")
        resume(folder, **given)
    assert made == [("local", 0), ("local", 1), ("local", 1)]
