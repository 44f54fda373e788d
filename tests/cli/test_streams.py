"""Pipes, ASCII terminals, odd names and Ctrl-C at any moment, on real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from patience import PATIENCE, children, linux, none_alive, wait_for

from edt.cli import main as program
from edt.cli import streams
from edt.cli.outcome import console_for
from edt.cli.streams import leave_at_once, once
from edt.runs.store import PartFiles
from edt.runs.sweeps import SweepSpec, sweep

SMALL = SweepSpec(task="xor", grid={"seed": "0..3", "steps": 20, "init": ["he", "glorot"]})
#: One that takes minutes, in many shards, with workers.
LONG = (
    'task = "xor"\nshard_seconds = {}\n[grid]\nseed = "0..3999"\nsteps = 200000\nwidth = [16, 32]\n'
)
EDT = [sys.executable, "-m", "edt"]


@pytest.fixture
def finished(tmp_path):
    folder = tmp_path / "run"
    sweep(SMALL, folder, workers=0)
    return folder


# Streams ----------------------------------------------------------------------------------------


def test_a_reader_that_goes_away_from_an_ascii_program(finished):
    """As under ``| head -c 0``: the work is done, and nothing is said of it, to the very end.

    Every command meets both, without a process of its own, in `test_every_command`.
    """
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    source, sink = os.pipe()
    os.close(source)
    done = subprocess.run(
        [*EDT, "export", str(finished)], stdout=sink, stderr=subprocess.PIPE, env=environment
    )
    os.close(sink)
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    assert (finished / "export" / "runs.csv").is_file()


@pytest.mark.parametrize("name", ["a[red]b[/red]", "dé–f", "e\\", "x\x1b[31my"])
def test_names_of_directories_are_text(tmp_path, name, capsys):
    folder = tmp_path / name
    spec = tmp_path / "s.toml"
    spec.write_text('task = "xor"\n[grid]\nseed = "0..1"\nsteps = 5\n')
    for words in (
        ["sweep", spec, "--out", folder], ["status", folder], ["resume", folder],
        ["report", folder], ["export", folder],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            program([str(word) for word in words])
        told = capsys.readouterr()
        assert not stop.value.code, told.err
    (folder / "edt.json").unlink()
    with pytest.raises(SystemExit) as stop:
        program(["status", str(folder)])
    told = capsys.readouterr()
    assert stop.value.code == 2
    assert name.replace("\x1b", "\\x1b") in told.err.replace("\n", "")


def test_notes_of_a_stranger_do_not_steer_the_terminal(finished, capsys):
    PartFiles(finished).discard("shard-000000")
    note = {"name": "shard-000000", "error": "\x1b]0;owned\x07 [/] \x9b31m"}
    (finished / "parts" / "shard-000000.failed.json").write_text(json.dumps(note))
    with pytest.raises(SystemExit) as stop:
        program(["status", str(finished)])
    told = capsys.readouterr().out
    assert stop.value.code == 3
    assert not set(told) & {chr(27), chr(7), chr(0x9B)} and "owned" in told


def test_words_that_are_shown_are_not_sent(capsys):
    console_for(False).print("a\x1b[31mb\tc")
    assert "\x1b" not in capsys.readouterr().out


# Ctrl-C -----------------------------------------------------------------------------------------


def interrupted(process, times=1):
    """Ctrl-C so many times; the exit code, and what a person sees of it."""
    for _ in range(times):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors.strip()


#: The program, which says when its first handler of Ctrl-C is there.
TELLING = """
import signal
real = signal.signal
def told(*words):
    signal.signal = real
    real(*words)
    print("here", flush=True)
