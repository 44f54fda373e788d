"""``edt run``: published results, done again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edt.cli.outcome import execute
from edt.cli.run import AsJson, Fresh, NoProgress, Out, Quick, Set, Threads, run, settings
from edt.places import place

if TYPE_CHECKING:
    from rich.console import Console

    from edt.studies import LossLevels, SafranShamirRun

SAFRAN_SHAMIR_EPILOG = """[bold]Examples[/bold]

[cyan]edt run safran-shamir --quick[/cyan] : seconds, to see that everything works

[cyan]edt run safran-shamir --extra 0[/cyan] : students as wide as their teachers, 15 cells

[cyan]edt run safran-shamir --teachers 6..12 --extra 0,1 --starts 5000 --out more[/cyan]"""

LOSS_LEVELS_EPILOG = """[bold]Examples[/bold]

[cyan]edt run loss-levels --quick[/cyan] : seconds, to see that everything works

[cyan]edt run loss-levels[/cyan] : minutes; 1,240 networks on 961 points

[cyan]edt run loss-levels --full --out full[/cyan] : the paper's 6,200 networks on 10,201 points; \
hours"""


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
    from edt.studies.reference_presets import safran_shamir_spec
    from edt.studies.safran_shamir.page import write_safran_shamir_report
    from edt.studies.safran_shamir.run import run_safran_shamir

    changes = {
        "teachers": numbers(teachers, "--teachers"), "extra": numbers(extra, "--extra"),
        "starts": starts, **settings(set_),
    }  # fmt: skip
    spec = safran_shamir_spec(quick=quick, **changes)
    folder = place(out or "edt-safran-shamir" + ("-quick" if quick else ""))
    headline = f"{len(spec.cells) * spec.starts:,} students in {len(spec.cells)} cells"
    execute(
        spec, folder, run_safran_shamir, write_safran_shamir_report, f"[bold]{headline}[/]",
        tables=lambda done: {"table": done.table()}, show=_show_safran_shamir, fresh=fresh,
        as_json=as_json, progress=not no_progress, threads=threads,
    )  # fmt: skip


def _show_safran_shamir(console: Console, done: SafranShamirRun) -> None:
    from edt.cli.tables import new_table
    from edt.show.words import span
    from edt.studies.safran_shamir.page import comparison, percent_or_dash, signed

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
            signed(row["difference"]) if known else "",
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


@run.command("loss-levels", epilog=LOSS_LEVELS_EPILOG)
def loss_levels(
    widths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Widths r. [dim]\\[1..5][/dim]")
    ] = None,
    starts: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Width r gets N 2^r starts. [dim]\\[10][/dim]"),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(min=2, metavar="N", help="Grid points per axis. [dim]\\[31][/dim]"),
    ] = None,
    activation: Annotated[
        str | None, typer.Option(metavar="NAME", help="Hidden activation. [dim]\\[g][/dim]")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="The paper's size: 101 points, 50 2^r starts; hours.")
    ] = False,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Sort the final losses of small networks on the modified Rosenbrock target.

    Figure 2 of arXiv 2506.14951: gradient flow from many starts at widths 1 to 5, without and with
    biases; minima, plateau saddles and channels to infinity, beside the reported shares.
    """
    from edt.studies import parse_widths
    from edt.studies.loss_levels.page import write_loss_levels_report
    from edt.studies.loss_levels.run import run_loss_levels
    from edt.studies.reference_presets import loss_levels_spec

    changes = {
        "widths": None if widths is None else parse_widths(widths), "starts": starts,
        "points": points, "activation": activation, **settings(set_),
    }  # fmt: skip
    spec = loss_levels_spec(quick=quick, full=full, **changes)
    kind = "-quick" if quick else "-full" if full else ""
    folder = place(out or "edt-loss-levels" + kind)
    headline = f"{spec.networks:,} networks on {spec.points**2:,} points"
    execute(
        spec, folder, run_loss_levels, write_loss_levels_report, f"[bold]{headline}[/]",
        tables=lambda done: done.summary(), show=_show_loss_levels, fresh=fresh,
        as_json=as_json, progress=not no_progress, threads=threads,
    )  # fmt: skip


def _show_loss_levels(console: Console, done: LossLevels) -> None:
    from edt.cli.tables import new_table
    from edt.show.words import number
    from edt.studies.loss_levels.page import findings
    from edt.studies.loss_levels.tables import ENDS

    found = done.table()
    table = new_table("Where starts end")
    ends = [word for word in ENDS if found[word].any() or word == "plateau"]
    for heading in ("biases", "r", "runs", *ends, "levels", "lowest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.to_dict("records"):
        table.add_row(
            "yes" if row["bias"] else "no",
            str(row["width"]) if row["width"] else "2+",
            f"{row['runs']:,}",
            *[f"{row[word]:,}" for word in ends],
            str(row["levels"]),
            number(row["lowest"]),
        )
    table.caption = (
        "r: width. plateau: saddles with repeated neurons. channel, infinity: no minimum at finite "
        "weights, with and without a pair of opponents. levels: distinct losses of minima."
    )
    console.print(table)
    for text in findings(found):
        console.print(f"\n{text}")
