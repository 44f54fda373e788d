"""``edt run`` of the studies behind the four claims: subsets, crossed, failures, index-loss."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edt.cli.run import (
    AsJson,
    Fresh,
    NoProgress,
    Out,
    Quick,
    Set,
    Threads,
    carry_out,
    run,
    settings,
)
from edt.places import place

Seeds = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Networks per width and teacher.")
]
Widths = Annotated[
    str | None, typer.Option(metavar="LIST", help="Hidden widths, like 5,6,8 or 4..8:2.")
]


def _changes(widths: str | None, seeds: int | None, set_: list[str] | None) -> dict[str, Any]:
    from edt.studies import parse_widths

    found = {"widths": None if widths is None else parse_widths(widths), "seeds": seeds}
    return {**found, **settings(set_)}


@run.command("subsets")
def subsets(
    widths: Widths = None,
    seeds: Seeds = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Train every subset of r neurons of wide networks alone: is the network a search over them?

    Who wins, the network or some subset; whether networks with more winning subsets win more often,
    against permutations within teachers.
    """
    from edt.studies.claims_presets import subsets_spec
    from edt.studies.reports import write_subsets_report
    from edt.studies.subsets.run import run_subsets

    spec = subsets_spec(quick=quick, **_changes(widths, seeds, set_))
    folder = place(out or "edt-subsets" + ("-quick" if quick else ""))
    carry_out(
        spec, folder, run_subsets, write_subsets_report,
        f"{spec.networks:,} networks: wide ones, and the subsets inside", fresh=fresh,
        as_json=as_json, progress=not no_progress, threads=threads,
    )  # fmt: skip


@run.command("crossed")
def crossed(
    tickets: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Winning tickets per teacher.")
    ] = None,
    rests: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Rests, the same for every ticket.")
    ] = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Put the same rests around winning tickets and around controls: whose is the outcome?

    Win rates of tickets, random neurons, losing tickets and fresh neurons among the same rests, and
    the shares of ticket and rest in the variance, against permutations.
    """
    from edt.studies.claims_presets import crossed_spec
    from edt.studies.crossed.run import run_crossed
    from edt.studies.reports import write_crossed_report

    spec = crossed_spec(quick=quick, tickets=tickets, rests=rests, **settings(set_))
    folder = place(out or "edt-crossed" + ("-quick" if quick else ""))
    carry_out(
        spec, folder, run_crossed, write_crossed_report,
        f"up to {4 * spec.teachers * spec.tickets * spec.rests:,} networks of width {spec.width}",
        fresh=fresh, as_json=as_json, progress=not no_progress, threads=threads,
    )  # fmt: skip


@run.command("failures")
def failures(
    widths: Widths = None,
    seeds: Seeds = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """What failed runs are against width, and whether a neuron more opens a way out of them.

    Certified minima, channels, saturated units; each goes on with a neuron split or added, beside
    as many kicks without one.
    """
    from edt.studies.claims_presets import failures_spec
    from edt.studies.failures.run import run_failures
    from edt.studies.reports import write_failures_report

    spec = failures_spec(quick=quick, **_changes(widths, seeds, set_))
    folder = place(out or "edt-failures" + ("-quick" if quick else ""))
    carry_out(
        spec, folder, run_failures, write_failures_report,
        f"{spec.networks:,} students, and ways out of those that fail", fresh=fresh,
        as_json=as_json, progress=not no_progress, threads=threads,
    )  # fmt: skip


@run.command("index-loss")
def index_loss(
    widths: Widths = None,
    seeds: Seeds = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Critical points of every index: do those of higher loss have more ways down?"""
    from edt.studies.claims_presets import index_loss_spec
    from edt.studies.index_loss.run import run_index_loss
    from edt.studies.reports import write_index_loss_report

    spec = index_loss_spec(quick=quick, **_changes(widths, seeds, set_))
    folder = place(out or "edt-index-loss" + ("-quick" if quick else ""))
    starts = spec.teachers * len(spec.widths) * spec.seeds * len(spec.stops) * len(spec.noises)
    carry_out(
        spec, folder, run_index_loss, write_index_loss_report,
        f"{starts:,} starts of Newton's method", fresh=fresh, as_json=as_json,
        progress=not no_progress, threads=threads,
    )  # fmt: skip
