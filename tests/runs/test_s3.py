"""Sweeps in a store of objects, over S3's protocol: no locks, no renaming, no folders.

Needs moto's server and s3fs (`.ci/objects.sh` has both); skipped without them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace

import pytest
from patience import PATIENCE, wait_for
from small_sweep import SPEC, write_toml

from edt.cli import main as program
from edt.files import CheckpointError
from edt.locations import place
from edt.runs.store import DirectoryError, PartFiles, Store
from edt.runs.sweeps import Sweep, SweepSpec, sweep
from edt.studies.exports import export
from edt.studies.kinds import resume, status
from edt.studies.reporting import report_on
from edt.studies.xor.run import run_xor
from edt.studies.xor.spec import XorSpec

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

TABLES = ("runs.parquet", "spectrum.parquet")
BUCKET = "s3://edt-tests"
#: The small sweep in a dozen shards, for every object costs requests.
DOZEN = {**SPEC, "shard_seconds": 0.0012}


@pytest.fixture(scope="module")
def small():
    return SweepSpec.from_dict(DOZEN)


@pytest.fixture(scope="module")
def reference(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "run"
    sweep(small, folder, workers=0)
    return folder


@pytest.fixture
def spec_file(tmp_path):
    return write_toml(tmp_path / "small.toml", DOZEN)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """moto's S3, in a process of its own."""

    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/", timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end
                time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module")
def server():
    """The server, a bucket in it, and the environment that makes it S3."""
    import s3fs

    made = Server()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": made.url,
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
            patch.delenv(name, raising=False)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield made
        s3fs.S3FileSystem.clear_instance_cache()
    made.stop()


@pytest.fixture
def url(server, request):
    """A prefix of its own."""
    return f"{BUCKET}/{request.node.name}/run"


def same(url, reference):
    folder = place(url)
    return all((folder / name).read_bytes() == (reference / name).read_bytes() for name in TABLES)


def shards(url):
    """Names of the shards that are done, each whole to the last bit."""
    files = PartFiles(url)
    found = [
        file.name.removesuffix(".manifest.json")
        for file in (files.root / "parts").glob("*.manifest.json")
    ]
    assert all(files.intact(name) is not None for name in found)
    return found


def start(spec_file, url, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "edt", "sweep", str(spec_file), "--out", url, "--no-progress",
         "--workers", "0", *more],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_same_bits_status_report_and_export(small, reference, url, tmp_path):
    sweep(small, url, workers=2)
    assert same(url, reference) and len(shards(url)) == status(url).parts
    found = status(url)
    assert found.finished and found.running is None and found.runs_done == found.runs
    loaded = Sweep.load(url)
    assert loaded.networks([7]).theta.equal(Sweep.load(reference).networks([7]).theta)
    (csv, _), (again, _) = export(url, "csv"), export(reference, "csv", tmp_path)
    assert csv.read_bytes() == again.read_bytes()
    assert report_on(url).read_bytes().startswith(b"<!doctype html>")


