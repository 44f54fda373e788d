"""Readers of files meet the kept corpus and some hundred mutations each; `make fuzz` goes on."""

from __future__ import annotations

import os
import random
import signal
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from edt.limits import NotPlainError
from edt.runs.store import DirectoryError
from tests.fuzz import targets
from tests.fuzz.mutate import mutants
from tests.fuzz.readers import READERS, found
from tests.fuzz.targets import MAX_GB, TARGETS

CORPUS = Path(__file__).with_name("corpus")
#: Mutations a target; those that write sealed files take about a millisecond each.
COUNT = 250


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch):
    monkeypatch.setenv("EDT_MAX_GB", MAX_GB)


def kept(name):
    """Inputs that once told something: found by fuzzing, or failures that were mended."""
    return [file.read_bytes() for file in sorted((CORPUS / name).glob("*"))]


@pytest.mark.parametrize("name", TARGETS)
def test_kept_corpus(name):
    inputs = kept(name)
    assert inputs, f"no corpus for {name}: run 'make fuzz'"
    for data in inputs:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_good_files_are_read(name):
    """The seeds are no errors: otherwise every mutation would fail in the first line."""
    for data in TARGETS[name].seeds():
        if not name.startswith("sealed") or data == b"":
            TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_end_in_documented_errors(name):
    seeds = [*TARGETS[name].seeds(), *kept(name)]
    # Equal seeds every time: a failure here can be repeated.
    for data in mutants(seeds, COUNT, random.Random(name)):
        TARGETS[name](data)


def pipe(path):
    os.mkfifo(path)


def link_to_pipe(path):
    aside = path.with_name("a-pipe")
    if not aside.exists():
        pipe(aside)
    path.symlink_to(aside)


def device(path):
    """Endless zeros, where the right to make one is there."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        path.symlink_to("/dev/zero")


def listener(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


SPECIAL = {
    "a pipe": pipe,
    "a link to a pipe": link_to_pipe,
    "a device": device,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": listener,
    "a folder": Path.mkdir,
}


class Waited(BaseException):
    """A reader that is not back after a minute."""


@pytest.fixture
def in_bounded_time():
    def late(*_):
        raise Waited

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "footer"])
def test_what_is_no_plain_file_is_refused_without_a_wait(name, monkeypatch, in_bounded_time):
    """Nobody writes to the pipe, and the device has no end."""
    target, given = TARGETS[name], []
    seed = target.seeds()[0]
    monkeypatch.setattr(targets, "placed", lambda path: given.append(path))
    target.run(seed)
    assert given
    for file in set(given):
        for what, make in SPECIAL.items():
            put = []

            def swap(path, file=file, make=make, put=put):
                if path == file:
                    path.unlink()
                    make(path)
                    put.append(path)

            monkeypatch.setattr(targets, "placed", swap)
            # Where it is one of several, it counts as missing.
            with suppress(NotPlainError, DirectoryError, FileNotFoundError):
                target(seed)
            assert put, what


def test_every_reader_has_a_target():
    """A new one is missed here: it gets a target, or a word why it needs none."""
    assert set(READERS) == found()
    named = {name for targets in READERS.values() if isinstance(targets, tuple) for name in targets}
    assert named <= set(TARGETS)
    assert not set(TARGETS) - named - RESUMED


#: Checkpoints and data of runs that go on, which read by `edt.files.read` as results do.
RESUMED = {"sealed-training", "sealed-flow", "sealed-converge", "sealed-task"}


def test_no_corpus_without_a_target():
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
