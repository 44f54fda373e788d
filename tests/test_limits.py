"""What asks for more than there is, in a few bytes, is refused before it gets it.

Attacks on readers run in a process of their own, whose memory and time are measured: the time of
its work, which does not grow where others keep the machine busy.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import edt
from edt.cli import main as program
from edt.files import CheckpointError
from edt.limits import TooLargeError, allowed, insist, insist_count, size
from edt.ops.threads import check_threads
from edt.runs.store import read_table
from edt.runs.sweeps import SweepSpec
from edt.runs.sweeps.plan import make_plan
from edt.studies.width.spec import parse_widths
from edt.tasks.mnist import IdxError, read_idx

#: Bytes that an attacked reader may add to what its process had.
ROOM = 300 * 2**20
#: Seconds of work for "no": one, on a processor half as fast as usual.
SECONDS = 2.0
GUARD = """
import resource, sys, time
{setup}
held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
clock = time.process_time()
try:
    {attack}
except ValueError as error:
    print(type(error).__name__, error)
took = time.process_time() - clock
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - held
print(int(grown), took)
"""


def attacked(setup, attack, *words):
    """What a reader says to a file in a process of its own: error, bytes it took, seconds."""
    code = GUARD.format(setup=setup, attack=attack)
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True, text=True, check=True, env={**os.environ, "EDT_MAX_GB": "1"},
    )  # fmt: skip
    told, measured = ran.stdout.strip().rsplit("\n", 1)
    grown, took = measured.split()
    return told, int(grown), float(took)


def bomb(path, shape, filled):
    """A gzipped IDX file whose header claims a shape, and which unpacks to so many zeros."""
    head = b"\0\0\x08" + bytes([len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    with open(path, "wb") as file:
        file.write(gzip.compress(head))
        file.write(gzip.compress(bytes(2**20)) * (filled // 2**20))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((60000, 28, 380), "may have"),
        ((60000, 28, 28000), "holds at most"),
        ((10, 28, 28), "holds more"),
    ],
    ids=["said", "said and not there", "not said"],
)  # fmt: skip
def test_a_gzip_bomb(tmp_path, shape, words):
    """2 MB became 3.9 GB."""
    bomb(tmp_path / "bomb.gz", shape, 600 * 2**20)
    told, grown, took = attacked(
        "from edt.tasks.mnist import read_idx", "read_idx(sys.argv[1])", tmp_path / "bomb.gz"
    )
    assert "IdxError" in told and words in told
    assert grown < ROOM and took < SECONDS


PARQUET = (
    "import edt, pandas, pyarrow.parquet\nfrom pathlib import Path\n"
    "from edt.runs.store import read_table"
)
BOMBS = {
    "rows": (lambda: {"run": np.zeros(80_000_000, np.int64)}, {}, "80,000,000 rows"),
    "a long text": (
        lambda: {"a": pd.Categorical.from_codes(np.zeros(50_000, int), ["x" * 100_000])},
        {}, "its texts",
    ),
    "zstd": (lambda: {"run": np.zeros(1000)}, {"compression": "zstd"}, "zstd"),
    "gzip": (lambda: {"run": np.zeros(1000)}, {"compression": "gzip"}, "gzip"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_parquet_bomb(tmp_path, name):
    """273 kB became 1.6 GB."""
    make, options, words = BOMBS[name]
    pd.DataFrame(make()).to_parquet(tmp_path / "runs.parquet", index=False, **options)
    assert (tmp_path / "runs.parquet").stat().st_size < 2**20
    told, grown, took = attacked(PARQUET, "read_table(Path(sys.argv[1]), 'runs.parquet')", tmp_path)
    assert "CheckpointError" in told and words in told
    assert grown < ROOM and took < SECONDS


def test_tables_of_every_ordinary_kind_are_read(tmp_path):
    frame = pd.DataFrame(
        {
            "run": np.arange(5),
            "big": np.array([1, 2**63, 2**64 - 1, 0, 3], dtype=np.uint64),
            "loss": [0.5, np.nan, np.inf, 1.0, 2.0],
            "good": [True, False, True, True, False],
            "word": ["a", "b", "c", "é", ""],
            "gaps": pd.array([1, None, 3, 4, 5], dtype="Int64"),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path, "t.parquet"), frame)


def test_a_large_sparse_file_is_not_read(tmp_path, monkeypatch):
    with (tmp_path / "runs.parquet").open("wb") as file:
        file.truncate(10**13)
    with pytest.raises(CheckpointError, match="needs about"):
        read_table(tmp_path, "runs.parquet")


SPECS = {
    "a grid of 1.8e8": {"grid": {"seed": "0..999999", "lr": [k / 1000 for k in range(1, 181)]}},
    "a grid of 1e18": {"grid": {"seed": "0..999999", "target": "0..999999", "width": "1..999999"}},
    "a wide network": {"grid": {"width": 10**9}, "shard_seconds": 1e-300},
    "too many shards": {"grid": {"seed": "0..99"}, "shard_seconds": 1e-300},
    "nearly 1e7 in too many shards": {
        "grid": {"seed": "0..989999", "lr": [k / 10 for k in range(1, 11)]},
        "shard_seconds": 1e-300,
    },
    "a hundred points of 1e6": {
        "points": [{"seed": f"{k}000000..{k}999999"} for k in range(1, 101)]
    },
    "a list of ranges": {"grid": {"seed": [f"{k}000000..{k}999999" for k in range(1, 401)]}},
    "overlapping points": {
        "grid": {"seed": "0..999999"},
        "points": [{"lr": [0.1, 0.2]}, {"lr": [0.2, 0.3]}],
    },
    "a target of few": {"grid": {"seed": "0..999999", "target": [0, 99], "lr": [0.1, 0.2]}},
    "a million groups": {
        "grid": {"steps": list(range(1000)), "momentum": [k / 1000 for k in range(1000)]},
    },
}
REFUSALS = (
    "runs, and may have",
    "shard_seconds must be at least",
    "1,000,000 values",
    "two of them overlap",
    "target must be below",
    "shard of its own, and may have 100,000 shards",
    "must give each network at most",
)


@pytest.mark.parametrize("name", SPECS)
def test_plans_that_are_too_large_are_refused_in_less_than_a_second(name):
    clock = time.process_time()
    with pytest.raises(ValueError, match="|".join(REFUSALS)):
        make_plan(SweepSpec(task="xor", **SPECS[name]))
    assert time.process_time() - clock < SECONDS


WORDS = {
    "widths": (["run", "width-sweep", "--widths", "1..99999999999"], "at most 10,000"),
    "teachers": (["demo", "--teachers", "2000000000"], "may have"),
    "rounds": (["run", "lottery", "--set", "rounds=2000000000"], "parts"),
    "rests": (["run", "perturb-rest", "--rests", "2000000000"], "runs"),
    "seeds": (["run", "xor", "--seeds", "2000000000"], "may have"),
    "threads": (["run", "xor", "--threads", "1000000"], "threads must be in 1.."),
}


@pytest.mark.parametrize("name", WORDS)
def test_flags_that_ask_for_too_much(tmp_path, capsys, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, told = WORDS[name]
    with pytest.raises(SystemExit):
        program(["run", "xor", "--help"])  # imports what every command does
    capsys.readouterr()
    clock = time.process_time()
    with pytest.raises(SystemExit) as stop:
        program([*words, "--out", "run"])
    took = time.process_time() - clock
    errors = " ".join(capsys.readouterr().err.split())
    assert stop.value.code == 2 and told in errors and "Traceback" not in errors
    assert took < 5 * SECONDS and not (tmp_path / "run" / "edt.json").exists()


def test_makers_of_data_look_first(monkeypatch):
    monkeypatch.setenv("EDT_MAX_GB", "1")
    with pytest.raises(TooLargeError, match=r"n=300,000,000 .*EDT_MAX_GB=1"):
        edt.tasks.teacher_student(n=300_000_000)
    with pytest.raises(TooLargeError, match="an ensemble of"):
        edt.Ensemble.init([30_000_000] * 4, [0], d_in=8, d_out=1)


def test_the_ceiling_can_be_raised(monkeypatch):
    insist("this", allowed()[0])
    monkeypatch.setenv("EDT_MAX_GB", "0.5")
    with pytest.raises(TooLargeError, match="edt --max-gb"):
        insist("this", 10**9)
    monkeypatch.setenv("EDT_MAX_GB", "2")
    insist("this", 10**9)
    with pytest.raises(TooLargeError, match="edt --max-runs"):
        insist_count("this", 10**8)
    monkeypatch.setenv("EDT_MAX_RUNS", "100000000")
    insist_count("this", 10**8)
    for name in ("EDT_MAX_GB", "EDT_MAX_RUNS"):
        monkeypatch.setenv(name, "lots")
        with pytest.raises(ValueError, match=name):
            insist("this", 10**9) if name == "EDT_MAX_GB" else insist_count("this", 1)
        monkeypatch.delenv(name)


def test_a_toml_file_without_end():
    clock = time.process_time()
    with pytest.raises(edt.runs.sweeps.SpecError, match="not a plain file"):
        edt.runs.sweeps.read_spec("/dev/zero")
    assert time.process_time() - clock < SECONDS


def test_widths_threads_sizes():
    assert parse_widths("1..10000") == tuple(range(1, 10001))
    assert check_threads(2) == 2
    with pytest.raises(ValueError, match="threads must be in"):
        check_threads(10**6)
    assert size(10**9) == "1 GB" and size(12) == "12 bytes"


def test_idx_still_reads_what_is_whole(tmp_path):
    data = b"\0\0\x08\1" + (3).to_bytes(4, "big") + bytes([1, 0, 9])
    for name, content in (("plain", data), ("zipped", gzip.compress(data))):
        (tmp_path / name).write_bytes(content)
        assert read_idx(tmp_path / name).tolist() == [1, 0, 9]
    (tmp_path / "cut").write_bytes(gzip.compress(data)[:-6])
    with pytest.raises(IdxError, match="truncated"):
        read_idx(tmp_path / "cut")