signal.signal = told
from edt.cli import main
main()
"""


@pytest.mark.parametrize("times", [1, 8])
def test_during_the_start(tmp_path, times):
    """From the first lines of the program on; before these there is only Python's own start."""
    spec = tmp_path / "s.toml"
    spec.write_text(LONG.format(0.5))
    draw = random.Random(times)
    for latest in (0.5, 3.0):
        process = subprocess.Popen(
            [sys.executable, "-c", TELLING, "sweep", str(spec), "--out", str(tmp_path / "run")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout.readline() == "here\n"
        time.sleep(draw.uniform(0.0, latest))
        code, errors = interrupted(process, times)
        lines = [line for line in errors.splitlines() if line]
        assert code == 130, (code, errors)
        assert len(lines) == 1 and lines[0].startswith("edt: interrupted"), (code, errors)


SWALLOWS = f"""
import time
try:
    print("here", flush=True)
    time.sleep({PATIENCE})
except BaseException:
    pass
"""


def test_while_a_module_that_swallows_it_is_imported(tmp_path):
    """As torch's import of numpy does; what follows would meet half a module."""
    (tmp_path / "swallows.py").write_text(SWALLOWS)
    code = "from edt.cli.streams import once\nwith once():\n    import swallows\nprint('went on')"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    told, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told, errors) == (130, "", "edt: interrupted\n")


def test_an_error_after_it_is_its_consequence(monkeypatch, capsys):
    """Whatever swallowed it may fall over what it had cut short."""

    def command(**_):
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(PATIENCE)
        raise AttributeError("module 'numpy' has no attribute 'matrix'")

    monkeypatch.setattr("typer.main.get_command", lambda _: SimpleNamespace(main=command))
    with pytest.raises(SystemExit) as stop:
        program(["doctor"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "edt: interrupted\n"


class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(PATIENCE)


def test_while_something_is_destroyed(monkeypatch, capsys):
    """Python drops what is raised there, and prints a traceback: it must come again instead."""

    def command(**_):
        Destroyed()
        time.sleep(PATIENCE)
        raise AssertionError("was not interrupted")

    monkeypatch.setattr("typer.main.get_command", lambda _: SimpleNamespace(main=command))
    with pytest.raises(SystemExit) as stop:
        program(["doctor"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "edt: interrupted\n"


def test_as_the_program_ends(monkeypatch):
    """The handler of the start is not the one of the end: no second line, nothing cut off."""
    before = signal.signal(signal.SIGINT, leave_at_once)
    try:
        with once():
            pass
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_workers_are_killed_whatever_the_process_does(monkeypatch):
    """The main thread may be in a long call; the thread that the signal wakes kills workers."""
    killed = threading.Event()
    monkeypatch.setattr(streams, "_kill_workers", killed.set)
    monkeypatch.setattr(streams, "WORKERS", 0.01)
    assert UNTIL_KILLED < 2.0
    with once():
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(PATIENCE)
        assert killed.wait(PATIENCE)


#: As it is: before a test changes it.
UNTIL_KILLED = streams.WORKERS


@linux
def test_with_workers(tmp_path):
    """One Ctrl-C or eight, also while a worker is stopped: a line, 130, and nobody is left.

    None finishes its shard of a minute, nor the others.
    """
    spec = tmp_path / "s.toml"
    spec.write_text(LONG.format(60))
    for times, stopped in ((1, False), (8, True)):
        folder = tmp_path / f"run-{times}-{stopped}"
        process = subprocess.Popen(
            [*EDT, "sweep", str(spec), "--out", str(folder), "--workers", "2", "--no-progress"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        workers = started(process)
        if stopped:
            os.kill(workers[0], signal.SIGSTOP)
        code, errors = interrupted(process, times)
        wait_for(lambda workers=workers: none_alive(workers))
        assert code == 130 and errors.count("\n") == 0 and "interrupted" in errors, errors
        assert "Traceback" not in errors


@linux
def test_a_stopped_worker_does_not_outlive_a_killed_parent(tmp_path):
    spec = tmp_path / "s.toml"
    spec.write_text(LONG.format(0.5))
    process = subprocess.Popen(
        [*EDT, "sweep", str(spec), "--out", str(tmp_path / "run"), "--workers", "2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    workers = started(process)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    process.kill()
    process.wait()
    wait_for(lambda: none_alive(workers))


def started(process):
    """The workers of a run, once they have come to what takes time: importing torch."""
    found = []

    def importing():
        found[:] = children(process.pid)
        with suppress(OSError):
            return found and all(b"libtorch" in maps_of(pid) for pid in found)
        return False

    wait_for(importing, process)
    return found


def maps_of(pid):
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    # Before it is a program of its own, it is a copy of its parent.
    is_worker = b"edt.runs.engines.worker" in command
    return Path(f"/proc/{pid}/maps").read_bytes() if is_worker else b""
