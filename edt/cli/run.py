"""``edt run``: the experiments on lottery tickets."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edt.cli.outcome import execute
from edt.places import place

if TYPE_CHECKING:
    from edt.places import Folder
    from edt.runs.experiment import Experiment, Spec

run = typer.Typer(
    name="run",
    help="Run an experiment: writes tables, figures and report.html; Ctrl-C is safe, the same "
    "command goes on where it stopped.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

PERTURB_REST_EPILOG = """[bold]Examples[/bold]

[cyan]edt run perturb-rest --quick[/cyan] : seconds, to see that everything works

[cyan]edt run perturb-rest --change flip --tickets 40 --out flips[/cyan]"""

MULTI_START_EPILOG = """[bold]Examples[/bold]

[cyan]edt run multi-start --quick[/cyan] : seconds, to see that everything works

[cyan]edt run multi-start --widths 4..16:4 --seeds 200[/cyan]"""

LOTTERY_EPILOG = """[bold]Examples[/bold]

[cyan]edt run lottery --quick[/cyan] : seconds, to see that everything works

[cyan]edt run lottery --task digits --set rounds=8[/cyan]"""


Out = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where to write: a directory or a URL.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Small: done in seconds.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Delete an earlier edt run in DIR and start over.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="No progress bar.")]
Threads = Annotated[int | None, typer.Option(min=1, metavar="N", help="Threads.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Any field of the spec; may be repeated."),
]


def settings(given: list[str] | None) -> dict[str, Any]:
    """Fields from ``name=value`` words; values are Python literals, or else text.

    Raises:
        ValueError: a word without ``=``.

    Example:
        >>> settings(["width=6", "sizes=(0.5, 1.0)", "change=noise"])
        {'width': 6, 'sizes': (0.5, 1.0), 'change': 'noise'}
    """
    out: dict[str, Any] = {}
    for word in given or []:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise ValueError(f"--set must look like FIELD=VALUE, got {word!r}")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        out[name.strip().replace("-", "_")] = list(value) if isinstance(value, list) else value
    return out


def sizes_of(text: str | None) -> tuple[float, ...] | None:
    """Numbers from ``"0.5,1,2"``.

    Raises:
        ValueError: not numbers.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--sizes must look like 0.5,1,2, got {text!r}") from None


def carry_out(
    spec: Spec,
    folder: Folder,
    start: Callable[..., Experiment],
    report: Callable[[Any, Folder], Folder],
    headline: str,
    **options: Any,
) -> None:
    """`edt.cli.outcome.execute` with the tables of the experiment's summary."""
    from edt.cli.tables import print_experiment

    execute(
        spec,
        folder,
        start,
        report,
        f"[bold]{headline}[/]",
        tables=lambda done: done.summary(),
        show=lambda console, done: print_experiment(console, done.summary()),
        **options,
    )


