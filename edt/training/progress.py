"""Progress of a batched run: 10/50/90% loss quantiles, networks left, rate, time left."""

from __future__ import annotations

import math
import sys
import time
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from rich.progress import Progress


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2e}"


def quantiles(loss: torch.Tensor) -> str:
    """10, 50 and 90% quantiles of the finite losses as text."""
    finite = loss[torch.isfinite(loss)].to(torch.float64).sort().values
    if not finite.numel():
        return "no finite loss"
    ranks = (round(q * (finite.numel() - 1)) for q in (0.1, 0.5, 0.9))
    return "loss " + " / ".join(_short(float(finite[rank])) for rank in ranks)


class Meter:
    """A progress bar on stderr when it is a terminal (and rich is there); silent otherwise.

    Args:
        enabled: the caller's ``progress`` argument.
        label: what is running ("train", "L-BFGS", "Newton").
        total: units of work (steps, or networks).
    """

    def __init__(self, enabled: bool, label: str, total: int) -> None:
        self.live = bool(enabled) and sys.stderr.isatty() and find_spec("rich") is not None
        self.started = time.monotonic()
        self._first: int | None = None
        self._bar: Progress | None = None
        if self.live:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(label, total=max(total, 1), note="")

    def __enter__(self) -> Meter:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, left: int, loss: torch.Tensor, rate: str = "") -> None:
        """Show ``done`` units, ``left`` running networks and the quantiles of ``loss``."""
        if self._bar is None:
            return
        if self._first is None:
            self._first = done
        if not rate:
            elapsed = max(time.monotonic() - self.started, 1e-9)
            rate = f"{(done - self._first) / elapsed:,.0f} steps/s"
        self._bar.update(
            self._task, completed=done, note=f"{quantiles(loss)} · {left} left · {rate}"
        )

    def summary(self, text: str) -> None:
        """Print one closing line (only where the bar was shown)."""
        if self.live:
            from rich.console import Console

            Console(stderr=True).print(text, highlight=False)
