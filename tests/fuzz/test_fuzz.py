"""Readers of files meet the kept corpus and some hundred mutations each; `make fuzz` goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

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


def test_every_reader_has_a_target():
    """A new one is missed here: it gets a target, or a word why it needs none."""
    assert set(READERS) == found()
    named = {name for targets in READERS.values() if isinstance(targets, tuple) for name in targets}
    assert named <= set(TARGETS)
    assert not set(TARGETS) - named - RESUMED


#: Checkpoints of runs that go on, which read by `edt.files.read` as results do.
RESUMED = {"sealed-training", "sealed-flow", "sealed-converge"}


def test_no_corpus_without_a_target():
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
