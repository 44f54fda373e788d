"""Completion: the script of each shell, its installation, and what it offers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

PROGRAM = [sys.executable, "-m", "edt"]
#: Where each shell finds its completions, below the home directory.
FILES = {
    "bash": (".bash_completions/edt.sh", "complete -o default -F _edt_completion edt"),
    "zsh": (".zfunc/_edt", "#compdef edt"),
    "fish": (".config/fish/completions/edt.fish", "complete --command edt"),
}
#: How each asks what may follow "edt st".
QUESTIONS = {
    "bash": {"COMP_WORDS": "edt st", "COMP_CWORD": "1"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "edt st"},
    "fish": {"_TYPER_COMPLETE_ARGS": "edt st", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


def edt(*words, **environment):
    return subprocess.run(
        [*PROGRAM, *words], env={**os.environ, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("shell", FILES)
def test_installs_what_it_shows(shell, tmp_path):
    # Otherwise the shell is that of the process above, which is not ours to choose here.
    chosen = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    shown = edt("--show-completion", shell, **chosen)
    assert shown.returncode == 0 and FILES[shell][1] in shown.stdout
    assert list(tmp_path.iterdir()) == []
    installed = edt("--install-completion", shell, **chosen)
    assert installed.returncode == 0, installed.stderr
    assert (tmp_path / FILES[shell][0]).read_text().strip() == shown.stdout.strip()


@pytest.mark.parametrize("shell", QUESTIONS)
def test_offers_commands(shell):
    found = edt(_EDT_COMPLETE=f"complete_{shell}", **QUESTIONS[shell])
    assert "status" in found.stdout and "resume" not in found.stdout


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_in_a_real_bash(tmp_path):
    program = tmp_path / "edt"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edt "$@"\n')
    program.chmod(0o755)
    script = edt(_EDT_COMPLETE="source_bash").stdout
    asked = f"{script}\nCOMP_WORDS=(edt run los); COMP_CWORD=2; _edt_completion edt\n"
    found = subprocess.run(
        ["bash", "-c", asked + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.split() == ["loss-levels"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_parse(shell):
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    script = edt(_EDT_COMPLETE=f"source_{shell}").stdout
    subprocess.run([shell, "-n"], input=script, text=True, check=True)