@run.command("perturb-rest", epilog=PERTURB_REST_EPILOG)
def perturb_rest(
    task: Annotated[
        str, typer.Option(metavar="NAME", help="What is learned: teacher-student.")
    ] = "teacher-student",
    ticket: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="matched, planted or magnitude. [dim]\\[matched][/dim]"),
    ] = None,
    change: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="resample, noise, replace, rescale, flip, permute, zero. [dim]\\[resample][/dim]",
        ),
    ] = None,
    sizes: Annotated[
        str | None, typer.Option(metavar="LIST", help="Sizes of the change, like 0.5,1,2.")
    ] = None,
    tickets: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Winning tickets. [dim]\\[20][/dim]")
    ] = None,
    rests: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Rests per ticket and size. [dim]\\[200][/dim]"),
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Student width. [dim]\\[8][/dim]")
    ] = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Keep winning tickets, change everything around them, and see whether they still win.

    Tickets are subnetworks that win alone. Each keeps its initial weights and its place while the
    rest of the network is changed in many ways; the whole network is trained; win rate against
    the size of the change, with intervals and controls.
    """
    from edt.studies.perturb_rest.run import run_perturb_rest
    from edt.studies.presets import perturb_spec
    from edt.studies.reports import write_perturb_report

    changes = {
        "task": task, "ticket": ticket, "change": change, "sizes": sizes_of(sizes),
        "tickets": tickets, "rests": rests, "width": width, **settings(set_),
    }  # fmt: skip
    spec = perturb_spec(quick=quick, **changes)
    folder = place(out or "edt-perturb-rest" + ("-quick" if quick else ""))
    headline = f"{spec.trainings:,} networks around {spec.tickets} winning tickets"
    carry_out(
        spec, folder, run_perturb_rest, write_perturb_report, headline, fresh=fresh,
        as_json=as_json, progress=not no_progress, threads=threads,
    )  # fmt: skip


@run.command("multi-start", epilog=MULTI_START_EPILOG)
def multi_start(
    task: Annotated[
        str, typer.Option(metavar="NAME", help="What is learned: teacher-student.")
    ] = "teacher-student",
    widths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Widths, like 4,8,12 or 4..16:4.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Networks per width and teacher. [dim]\\[100][/dim]"),
    ] = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Train wide networks whole, and the tickets inside each alone: do they agree?

    A wide network is cut into disjoint tickets; each is trained alone from its own initial
    weights, and all together as the wide network.
    """
    from edt.studies import parse_widths
    from edt.studies.multi_start.run import run_multi_start
    from edt.studies.presets import multi_spec
    from edt.studies.reports import write_multi_report

    changes = {
        "task": task, "widths": None if widths is None else parse_widths(widths), "seeds": seeds,
        **settings(set_),
    }  # fmt: skip
    spec = multi_spec(quick=quick, **changes)
    folder = place(out or "edt-multi-start" + ("-quick" if quick else ""))
    headline = f"{spec.networks:,} networks: wide ones, and their tickets alone"
    carry_out(
        spec, folder, run_multi_start, write_multi_report, headline, fresh=fresh,
        as_json=as_json, progress=not no_progress, threads=threads,
    )  # fmt: skip


@run.command("lottery", epilog=LOTTERY_EPILOG)
def lottery(
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="mnist1d, digits or mnist. [dim]\\[mnist1d][/dim]"),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="MNIST's IDX files, for --task mnist.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Prunings. [dim]\\[16][/dim]")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Networks. [dim]\\[5][/dim]")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="ticket, then any of reinit, random, shuffled, signed, oneshot, snip, grasp.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Adam steps a round. [dim]\\[4000][/dim]")
    ] = None,
    rewind: Annotated[
        int | None, typer.Option(min=0, metavar="K", help="Rewind to step K. [dim]\\[0][/dim]")
    ] = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Iterative magnitude pruning with rewinding, and its controls: accuracy against sparsity.

    Networks are trained, their smallest weights pruned, the survivors set back to their initial
    values, again and again; beside them the same masks with other weights, and other masks.
    """
    from edt.studies.lottery.run import run_lottery
    from edt.studies.presets import lottery_spec
    from edt.studies.reports import write_lottery_report

    changes = {
        "task": task, "folder": None if folder is None else str(folder), "rounds": rounds,
        "seeds": seeds, "steps": steps, "rewind": rewind,
        "methods": None if methods is None else tuple(methods.replace(" ", "").split(",")),
        **settings(set_),
    }  # fmt: skip
    spec = lottery_spec(quick=quick, **changes)
    where = place(out or "edt-lottery" + ("-quick" if quick else ""))
    shape = "-".join(str(h) for h in spec.hidden)
    headline = f"{spec.rounds + 1} rounds of {shape} networks on {spec.task}, {spec.seeds} seeds"
    carry_out(
        spec, where, run_lottery, write_lottery_report, headline, fresh=fresh,
        as_json=as_json, progress=not no_progress, threads=threads,
    )  # fmt: skip
