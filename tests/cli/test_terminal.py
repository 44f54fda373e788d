"""Pipes, ASCII terminals, odd names and Ctrl-C at any moment, on real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from edt.cli import main as program
from edt.cli.outcome import console_for
from edt.runs.store import PartFiles
from edt.runs.sweeps import SweepSpec, sweep

SMALL = SweepSpec(task="xor", grid={"seed": "0..3", "steps": 20, "init": ["he", "glorot"]})
#: One that takes minutes, in many shards, with workers.
LONG = (
    'task = "xor"\nshard_seconds = 0.5\n[grid]\nseed = "0..3999"\nsteps = 20000\nwidth = [16, 32]\n'
)
EDT = [sys.executable, "-m", "edt"]
linux = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")


@pytest.fixture
def finished(tmp_path):
    folder = tmp_path / "run"
    sweep(SMALL, folder, workers=0)
    return folder


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone_within(seconds, pids):
    end = time.monotonic() + seconds
    while any(map(alive, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


# Streams ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["export"], ["export", "--json"], ["resume", "--json"]])
def test_a_reader_that_goes_away(finished, words):
    """As under ``| head -c 0``: the work is done, and nothing is said of it."""
    source, sink = os.pipe()
    os.close(source)
    done = subprocess.run(
        [*EDT, words[0], str(finished), *words[1:]], stdout=sink, stderr=subprocess.PIPE, text=True
    )
    os.close(sink)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert words[0] != "export" or (finished / "export" / "runs.csv").is_file()


def test_an_ascii_terminal(finished):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*EDT, "resume", str(finished)], capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii") and b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["d[/]x", "[bold]", "a[red]b[/red]", "dé–f", "e\\", "x\x1b[31my"])
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
    """Ctrl-C so many times; what a person sees of it, and the seconds it took."""
    clock = time.monotonic()
    for _ in range(times):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors.strip(), time.monotonic() - clock


@pytest.mark.parametrize("times", [1, 8])
def test_during_the_start(tmp_path, times):
    """From the first lines of the program on; before these there is only Python's own start."""
    spec = tmp_path / "s.toml"
    spec.write_text(LONG)
    code = "import sys; print('here', flush=True); from edt.cli import main; main()"
    draw = random.Random(times)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", code, "sweep", str(spec), "--out", str(tmp_path / "run")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout.readline() == "here\n"
        time.sleep(0.1 + draw.uniform(0.0, 3.0))
        code_, errors, _ = interrupted(process, times)
        lines = [line for line in errors.splitlines() if line]
        assert code_ == 130, (code_, errors)
        assert len(lines) == 1 and lines[0].startswith("edt: interrupted"), (code_, errors)


SWALLOWS = """
import time
print("here", flush=True)
try:
    time.sleep(30)
except BaseException:
    pass
"""


def test_while_a_module_that_swallows_it_is_imported(tmp_path):
    """As torch's import of numpy does; what follows would meet half a module."""
    (tmp_path / "swallows.py").write_text(SWALLOWS)
    code = "from edt.cli.terminal import once\nwith once():\n    import swallows\nprint('went on')"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    told, errors = process.communicate(timeout=20)
    assert (process.returncode, told, errors) == (130, "", "edt: interrupted\n")


def test_an_error_after_it_is_its_consequence(monkeypatch, capsys):
    """Whatever swallowed it may fall over what it had cut short."""

    def command(**_):
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5.0)
        raise AttributeError("module 'numpy' has no attribute 'matrix'")

    monkeypatch.setattr("typer.main.get_command", lambda _: SimpleNamespace(main=command))
    with pytest.raises(SystemExit) as stop:
        program(["doctor"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "edt: interrupted\n"


@linux
@pytest.mark.parametrize(("times", "stopped"), [(1, False), (8, False), (1, True), (8, True)])
def test_with_workers(tmp_path, times, stopped):
    """Also one that is stopped: gone within two seconds, a line, 130, and what was done stays."""
    spec = tmp_path / "s.toml"
    spec.write_text(LONG)
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [*EDT, "sweep", str(spec), "--out", str(folder), "--workers", "2", "--no-progress"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 90
    while not children(process.pid):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    workers = children(process.pid)
    time.sleep(0.5)
    if stopped:
        os.kill(workers[0], signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    assert gone_within(2.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), workers)
    code, errors, _ = interrupted(process, times - 1)
    assert code == 130 and errors.count("\n") == 0 and "interrupted" in errors, errors
    assert "Traceback" not in errors


@linux
def test_a_stopped_worker_does_not_outlive_a_killed_parent(tmp_path):
    spec = tmp_path / "s.toml"
    spec.write_text(LONG)
    process = subprocess.Popen(
        [*EDT, "sweep", str(spec), "--out", str(tmp_path / "run"), "--workers", "2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 90
    parts = tmp_path / "run" / "parts"
    while not (children(process.pid) and list(parts.glob("*.manifest.json"))):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    time.sleep(4.0)  # it has begun by now
    workers = children(process.pid)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    process.kill()
    process.wait()
    assert gone_within(5.0, workers)
