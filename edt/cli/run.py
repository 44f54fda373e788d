"""``edt run STUDY``: a command a study, made from its record and spec when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields as dataclass_fields
from importlib.util import find_spec
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from edt.cli.engine_options import Address, Cpus, EngineName, Gpus, engine_options
from edt.cli.flags import option, settings
from edt.cli.outcome import execute
from edt.locations import place
from edt.studies.registry import STUDIES
from edt.studies.study import Study

Out = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where to write: a directory or a URL.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Small: done in seconds.")]
Full = Annotated[bool, typer.Option("--full", help="The published size; hours.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="N", help="Processes or jobs at once. [dim]\\[this process alone][/dim]"
    ),
]
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
#: Options of every study's command: name to (annotation, default).
COMMON: dict[str, tuple[Any, Any]] = {
    "out": (Out, None),
    "quick": (Quick, False),
    "full": (Full, False),
    "engine": (EngineName, "local"),
    "workers": (Workers, None),
    "address": (Address, None),
    "cpus": (Cpus, None),
    "gpus": (Gpus, None),
    "fresh": (Fresh, False),
    "as_json": (AsJson, False),
    "no_progress": (NoProgress, False),
    "threads": (Threads, None),
    "set_": (Set, None),
}


class Studies(TyperGroup):
    """Commands that exist when they are asked for: listing them imports no study."""

    asked: str | None = None

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all studies."""
        return list(STUDIES)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of the line, in full."""
        self.asked = args[0] if args else None
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a study; without its options where only its help line is wanted."""
        study = STUDIES.get(cmd_name)
        if study is None:
            return None
        if cmd_name != self.asked:
            return TyperCommand(cmd_name, help=study.question)
        return command(study)


run = typer.Typer(
    name="run",
    cls=Studies,
    help="Run a study: writes tables and report.html; Ctrl-C is safe, the same command "
    "goes on where it stopped.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@run.callback()
def _run() -> None:
    """Makes the group; its commands come from `STUDIES`."""


def command(study: Study) -> Any:
    """The command of a study, with an option for each field in ``flags``."""
    made = {name: option(study.experiment.spec_type, name) for name in study.flags}
    if study.nets:
        other = STUDIES[study.nets]
        spec = other.experiment.spec_type
        made |= {name: option(spec, name) for name in other.flags if name not in made}
    options = {name: (annotation, None) for name, (annotation, _) in made.items()}
    common = {name: found for name, found in COMMON.items() if name != "full" or study.full}
    readers = {name: read for name, (_, read) in made.items()}

    def call(**given: Any) -> None:
        carry_out(study, readers, **given)

    call.__name__ = study.kind
    call.__doc__ = f"{study.question}\n\n{study.about}"
    every = {**options, **common}
    call.__annotations__ = {name: annotation for name, (annotation, _) in every.items()}
    signature = Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in every.items()
        ]
    )
    call.__signature__ = signature  # type: ignore[attr-defined]
    one = typer.Typer(
        rich_markup_mode="rich",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    one.command(study.kind, epilog=examples(study))(call)
    return typer.main.get_command(one)


def without_mnist1d() -> str | None:
    """The task that stands in for the default one where its package is not installed; says so."""
    if find_spec("mnist1d") is not None:
        return None
    typer.echo(
        "The default task, MNIST-1D, needs the package mnist1d (pip install mnist1d); this run "
        "takes the digits of scikit-learn instead.",
        err=True,
    )
    return "digits"


def examples(study: Study) -> str:
    """Command lines to start from."""
    lines = [
        f"[cyan]edt run {study.kind}{' ' if words else ''}{words}[/cyan]"
        + (f" : {text}" if text else "")
        for words, text in (("--quick", "seconds, to see that everything works"), *study.examples)
    ]
    return "\n\n".join(["[bold]Examples[/bold]", *lines])


def carry_out(
    study: Study,
    readers: dict[str, Callable[[Any], Any]],
    *,
    out: str | None,
    quick: bool,
    engine: str,
    workers: int | None,
    address: str | None,
    cpus: int | None,
    gpus: float | None,
    fresh: bool,
    as_json: bool,
    no_progress: bool,
    threads: int | None,
    set_: list[str] | None,
    full: bool = False,
    **fields: Any,
) -> None:
    """Run a study as its options say, and write its report."""
    from edt.tasks.task_tables import task_name

    changes = {
        name: None if value is None else readers[name](value) for name, value in fields.items()
    }
    changes |= settings(set_)
    if study.nets and changes.get("net") is not None:
        study = STUDIES[study.nets]
    if study.kind == "lottery" and not quick and not (changes.get("task") or changes.get("net")):
        changes["task"] = without_mnist1d()
    known = {entry.name for entry in dataclass_fields(study.experiment.spec_type)}
    for name in fields:
        if changes[name] is not None and name not in known:
            without = "" if changes.get("net") is None else "not "
            raise ValueError(
                f"--{name.replace('_', '-')} is {without}for --net, got {changes[name]!r}"
            )
    spec = study.spec(quick=quick, full=full, **changes)
    options = engine_options(engine, address, cpus, gpus)
    found = study.experiment
    size = "-quick" if quick else "-full" if full else ""
    task = getattr(spec, "task", None)
    usual = task == getattr(found.spec_type, "task", None) or "task" not in study.variants
    folder = place(out or f"edt-{study.kind}{'' if usual else f'-{task_name(task)}'}{size}")
    execute(
        spec,
        folder,
        lambda spec, folder, **how: found.run(
            spec, folder, engine=engine, workers=workers, **options, **how
        ),
        study.of("page", study.page),
        f"[bold]{escape(found.headline(spec))}[/]",
        tables=lambda done: done.results(),
        show=shown(study),
        fresh=fresh,
        as_json=as_json,
        progress=not no_progress,
        threads=threads,
    )


def shown(study: Study) -> Callable[[Any, Any], None]:
    """What prints a result of the study."""
    if study.shows:
        found: Callable[[Any, Any], None] = study.of("terminal", study.shows)
        return found
    from edt.show.print_tables import print_experiment

    return lambda console, done: print_experiment(console, done.summary(), study.terms)
