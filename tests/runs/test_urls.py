"""Sweeps in a directory behind an fsspec URL: the same bits, no locks, whole objects."""

from __future__ import annotations

import errno
import json

import pytest

from edt.cli import main as program
from edt.ensemble import Ensemble
from edt.files import CheckpointError, read
from edt.locations import Remote, place
from edt.runs.store import DirectoryError, PartFiles, inside
from edt.runs.sweeps import Sweep, sweep
from edt.show.publish import figures_kept
from edt.studies.exports import export
from edt.studies.kinds import resume, status
from edt.studies.reporting import report_on
from edt.studies.xor.run import run_xor
from edt.studies.xor.spec import XorSpec

THERE = OSError(errno.EREMOTEIO, "Internal Server Error")
TABLES = ("runs.parquet", "spectrum.parquet")


@pytest.fixture
def url():
    """A place in fsspec's memory, empty before and after."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield "memory://runs/small"
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def same(folder, reference):
    return all((folder / name).read_bytes() == (reference / name).read_bytes() for name in TABLES)


def test_same_bits_status_report_and_export(small, reference, url, tmp_path):
    done = sweep(small, url)
    folder = place(url)
    assert isinstance(folder, Remote) and same(folder, reference)
    chosen = done.runs["run"].tolist()[:3]
    here, there = Sweep.load(reference).networks(chosen), Sweep.load(url).networks(chosen)
    assert here.theta.equal(there.theta)
    found = status(url)
    assert found.finished and found.running is None and found.runs_done == 80
    with figures_kept(["png"]):
        page = report_on(url)
    assert str(page) == f"{url}/report.html" and page.read_bytes().startswith(b"<!doctype html>")
    assert (folder / "figures").is_dir() and (folder / "provenance.json").is_file()
    (csv, _), (again, _) = export(url, "csv"), export(reference, "csv", tmp_path)
    assert csv.read_bytes() == again.read_bytes()
    assert len(export(url, "xarray", tmp_path / "nc")) == 2


def test_goes_on_where_it_was_cut_off(small, reference, url, monkeypatch):
    """An upload that fails, a damaged object, a lost manifest."""
    real, calls = Remote.write_bytes, []

    def fails(self, data):
        calls.append(self)
        if len(calls) > 60:
            raise OSError(5, "the connection was lost", str(self))
        real(self, data)

    monkeypatch.setattr(Remote, "write_bytes", fails)
    with pytest.raises(Exception, match=r"connection was lost|parts failed"):
        sweep(small, url)
    monkeypatch.undo()
    found = status(url)
    assert 0 < found.parts_done < found.parts and not found.finished
    files = PartFiles(url)
    done = [f"shard-{k:06d}" for k in range(found.parts) if files.manifest(f"shard-{k:06d}")]
    file = files.root / "parts" / f"{done[0]}.runs.parquet"
    file.write_bytes(file.read_bytes()[:100])  # as a store without whole objects may leave it
    files.discard(done[1])
    assert files.intact(done[0]) is None
    resume(url)
    assert same(place(url), reference) and status(url).finished
    assert not status(url).failures


def test_refusals(small, url):
    with pytest.raises(ValueError, match="seen by this process only"):
        sweep(small, url, workers=2)
    with pytest.raises(ValueError, match="needs a directory with a path"):
        sweep(small, url, engine="slurm")
    place("memory://runs/strange/mine.txt").write_bytes(b"mine")
    with pytest.raises(DirectoryError, match="was not written by edt"):
        sweep(small, "memory://runs/strange")
    with pytest.raises(DirectoryError, match="is a file"):
        sweep(small, "memory://runs/strange/mine.txt")
    with pytest.raises(DirectoryError, match="not the directory of an edt run"):
        status("memory://runs/none")


def test_fresh_deletes_what_was_there(small, url):
    from dataclasses import replace

    tiny = replace(small, grid={"steps": 1}, analysis=())
    sweep(small, url)
    with pytest.raises(DirectoryError, match="holds another run"):
        sweep(tiny, url)
    sweep(tiny, url, fresh=True)
    assert not (place(url) / "spectrum.parquet").exists()
    assert len(list((place(url) / "parts").glob("*.manifest.json"))) == 1


def test_a_file_url_is_a_path(small, reference, tmp_path):
    folder = tmp_path / "a run"
    assert place(folder.as_uri()) == folder
    sweep(small, folder.as_uri(), workers=0)
    assert same(folder, reference) and status(folder.as_uri()).running is False


def test_on_the_command_line(spec_file, url, capsys):
    with pytest.raises(SystemExit) as stop:
        program(["sweep", str(spec_file), "--out", url, "--json", "--no-progress"])
    assert not stop.value.code
    assert json.loads(capsys.readouterr().out)["report"] == f"{url}/report.html"
    with pytest.raises(SystemExit) as stop:
        program(["status", url])
    assert not stop.value.code and "finished" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        program(["status", "nonsense://run"])
    assert stop.value.code == 2
    assert "nonsense" in capsys.readouterr().err


def test_experiments_take_urls(url, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["run", "xor", "--widths", "2,3", "--seeds", "9", "--set", "steps=50", "--out", url]
    with pytest.raises(SystemExit) as stop:
        program([*words, "--json"])
    assert not stop.value.code and list(tmp_path.iterdir()) == []
    facts = json.loads(capsys.readouterr().out)
    assert facts["report"] == f"{url}/report.html"
    run_xor(XorSpec(widths=(2, 3), seeds=9, steps=50), tmp_path / "run", progress=False)
    there, here = place(url) / "runs.parquet", tmp_path / "run" / "runs.parquet"
    assert there.read_bytes() == here.read_bytes() and status(url).finished


def test_sizes_are_looked_at_before_files_are_read(small, url, monkeypatch):
    """Whoever owns the store says how long its files are."""
    sweep(small, url, workers=0, progress=False)
    asked = []
    real = Remote.read_bytes
    monkeypatch.setattr(Remote, "read_bytes", lambda at: asked.append(at.name) or real(at))
    monkeypatch.setattr(Remote, "size", lambda at: 2**40)
    for name in ("edt.json", "session.json", "runs.parquet"):
        with pytest.raises(DirectoryError, match=rf"{name} (has|needs)"):
            inside.read(place(url), name, 2**20 if name.endswith("json") else None)
    with pytest.raises(CheckpointError, match=r"needs about 2\.2 TB"):
        read(next(place(url).glob("parts/*.safetensors")), "ensemble")
    assert asked == []


def test_networks_are_read_and_checked(url, cases):
    networks, file = cases.ensemble([2, 3]), place(f"{url}/networks.safetensors")
    networks.save(file)
    assert Ensemble.load(file).theta.equal(networks.theta)
    data = file.read_bytes()
    for broken in (b"", data[:20], data[:-1], data[:-3] + b"\0\0\0"):
        file.write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"truncated|corrupted"):
            read(file, "ensemble")


@pytest.mark.parametrize("failing", [3, 4])
def test_a_store_that_fails_on_its_side_is_asked_again(url, monkeypatch, failing):
    """Three times more; never what creates, for nobody would know who did."""
    file, waited, left = place(f"{url}/file"), [], [THERE] * failing
    monkeypatch.setattr("edt.locations.time.sleep", waited.append)
    real = type(file._fs).pipe_file

    def pipe_file(self, *words, **options):
        if left:
            raise left.pop()
        return real(self, *words, **options)

    monkeypatch.setattr(type(file._fs), "pipe_file", pipe_file)
    if failing == 3:
        file.write_bytes(b"whole")
        assert file.read_bytes() == b"whole"
    else:
        with pytest.raises(OSError, match="Internal Server Error"):
            file.write_bytes(b"whole")
    assert waited == [0.1, 0.5, 2.0]
    left.append(THERE)
    with pytest.raises(OSError, match="Internal Server Error"):
        place(f"{url}/new").create_bytes(b"mine")
    assert len(waited) == 3
