"""What holds of every command: any stream, any name, any value, any failure of its work."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import re
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from finished_runs import SPECS
from small_pages import EMPTY
from typer.main import get_command

from edt.bench import Figure
from edt.cli import main as program
from edt.cli.app import app
from edt.runs.values import hints_of
from edt.studies.claims import run as claims
from edt.studies.registry import STUDIES
from edt.studies.study import Study


def commands(group, path=()):
    """Every command of the program with its words, and its options made."""
    for name in group.list_commands(None):
        group.asked = name
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(get_command(app)))
each = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
#: What does the work of each command; "run" stands for all studies.
WORK = {
    "demo": "edt.studies.width_sweep",
    "doctor": "edt.cli.health.examine",
    "claims": "edt.studies.claims.run.run_claims",
    "sweep": "edt.runs.sweeps.sweep",
    "status": "edt.studies.kinds.status",
    "resume": "edt.studies.kinds.resume",
    "export": "edt.studies.exports.export",
    "report": "edt.studies.reporting.report_on",
    "bench": "edt.bench.measure",
    "run": "edt.runs.experiment.Experiment.run",
}


def test_every_command_is_here():
    assert {words[0] for words in COMMANDS} == set(WORK)
    assert {words[1] for words in COMMANDS if words[0] == "run"} == set(STUDIES)


def code_of(arguments):
    """Exit code of the program."""
    with pytest.raises(SystemExit) as stop:
        program([str(word) for word in arguments])
    return stop.value.code or 0


def on_nothing(words, folder, spec="spec.toml"):
    """The command, with the arguments that it must have; a spec is written where the test works."""
    if words == ("sweep",):
        spec = Path(spec)
        spec.write_text('task = "xor"\n[grid]\nseed = "0..9"\nsteps = 5\n')
        return [*words, spec]
    return [*words, folder] if words[0] in ("status", "resume", "export", "report") else [*words]


@pytest.fixture
def on_finished_work(finished, tmp_path, monkeypatch):
    """The command where all its work is done already, in a folder of the name; and the folder."""
    monkeypatch.setattr("edt.show.publish.themed_svg", lambda draw: EMPTY)
    monkeypatch.setattr(Study, "spec", lambda study, task=None, **_: SPECS[study.kind])
    monkeypatch.setattr("edt.studies.demo_spec", lambda *_, **__: SPECS["width-sweep"])
    monkeypatch.setattr("edt.bench.measure", lambda quick: [Figure("a – b", 1.0, peer=2.0)])

    # Pages take seconds each, and have tests of their own; those of sweeps are written here, too.
    def page(done, folder):
        (folder / "report.html").write_text("a page")
        return folder / "report.html"

    monkeypatch.setattr("edt.studies.width.page.write_report", page)
    of = Study.of
    monkeypatch.setattr(
        Study, "of", lambda study, file, name: page if file == "page" else of(study, file, name)
    )
    for name, study in claims.STUDIES.items():
        spec = partial(lambda kind, quick: SPECS[kind], name)
        monkeypatch.setitem(
            claims.STUDIES, name, dataclasses.replace(study, spec=spec, report=page)
        )

    def ready(words, name):
        folder = tmp_path / name
        if words == ("claims",):
            for study in claims.STUDIES:
                finished(study, folder / study)
        elif words not in (("bench",), ("doctor",)):
            kind = {"run": words[-1], "demo": "width-sweep"}.get(words[0], "sweep")
            finished(kind, folder)
        line = on_nothing(words, folder, tmp_path / "spec.toml")
        if words == ("sweep",):
            spec = SPECS["sweep"].to_dict()
            grid = "".join(f"{axis} = {json.dumps(v)}\n" for axis, v in spec["grid"].items())
            line[1].write_text(f'task = "xor"\n[grid]\n{grid}')
        wants_out = words[0] in ("run", "demo", "claims", "sweep")
        return [*line, "--out", folder] if wants_out else line, folder

    return ready


@contextmanager
def streams(out, err):
    """Other standard streams for a while."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def ascii_terminal():
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)


def written(stream):
    return stream.buffer.getvalue().decode("ascii")


def lost():
    """A stream whose reader has gone away."""
    source, sink = os.pipe()
    os.close(source)
    return os.fdopen(sink, "w", encoding="utf-8")


@each
def test_finished_work_on_an_ascii_terminal_in_a_folder_of_markup(words, on_finished_work):
    """Rich takes ``[/]`` for a tag that closes nothing, and an ASCII terminal takes no dash."""
    line, folder = on_finished_work(words, "d[/]x[bold]")
    out, err = ascii_terminal(), ascii_terminal()
    with streams(out, err):
        code = code_of(line)
    told, said = written(out), written(err)
    assert code == 0, said
    assert told.strip() and "Traceback" not in said
    if words not in (("bench",), ("doctor",)):
        assert folder.name in "".join(told.split())