def test_killed_in_the_middle_and_resumed(small, spec_file, reference, url):
    process = start(spec_file, url)
    wait_for(lambda: len(list((place(url) / "parts").glob("*.manifest.json"))) >= 3, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = shards(url)
    kept = {name: PartFiles(url).manifest(name) for name in done}
    found = status(url)
    assert 3 <= found.parts_done == len(done) < found.parts and not found.finished
    with pytest.raises(CheckpointError):
        Sweep.load(url)
    resume(url)
    assert same(url, reference) and status(url).finished
    assert {name: PartFiles(url).manifest(name) for name in done} == kept  # not computed again


def test_two_writers_of_one_run(small, spec_file, reference, url):
    """Nobody is refused; both write the same bytes; one is killed."""
    both = [start(spec_file, url) for _ in range(2)]
    wait_for(lambda: list((place(url) / "parts").glob("*.manifest.json")), both[0])
    both[0].kill()
    errors = [process.communicate()[1] for process in both]
    assert both[1].returncode == 0, errors
    assert same(url, reference) and len(shards(url)) == status(url).parts


def test_of_different_runs_started_at_one_moment_one_has_the_place(url):
    barrier, won, refused = threading.Barrier(8), [], []

    def claim(number):
        barrier.wait()
        try:
            won.append(Store(url, "sweep", {"spec": number}))
        except DirectoryError as error:
            refused.append(str(error))

    claims = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in claims:
        thread.start()
    for thread in claims:
        thread.join()
    assert len(won) == 1 and len(refused) == 7
    assert all("holds another run" in text for text in refused)
    won[0].check()


def test_a_run_whose_place_was_taken_over_ends_and_spoils_nothing(
    small, reference, url, monkeypatch
):
    """`fresh` deletes what is there; nothing stops a run that is under way from writing on."""
    other = replace(small, good=0.5)
    real, taken = PartFiles.write, []

    def write(self, name, *words, **options):
        if not taken and name.endswith("3"):
            taken.append(Store(url, "sweep", {"spec": other.to_dict(), "edt": "other"}, fresh=True))
        return real(self, name, *words, **options)

    monkeypatch.setattr(PartFiles, "write", write)
    with pytest.raises(DirectoryError, match="taken over by another run"):
        sweep(small, url, workers=0)
    monkeypatch.undo()
    taken[0].check()
    left = shards(url)
    assert left and not (place(url) / "runs.parquet").exists()
    # What the first one wrote after that is not taken for the second one's.
    assert PartFiles(url).intact(left[0], small.digest) is not None
    assert PartFiles(url).intact(left[0], other.digest) is None
    sweep(other, url, workers=0, fresh=True)
    assert (place(url) / "spectrum.parquet").read_bytes() == (
        reference / "spectrum.parquet"
    ).read_bytes()


def test_damage_is_found_and_mended(small, reference, url):
    sweep(small, url, workers=0)
    folder = place(url)
    for file in (folder / "parts" / "shard-000002.safetensors", folder / "runs.parquet"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(bytes(data))
    (folder / "parts" / "shard-000005.spectrum.parquet").unlink()
    with pytest.raises(CheckpointError, match="corrupted"):
        Sweep.load(url)
    resume(url)
    assert same(url, reference) and len(shards(url)) == status(url).parts


def test_an_empty_object_in_the_folders_name_is_no_stranger(small, url):
    """Web consoles make folders so."""
    place(url)._fs.pipe_file(f"{url}/", b"")
    tiny = replace(small, grid={"steps": 1}, analysis=())
    assert len(sweep(tiny, url).runs) == 1
    place(f"{url}-strange/mine.txt").write_bytes(b"mine")
    with pytest.raises(DirectoryError, match="was not written by edt"):
        sweep(tiny, f"{url}-strange")


def test_a_bucket_is_never_made(small, server):
    import s3fs

    with pytest.raises(FileNotFoundError):
        sweep(replace(small, grid={"steps": 1}, analysis=()), "s3://no-such-bucket/run")
    assert "no-such-bucket" not in s3fs.S3FileSystem().ls("")


def test_experiments_too(url, tmp_path):
    spec = XorSpec(widths=(2, 3), seeds=9, steps=50)
    run_xor(spec, url, progress=False)
    run_xor(spec, tmp_path / "run", progress=False)
    there, here = place(url) / "runs.parquet", tmp_path / "run" / "runs.parquet"
    assert there.read_bytes() == here.read_bytes() and status(url).finished


def test_a_server_that_is_gone_is_an_error_of_one_line(small, server, url, capsys):
    """And not a run that is not there, or a shard that is damaged. The last test: it stops S3."""
    sweep(replace(small, grid={"steps": 1}, analysis=()), url)
    server.stop()
    with pytest.raises(ConnectionError, match="Could not connect"):
        status(url)
    with pytest.raises(SystemExit) as stop:
        program(["status", url])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "Could not connect" in error.replace("\n", " ") and "Traceback" not in error
    assert os.environ["AWS_ENDPOINT_URL"] == server.url
