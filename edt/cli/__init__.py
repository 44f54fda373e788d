"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Sequence

from edt.cli.streams import leave_at_once

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program and exit; see `edt.cli.app.main`."""
    own = argv is None and threading.current_thread() is threading.main_thread()
    if own:
        # Before torch and the like are imported, which takes a second and cannot be cut short well.
        signal.signal(signal.SIGINT, leave_at_once)
        # Modules, tables and figures make many objects that stay: looking for those that do not is
        # a seventh of what a report takes.
        gc.set_threshold(50_000, 20, 20)
    try:
        from edt.cli.app import main as run
    except ModuleNotFoundError as error:
        # Beside torch and numpy alone scripts work, commands do not.
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"edt: the command line needs {error.name}: pip install {error.name}")
    try:
        run(argv)
    finally:
        if own:  # what is left is the interpreter's own end
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            # It would look through everything for cycles first: most of a second.
            gc.freeze()
