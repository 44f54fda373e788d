"""Every command: options, help, errors in one line, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from patience import PATIENCE, wait_for
from typer.main import get_command

from edt.cli import main as program
from edt.cli.app import app
from edt.runs.store import PartFiles, in_use
from edt.studies.kinds import status

SWEEP = """
task = "xor"
shard_seconds = 0.0006
[grid]
seed = "0..1999"
steps = 3000
"""


def commands(group, path=()):
    """Every command of the program with its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(get_command(app)))
#: Commands that cannot be given wrong input, only wrong options.
INNOCENT = [("bench",), ("doctor",)]


def wrong(words):
    """What makes a command fail for a reason that it finds itself."""
    if words[0] == "run":
        return ["--set", "nonsense=1"]
    if words == ("claims",):
        return ["--out", "nonsense://here"]
    return ["--task", "nonsense"] if words == ("demo",) else ["nonsense"]


def main(arguments):
    """Exit code of the program."""
    with pytest.raises(SystemExit) as stop:
        program([str(word) for word in arguments])
    return stop.value.code or 0


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_json_and_help_with_examples(words, capsys):
    options = {option for param in COMMANDS[words].params for option in param.opts}
    assert "--json" in options
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples" in text and f"edt {' '.join(words)}" in text


@pytest.mark.parametrize("words", [w for w in COMMANDS if w not in INNOCENT], ids=" ".join)
def test_errors_are_one_line_and_debug_shows_the_traceback(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, *wrong(words)]) == 2
    quiet = capsys.readouterr()
    assert quiet.err.startswith("edt: ") and quiet.err.count("\n") == 1
    assert "nonsense" in quiet.err and "Traceback" not in quiet.err and not quiet.out
    assert main([*words, *wrong(words), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_unknown_options_are_wrong_use(words, capsys):
    assert main([*words, "--no-such-option"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_failed_shards_are_code_1(tmp_path, monkeypatch, capsys):
    import edt.runs.sweeps.shard as module

    (tmp_path / "spec.toml").write_text('task = "xor"\ngrid = {steps = 1}\n')
    monkeypatch.setattr(module, "masked_train", lambda *a, **b: 1 / 0)
    arguments = ["sweep", tmp_path / "spec.toml", "--out", tmp_path / "run", "--workers", "0"]
    assert main(arguments) == 1
    error = capsys.readouterr().err.replace("\n", " ")
    assert "1 of 1 parts failed" in error and "Traceback" not in error
    assert main(["status", tmp_path / "run", "--json"]) == 3
    (failure,) = json.loads(capsys.readouterr().out)["failures"]
    assert "ZeroDivisionError" in failure["error"]


def test_a_full_disk_is_code_1(tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(PartFiles, "write", full)
    assert main(["run", "xor", "--quick", "--out", tmp_path / "run"]) == 1
    error = capsys.readouterr().err
    assert "somewhere: No space left on device" in error and "Traceback" not in error


@pytest.mark.parametrize("kind", ["sweep", "starting", "run"])
def test_ctrl_c_is_code_130_and_keeps_what_is_done(kind, tmp_path):
    """SIGINT for the whole group, as a terminal sends it, also while workers still start."""
    folder = tmp_path / "run"
    (tmp_path / "spec.toml").write_text(SWEEP)
    words = (
        ["sweep", str(tmp_path / "spec.toml"), "--workers", "2"]
        if kind != "run"
        else ["run", "xor", "--widths", "2..20", "--seeds", "300"]
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "edt", *words, "--out", str(folder), "--no-progress"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    pattern = "session.json" if kind == "starting" else "parts/*.manifest.json"
    wait_for(lambda: list(folder.glob(pattern)), process)
    if kind == "starting":
        time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, error
    assert "interrupted; finished parts are in" in error and "Traceback" not in error
    found = status(folder)
    assert found.parts_done < found.parts and not found.failures and not in_use(folder)
    assert found.parts_done > 0 or kind == "starting"
