"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program and exit; see `edt.cli.app.main`."""
    try:
        from edt.cli.app import main as run
    except ModuleNotFoundError as error:
        # Beside torch and numpy alone scripts work, commands do not.
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"edt: the command line needs {error.name}: pip install {error.name}")
    run(argv)
