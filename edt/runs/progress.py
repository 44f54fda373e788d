"""One progress bar for a whole experiment, in units of predicted cost, with the time left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Tracker:
    """Shows what runs now and how much is done; see `tracker`."""

    def __init__(self, bar: Progress | None, total: float) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("starting", total=total)

    def now(self, text: str) -> None:
        """Name what is running."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text)

    def done(self, cost: float) -> None:
        """Add finished work."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, cost)


@contextmanager
def tracker(enabled: bool, total: float) -> Iterator[Tracker]:
    """A progress bar on stderr when it is a terminal; silent otherwise.

    Args:
        enabled: the caller's ``progress`` argument.
        total: predicted cost of everything, in any unit.
    """
    if not enabled or not sys.stderr.isatty():
        yield Tracker(None, total)
        return
    bar = Progress(
        TextColumn("{task.description:<34}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        yield Tracker(bar, total)
