"""The ``edt`` program: its commands, and how errors reach people."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from edt import __version__
from edt.cli.bench import EPILOG as BENCH_EPILOG
from edt.cli.bench import bench
from edt.cli.claims import EPILOG as CLAIMS_EPILOG
from edt.cli.claims import claims
from edt.cli.demo import EPILOG, demo
from edt.cli.doctor import EPILOG as DOCTOR_EPILOG
from edt.cli.doctor import doctor
from edt.cli.outcome import Interrupted, console_for
from edt.cli.report import EPILOG as REPORT_EPILOG
from edt.cli.report import report
from edt.cli.run import run
from edt.cli.streams import INTERRUPTED, Once, once, plain_streams
from edt.cli.sweep import (
    EXPORT_EPILOG,
    RESUME_EPILOG,
    STATUS_EPILOG,
    SWEEP_EPILOG,
    export,
    resume,
    status,
    sweep,
)

#: Exit codes: wrong use or input, something broke, Ctrl-C.
USAGE, BROKEN = 2, 1

EPILOG_ALL = (
    "[bold]Exit codes[/bold]: 0 success, 1 something is broken, 2 wrong use or input, 3 unfinished "
    "(edt status), 130 Ctrl-C. Errors are one line on stderr; [cyan]--debug[/cyan] adds the "
    "traceback. [cyan]--json[/cyan] prints results for machines on stdout; everything else then "
    "goes to stderr."
)

app = typer.Typer(
    name="edt",
    help="Train many small masked networks at once, drive them to true minima, and see what width "
    "does.\n\nStart with [bold]edt demo[/bold]; if something does not work, [bold]edt "
    "doctor[/bold] says why.",
    epilog=EPILOG_ALL,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=EPILOG)(demo)
app.command(epilog=DOCTOR_EPILOG)(doctor)
app.command(epilog=CLAIMS_EPILOG)(claims)
app.command(epilog=SWEEP_EPILOG)(sweep)
app.command(epilog=STATUS_EPILOG)(status)
app.command(epilog=RESUME_EPILOG)(resume)
app.command(epilog=EXPORT_EPILOG)(export)
app.command(epilog=REPORT_EPILOG)(report)
app.command(epilog=BENCH_EPILOG)(bench)
app.add_typer(run)


def _version(show: bool) -> None:
    if show:
        print(f"edt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
    max_gb: Annotated[
        float | None,
        typer.Option(
            min=1e-3, metavar="N", help="Most memory that one file or task may ask for, in GB."
        ),
    ] = None,
    max_runs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most runs that one plan may have.")
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Options of every command; `main` has read ``--debug`` already."""
    from edt import limits

    # In the environment, so that workers have the same limits.
    for name, value in ((limits.CEILING, max_gb), (limits.MOST_RUNS, max_runs)):
        if value is not None:
            os.environ[name] = str(value)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program and exit.

    Errors are one line on stderr that says what is wrong; with ``--debug`` (anywhere on the line)
    a traceback follows. Exit codes: 0 success, 1 something is broken, 2 wrong use or input, 3
    unfinished (``edt status``), 130 Ctrl-C.

    Args:
        argv: arguments without the program's name; default `sys.argv`.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in given
    with plain_streams():
        try:
            with once() as ctrl_c:
                code = _run([word for word in given if word != "--debug"], debug, ctrl_c)
        except KeyboardInterrupt:  # on the way into what handles it, or out
            _complain("interrupted")
            code = INTERRUPTED
    sys.exit(code)


def _run(argv: list[str], debug: bool, ctrl_c: Once) -> int:
    command = typer.main.get_command(app)
    try:
        # Typer's own handler would print a traceback or swallow Ctrl-C.
        code = command.main(args=argv, prog_name="edt", standalone_mode=False)
        if code == INTERRUPTED:  # what Typer makes of Ctrl-C elsewhere
            _complain("interrupted")
        return code if isinstance(code, int) else 0
    except (Interrupted, KeyboardInterrupt, typer.Abort) as stop:
        _complain(str(stop) or "interrupted")
        return INTERRUPTED
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's usage errors
            _say_value(error)
            error.show()
            return USAGE
        if debug:
            Console(stderr=True).print_exception()
        if ctrl_c.seen:  # something swallowed it and fell over what it had cut short
            _complain("interrupted")
            return INTERRUPTED
        message, code = _explain(error)
        _complain(message if debug else message + _hint(code))
        return code


def _say_value(error: Any) -> None:
    """Have a usage error tell what was given, where the version of Typer leaves it out."""
    cause = getattr(error.__cause__, "errors", None)  # of pydantic
    if callable(cause) and hasattr(error, "message"):
        given = repr(cause()[0].get("input"))
        if given not in error.message:
            error.message = f"{error.message}, got {given:.60}"


def _explain(error: Exception) -> tuple[str, int]:
    """One line for a person, and the exit code."""
    if isinstance(error, ImportError):
        name = error.name or "a module"
        if name in ("edt._core", "edt") and "_core" in str(error):
            return (
                "the compiled core is missing or does not load; build it with 'make build' or "
                "'pip install .', and see 'edt doctor'",
                BROKEN,
            )
        return f"{name} cannot be imported ({error}); see 'edt doctor'", BROKEN
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}", BROKEN
    if isinstance(error, MemoryError):
        return str(error) or "out of memory; ask for fewer seeds or widths", BROKEN
    # Those of torch go on with where in its sources they were made.
    said = str(error).strip().partition("\n")[0]
    if isinstance(error, (ValueError, TypeError)):
        return said, USAGE
    return f"{type(error).__name__}: {said}", BROKEN


def _hint(code: int) -> str:
    return "" if code == USAGE else " (--debug shows where)"


def _complain(message: str) -> None:
    console_for(True, soft_wrap=True).print(f"[bold red]edt:[/] {escape(message)}")
