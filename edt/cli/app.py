"""The command line: one function a verb, errors in one line, documented exit codes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from edt.cli import demo, doctor
from edt.errors import EdtError

app = typer.Typer(
    name="edt",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Escape Dimensions Toolkit: what does width do to a loss landscape?\n\n"
        "Exit codes: 0 done, 1 something is wrong with the input or the machine, 2 wrong use of "
        "the command line, 130 interrupted (the same command resumes)."
    ),
)
app.command("demo", epilog=demo.EPILOG)(demo.demo)
app.command("doctor")(doctor.doctor)

_state = {"debug": False}


def _version(wanted: bool) -> None:
    if wanted:
        from edt import __version__

        print(f"edt {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the verb."""
    _state["debug"] = debug


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        code = app(args=arguments, prog_name="edt", standalone_mode=False)
    except typer.Abort:
        code = 130
    except KeyboardInterrupt:
        print(
            "edt: interrupted; finished parts are kept, the same command goes on", file=sys.stderr
        )
        code = 130
    except (EdtError, ValueError, TypeError, OSError) as error:
        if _state["debug"]:
            raise
        print(f"edt: {error}", file=sys.stderr)
        code = 1
    except Exception as error:
        # typer's own errors (wrong option, wrong value) know how to show themselves.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        code = int(getattr(error, "exit_code", 2))
    return int(code or 0)