@each
def test_finished_work_whose_readers_are_gone(words, on_finished_work):
    """As under ``2>&1 | head -c 0``, words and JSON: what was done counts."""
    line, folder = on_finished_work(words, "run")
    for report in folder.glob("*.html"):
        report.unlink()
    out, err = lost(), lost()
    with streams(out, err):
        assert code_of(line) == 0
        assert code_of([*line, "--json"]) == 0
    out.close()
    err.close()
    wrote = {"export": "export/runs.csv", "status": "edt.json"}.get(words[0], "report.html")
    assert words[0] in ("bench", "doctor") or (folder / wrote).is_file()


#: What work may end in, the exit code, and what a person is told.
ENDS = [
    (KeyboardInterrupt(), 130, "interrupted"),
    (OSError(errno.ENOSPC, "No space left on device", "some/file"), 1, "some/file: No space left"),
    (MemoryError(), 1, "out of memory"),
    (ImportError("no module", name="plotly"), 1, "plotly cannot be imported"),
    (RuntimeError("something [/] broke"), 1, "RuntimeError: something [/] broke"),
    (RuntimeError("torch's\nException raised from here\nframe #1"), 1, "RuntimeError: torch's"),
    (RecursionError(), 1, "RecursionError"),
    (ValueError("argument must be this, got [/bold]"), 2, "must be this, got [/bold]"),
    (TypeError("argument must be that"), 2, "argument must be that"),
]


@each
def test_exit_codes_are_those_documented(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = on_nothing(words, tmp_path / "run")
    for error, code, says in ENDS:

        def work(*_, error=error, **__):
            raise error

        monkeypatch.setattr(WORK[words[0]], work)
        assert code_of(line) == code, error
        told = capsys.readouterr()
        assert says in " ".join(told.err.split()) and "Traceback" not in told.err, told.err
        assert told.err.startswith("edt: ") and told.err.count("\n") == 1, told.err


class Ran(Exception):
    """The work of a command was asked for."""


#: Words where numbers, lists and names belong, and numbers beyond all sense.
VALUES = ("", "abc", "-1", "nan", "1e400", "[/]", "1..99999999999", "2020-01-01", "9" * 30)
#: Options that take any text: they name something.
ANY = {"--out", "--confirm", "--address", "--folder", "--to"}


def options():
    """Every option with a value, once for each field that it sets: (words, option)."""
    seen = set()
    for words, command in COMMANDS.items():
        spec = STUDIES[words[1]].experiment.spec_type if words[0] == "run" else None
        kinds = hints_of(spec) if spec else {}
        for option in command.params:
            flag = next((word for word in option.opts if word.startswith("--")), None)
            if flag is None or getattr(option, "is_flag", False) or flag in ANY | {"--set"}:
                continue
            known = (flag, words if spec is None else kinds.get(option.name))
            if known not in seen:
                seen.add(known)
                yield words, flag


@pytest.mark.parametrize(("words", "flag"), list(options()), ids=lambda one: "".join(one))
def test_values_without_sense_are_named(words, flag, tmp_path, monkeypatch, capsys):
    """The option or field, what was given, and what is allowed; nothing is written."""
    monkeypatch.chdir(tmp_path)

    def ran(*_, **__):
        raise Ran

    for work in WORK.values():
        monkeypatch.setattr(work, ran)
    line = on_nothing(words, tmp_path / "run")
    before = set(tmp_path.iterdir())
    took = []
    for value in VALUES:
        code = code_of([*line, f"{flag}={value}"])
        said = " ".join(capsys.readouterr().err.split())
        assert "Traceback" not in said
        if code == 1:
            assert said.startswith("edt: Ran"), (value, said)
            took.append(value)
            continue
        assert code == 2 and (flag in said or flag[2:].replace("-", "_") in said), (value, said)
        assert re.search(r"must|allows more|valid|greater|less|for --", said), (value, said)
        plain = said.replace(",", "").replace("inf", "1e400").replace("1e+30", "9" * 30)
        assert value in plain or "-1" in value or "runs" in said, (value, said)
    assert set(tmp_path.iterdir()) == before
    assert len(took) < len(VALUES), took


@each
def test_a_folder_that_is_none_is_refused(words, tmp_path, monkeypatch, capsys):
    """A pipe, a device or a file where the directory of a run belongs."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("mine")
    takes = words[0] in ("run", "demo", "claims", "sweep", "status", "resume", "export", "report")
    for place in (tmp_path / "pipe", tmp_path / "file", "/dev/zero") if takes else ():
        line = on_nothing(words, place)
        wants_out = words[0] in ("run", "demo", "claims", "sweep")
        code = code_of([*line, "--out", place] if wants_out else line)
        said = capsys.readouterr().err
        assert code in (1, 2) and str(place) in said.replace("\n", ""), (place, code, said)
    assert (tmp_path / "file").read_text() == "mine"
