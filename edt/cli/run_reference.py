"""``edt run``: published results, done again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edt.cli.outcome import execute
from edt.cli.run import AsJson, Fresh, NoProgress, Out, Quick, Set, Threads, run, settings

if TYPE_CHECKING:
    from rich.console import Console

    from edt.experiments import SafranShamirRun

SAFRAN_SHAMIR_EPILOG = """[bold]Examples[/bold]

[cyan]edt run safran-shamir --quick[/cyan] : seconds, to see that everything works

[cyan]edt run safran-shamir --extra 0[/cyan] : students as wide as their teachers, 15 cells

[cyan]edt run safran-shamir --teachers 6..12 --extra 0,1 --starts 5000 --out more[/cyan]"""


def numbers(text: str | None, option: str) -> tuple[int, ...] | None:
    """Whole numbers from ``"0,1,2"`` or ``"0..2"``, rising.

    Raises:
        ValueError: not of that form; the message names the option.

    Example:
        >>> numbers("0..2,5", "--extra")
        (0, 1, 2, 5)
    """
    if text is None:
        return None
    found: set[int] = set()
    try:
        for part in text.replace(" ", "").split(","):
            first, dots, last = part.partition("..")
            found |= set(range(int(first), int(last if dots else first) + 1))
    except ValueError:
        raise ValueError(f"{option} must look like 0,1,2 or 0..2, got {text!r}") from None
    return tuple(sorted(found))


@run.command("safran-shamir", epilog=SAFRAN_SHAMIR_EPILOG)
def safran_shamir(
    teachers: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Teacher widths k. [dim]\\[6..20][/dim]"),
    ] = None,
    extra: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Neurons of students beyond k. [dim]\\[0,1,2][/dim]"),
    ] = None,
    starts: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Starts a cell. [dim]\\[1000][/dim]")
    ] = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Count spurious minima of relu students of orthonormal teachers, over all normal inputs.

    The table of Safran and Shamir (2018): gradient descent with step 0.1 on the population loss in
    closed form, from many starts; ours beside the reported shares, with tests of the difference.
    """
    from edt.experiments.reference_presets import safran_shamir_spec
    from edt.experiments.safran_shamir import run_safran_shamir
    from edt.report.safran_shamir import write_safran_shamir_report

    changes = {
        "teachers": numbers(teachers, "--teachers"), "extra": numbers(extra, "--extra"),
        "starts": starts, **settings(set_),
    }  # fmt: skip
    spec = safran_shamir_spec(quick=quick, **changes)
    folder = out or Path("edt-safran-shamir" + ("-quick" if quick else ""))
    headline = f"{len(spec.cells) * spec.starts:,} students in {len(spec.cells)} cells"
    execute(
        spec, folder, run_safran_shamir, write_safran_shamir_report, f"[bold]{headline}[/]",
        tables=lambda done: {"table": done.table()}, show=_show_safran_shamir, fresh=fresh,
        as_json=as_json, progress=not no_progress, threads=threads,
    )  # fmt: skip


def _show_safran_shamir(console: Console, done: SafranShamirRun) -> None:
    from edt.cli.tables import new_table
    from edt.report.safran_shamir import comparison, percent_or_dash
    from edt.report.words import span

    found = done.table()
    table = new_table("Starts that end in a spurious minimum")
    for heading in ("k", "n", "spurious", "share", "reported", "difference", "p", "levels"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.to_dict("records"):
        known = row["rate_reported"] == row["rate_reported"]
        table.add_row(
            str(row["teacher"]),
            str(row["student"]),
            f"{row['spurious']:,}/{row['starts']:,}",
            f"{percent_or_dash(row['rate'])} [dim]{span(row['rate_low'], row['rate_high'])}[/]",
            percent_or_dash(row["rate_reported"]),
            f"{100 * row['difference']:+.1f}" if known else "",
            f"{row['p_adjusted']:.2g}" if known else "",
            str(row["levels"]),
        )
    table.caption = (
        "k, n: neurons of teacher and student. share: with 95% Wilson interval. reported: "
        "unverified. difference: in points. p: Fisher's exact test, adjusted by Holm's method. "
        "levels: distinct losses of spurious ends."
    )
    console.print(table)
    console.print(f"\n{comparison(found)}")
