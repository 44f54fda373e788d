"""What every experiment's command does around the experiment: start, report, tell."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.segment import Segment

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from edt.locations import Folder


class Interrupted(Exception):
    """Ctrl-C, with what a person should know; Typer would end silently at a KeyboardInterrupt."""


def console_for(as_json: bool, *, soft_wrap: bool = False) -> Console:
    """Where words go: to standard error when standard output carries JSON.

    Characters that steer terminals are shown, not sent: names and notes in a directory may be a
    stranger's.
    """
    from rich.console import Console

    class Tame(Console):
        def render(self, *words: Any, **options: Any) -> Iterator[Segment]:
            for text, style, control in super().render(*words, **options):
                yield Segment(text if control else text.translate(_SHOWN), style, control)

    return Tame(stderr=as_json, highlight=False, soft_wrap=soft_wrap)


#: Control characters but for line breaks and tabs, as their escapes.
_SHOWN = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
}


def interrupted(folder: Folder) -> Interrupted:
    """What is raised when a run in a folder is stopped by Ctrl-C."""
    return Interrupted(
        f"interrupted; finished parts are in {folder}/, 'edt resume {folder}' goes on"
    )


def execute(
    spec: Any,
    folder: Folder,
    start: Callable[..., Any],
    report: Callable[[Any, Folder], Folder],
    headline: str,
    *,
    tables: Callable[[Any], Mapping[str, pd.DataFrame]],
    show: Callable[[Console, Any], None],
    fresh: bool,
    as_json: bool,
    progress: bool,
    threads: int | None,
) -> None:
    """Run an experiment, write its report, and say where it is.

    Args:
        spec, folder: what to run and where.
        start: ``start(spec, folder, fresh=, progress=)`` runs it.
        report: writes the page, returns its path.
        headline: what is about to run.
        tables: of the result, for ``--json``.
        show: prints the result.
        fresh, as_json, progress, threads: the command's options.
    """
    import torch

    from edt.ops.threads import check_threads
    from edt.show.publish import figures_kept

    if threads is not None:
        torch.set_num_threads(check_threads(threads))
    console = console_for(as_json)
    console.print(f"{headline} -> {escape(str(folder))}/")
    started = time.monotonic()
    try:
        done = start(spec, folder, fresh=fresh, progress=progress)
    except KeyboardInterrupt:
        raise interrupted(folder) from None
    with console.status("report") as shown, figures_kept(tell=shown.update):
        path = report(done, folder)
    took = time.monotonic() - started
    found = {
        "directory": str(folder),
        "report": str(path),
        **({"runs": str(folder / "runs.parquet")} if "runs" in done.tables else {}),
    }
    tell(console, done, found, took, tables=tables, show=show, as_json=as_json)


def tell(
    console: Console,
    done: Any,
    facts: Mapping[str, Any],
    seconds: float,
    *,
    tables: Callable[[Any], Mapping[str, pd.DataFrame]],
    show: Callable[[Console, Any], None],
    as_json: bool,
) -> None:
    """Print a finished run; in JSON, numbers that are not finite become null."""
    if as_json:
        found = {
            **facts,
            "spec": done.spec.to_dict(),
            "spec_digest": done.spec.digest,
            "seconds": round(seconds, 2),
            **{name: json.loads(t.to_json(orient="records")) for name, t in tables(done).items()},
        }
        print(json.dumps(found, indent=1, allow_nan=False))
        return
    show(console, done)
    report = escape(str(facts["report"]))
    console.print(f"\n[bold]Report[/]: {report}  [dim]({seconds:.0f} s)[/]")
