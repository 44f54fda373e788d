"""The report of a perturb-rest experiment."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from edt.locations import Folder, Location
from edt.show import html
from edt.show.answer import Answer, rate, rate_tile
from edt.show.html import Column
from edt.show.publish import Picture, write_page
from edt.show.words import count, exact, number, option, percent
from edt.stats import wilson
from edt.studies.common.study_page import plain_table
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.perturb_rest import panels
from edt.studies.perturb_rest.panels import GROUP
from edt.studies.perturb_rest.run import PerturbRest
from edt.studies.width.protocol import software

HOW = {
    "matched": "the {r} neurons of a student that wins which end as the teacher's neurons (the "
    "pairing with the least difference of their outputs on the data)",
    "planted": "a student of width {r}, set into a wider one as its first neurons",
    "magnitude": "the sparsest mask of iterative magnitude pruning with rewinding to the start "
    "(15% of the remaining weights a round) that still wins",
}
CHANGE = {
    "noise": "w + s |w| u, u a random direction: the change is s times as long as the rest itself",
    "resample": "√(1 − s²) w + s w′, w′ a fresh draw: s = 1 is a new rest",
    "replace": "a share s of the rest taken from a fresh draw",
    "rescale": "s w",
    "flip": "a share s changes sign",
    "permute": "a share s of each layer changes places",
    "zero": "a share s set to zero (and trained)",
}
REFERENCES = [
    "J. Frankle, M. Carbin, The lottery ticket hypothesis, ICLR 2019, arXiv 1803.03635.",
    "F. Martinelli, J. Brea, W. Gerstner, The Puzzling Success of Overparameterization: Lottery "
    "Tickets or Escape Dimensions?, 2026.",
    "B. Şimşek et al., Geometry of the loss landscape in overparameterized neural networks, ICML "
    "2021, arXiv 2105.12221.",
    "E. B. Wilson, Probable inference, JASA 22 (1927) 209.",
]


def base_rate(run: PerturbRest) -> float:
    """Win rate of fresh students, averaged over teachers as the winning tickets are spread."""
    rates = run.tables["tickets"].groupby("target")["win"].mean()
    runs = run.tables["runs"]
    subset = runs[runs["group"] == "winning"].groupby("ticket")["target"].first()
    return float(rates.loc[subset.to_numpy()].mean())


def write_perturb_report(run: PerturbRest, directory: Location) -> Folder:
    """Write ``report.html``, the figures and ``provenance.json``; path of the page."""
    wins, spec, runs = run.wins(), run.spec, run.tables["runs"]
    base = base_rate(run)
    pictures = [
        Picture(
            "wins",
            "Win rate against the size of the change of the rest.",
            "The ticket is kept: networks that win, with 95% intervals over teachers; the ticket's "
            "initial weights are untouched throughout. Dotted: fresh students of the same width. "
            "Is it the ticket: among winning networks, how much of it plays the same part as "
            "before.",
            lambda: panels.wins(wins, spec.change, base=base),
        ),
        Picture(
            "tickets",
            "Win rate of every ticket at every size.",
            f"Each row is a ticket that won alone and in its own network; {spec.rests} rests a "
            "cell.",
            lambda: panels.tickets(runs, spec.change),
        ),
    ]
    if len(run.tables["adversary"]):
        pictures.append(
            Picture(
                "adversary",
                "Share of tickets that fail against the radius of the search.",
                "A ticket counts as broken when one rest in the ball makes the whole network lose.",
                lambda: panels.adversary(run.tables["adversary"]),
            )
        )
    title = "Can a winning ticket be made to fail?"
    return write_page(
        run,
        directory,
        pictures,
        title,
        _lead(wins),
        answer(wins, base),
        partial(_body, run, wins, base),
        _footer(),
    )


def _winning(wins: pd.DataFrame) -> pd.DataFrame:
    return wins[wins["group"] == "winning"]


def _lead(wins: pd.DataFrame) -> str:
    subset = _winning(wins)
    last = subset.iloc[-1]
    return (
        f"<b>{count(int(last['tickets']), 'winning ticket')}</b>, each kept at its initial weights "
        f"while everything around it changed, in <b>{int(subset['runs'].sum()):,} networks</b>."
    )


def answer(wins: pd.DataFrame, base: float) -> Answer:
    """How often winning tickets win among the smallest and the largest change of the rest."""
    subset = _winning(wins)
    ends = [subset.iloc[0], *([subset.iloc[-1]] if len(subset) > 1 else [])]
    found = [(row["rate"], row["spread_low"], row["spread_high"]) for row in ends]
    told = [
        f", by {exact(row['size'])} in {rate(*each)}"
        for row, each in zip(ends[1:], found[1:], strict=True)
    ]
    failing, tickets = int(subset["failing"].max()), int(subset["tickets"].iloc[-1])
    tiles = [
        rate_tile(*each, f"win when the rest is changed by {exact(row['size'])}")
        for row, each in zip(ends, found, strict=True)
    ]
    return Answer(
        f"With the rest changed by {exact(ends[0]['size'])}, networks around a winning ticket win "
        f"in {rate(*found[0])} of the runs{''.join(told)}; {failing or 'not one'} of "
        f"{count(tickets, 'ticket')} lost at least once.",
        [*tiles, (percent(base), "of fresh students win")],
    )


def _body(
    run: PerturbRest,
    wins: pd.DataFrame,
    base: float,
    figures: dict[str, str],
    facts: dict[str, Any],
) -> list[str]:
    subset, text = _winning(wins), html.paragraph
    thresholds = threshold_table(
        run.tables["runs"].assign(threshold=run.spec.good), ("group", "size")
    )
    sections = [
        html.section(
            "Win rate against the change", text(_rates_text(subset, base)), figures["wins"],
            text(_control_text(wins)),
        ),
        html.section("Ticket by ticket", text(_minimal_text(run)), figures["tickets"]),
    ]  # fmt: skip
    if "adversary" in figures:
        sections.append(
            html.section("Chosen rests", text(_adversary_text(run)), figures["adversary"])
        )
    return [
        *sections,
        html.section("What this does not say", html.bullets(_caveats(run))),
        html.section(
            "How it was done",
            html.definitions([*_protocol(run), ("Threshold", threshold_text(thresholds))]),
            html.details("Win rates", _table(wins)),
            html.details(HEADING, plain_table(thresholds, panels.TERMS)),
            html.details("Students and their tickets", _students(run)),
            html.details("Software and machine", html.definitions(software(facts))),
            html.details("References", html.bullets(REFERENCES)),
        ),
    ]


def _rates_text(subset: pd.DataFrame, base: float) -> str:
    parts = [
        f"{rate(row['rate'], row['spread_low'], row['spread_high'])} at size {exact(row['size'])}"
        for row in (subset.iloc[0], subset.iloc[-1])
    ]
    rates = " and ".join(parts)
    return (
        f"Networks with a winning ticket at its own initial weights win {rates}; of the fresh "
        f"students that tickets were taken from {percent(base)} do."
    )


def _control_text(wins: pd.DataFrame) -> str:
    out = []
    control = wins[wins["group"] == "random"]
    subset = _winning(wins)
    if len(control):
        both = subset.merge(control, on="size", suffixes=("", "_random"))
        apart = both[
            (both["spread_low"] > both["spread_high_random"])
            | (both["spread_high"] < both["spread_low_random"])
        ]
        out.append(
            "Keeping as many neurons or weights of the same network, chosen at random, gives rates "
            + (
                f"whose interval is apart from the ticket's at {len(apart)} of {len(subset)} sizes."
                if len(apart)
                else "whose intervals overlap the ticket's at every size."
            )
        )
    losing = wins[wins["group"] == "losing"]
    if len(losing):
        top = losing.sort_values("rate", kind="stable").iloc[-1]
        out.append(
            f"The converse: around tickets of students that lose, a changed rest makes "
            f"{rate(top['rate'], top['spread_low'], top['spread_high'])} of the networks win at "
            f"size {exact(top['size'])}."
        )
    return " ".join(out)


def _minimal_text(run: PerturbRest) -> str:
    table = run.tables["minimal"]
    found = table["size"].dropna()
    if not len(found):
        lost = int((table["paths"] > 0).sum())
        return f"{lost or 'Not one'} of {count(len(table), 'ticket')} lost at least once."
    return (
        f"The smallest failing change found (bisection along the directions that failed first): "
        f"median {number(float(found.median()))}, least {number(float(found.min()))}, over "
        f"{len(found)} of {len(table)} tickets."
    )


def _adversary_text(run: PerturbRest) -> str:
    table = run.tables["adversary"]
    said = []
    for method, name in (("evolution", "Evolution"), ("random", "As many rests drawn at random")):
        out = []
        for radius, part in table[table["method"] == method].groupby("radius"):
            lost = wilson(int((~part["win"].astype(bool)).sum()), len(part))
            of = f"{rate(lost.value, lost.low, lost.high)} of tickets"
            out.append(f"{of} within size {exact(float(str(radius)))}")
        if out:
            said.append(
                f"{name} {'breaks' if method == 'evolution' else 'break'} {', '.join(out)}."
            )
    return (
        "Evolution looks for the rest that ends worst after full training; the gradient climbs "
        f"the loss after a short one. {' '.join(said)}"
    )


def _caveats(run: PerturbRest) -> list[str]:
    spec = run.spec
    return [
        "A win is a loss below the threshold under this protocol; more steps could turn some "
        "losses into wins.",
        "Intervals are over teachers, and there are few; those of chosen rests are over tickets.",
        f"{count(spec.teachers, 'teacher')} of one kind, "
        f"{option(spec.activation)}, {spec.d_in} inputs, "
        f"width {spec.width}.",
        "Large changes also change the scale of the network's start, not only its direction.",
        "Tickets are chosen among students that win, so size 0 wins by construction.",
    ]


def _protocol(run: PerturbRest) -> list[tuple[str, str]]:
    spec = run.spec
    return [
        (
            "Teachers",
            f"{count(spec.teachers, 'teacher')} of width {spec.teacher_width}, "
            f"{option(spec.activation)}; "
            f"{spec.samples} "
            f"{option(spec.inputs)} samples of {spec.d_in} inputs, variance 1, no noise",
        ),
        (
            "Students",
            f"{spec.candidates} per teacher, width {spec.width}, "
            f"{option(spec.init)} initialisation at the "
            f"scale of width {spec.teacher_width}, float64",
        ),
        (
            "Ticket",
            HOW[spec.ticket].format(r=spec.teacher_width)
            + "; its student wins, and it wins alone (everything else pruned)",
        ),
        ("Change", CHANGE[spec.change]),
        (
            "Training",
            f"full-batch Adam, {spec.steps:,} steps, learning rate {exact(spec.lr)}, "
            f"{spec.schedule} schedule; "
            f"then up to {count(spec.lbfgs_rounds, 'round')} of "
            f"{spec.lbfgs_steps:,} L-BFGS iterations",
        ),
        ("Win", f"loss ≤ {exact(spec.good)} × variance of the target"),
        (
            "Again",
            "a ticket neuron plays its part again when it is among those matched with the teacher "
            "after training; the distance is over permutations and signs of the ticket's neurons",
        ),
        (
            "Intervals",
            "95%: of win rates over the teachers (Student's at the effective number of runs; of "
            "one teacher Wilson's); of chosen rests Wilson's",
        ),
    ]


def _table(wins: pd.DataFrame) -> str:
    columns = [
        Column("tickets", lambda row: GROUP[row["group"]]),
        Column("size", lambda row: f"{exact(row['size'])}"),
        Column("win", lambda row: f"{row['wins']:,} of {row['runs']:,}"),
        Column(
            "rate (95% over teachers)",
            lambda row: rate(row["rate"], row["spread_low"], row["spread_high"]),
        ),
        Column("teachers", lambda row: str(row["teachers"])),
        Column("tickets that lost", lambda row: f"{row['failing']} of {row['tickets']}"),
        Column("same neurons", lambda row: percent(row["same"])),
        Column("distance of end", lambda row: number(row["shift"])),
    ]
    return html.table(wins, columns)


def _students(run: PerturbRest) -> str:
    table = run.tables["tickets"]
    sums = {name: (name, "sum") for name in ("win", "alone", "features", "rest_alone")}
    rows = (
        table.assign(alone_of_winners=table["win"] & table["alone"], teacher=table["target"] + 1)
        .groupby("teacher")
        .agg(students=("seed", "size"), alone_of_winners=("alone_of_winners", "sum"), **sums)
        .reset_index()
    )
    columns = [
        Column("teacher", lambda row: str(row["teacher"])),
        Column("students", lambda row: str(row["students"])),
        Column("win", lambda row: str(row["win"])),
        Column("of them, ticket alone wins", lambda row: str(row["alone_of_winners"])),
        Column("ticket alone wins", lambda row: str(row["alone"])),
        Column("ticket wins, rest only turned down", lambda row: str(row["features"])),
        Column("rest wins without ticket", lambda row: str(row["rest_alone"])),
    ]
    return html.table(rows, columns)


def _footer() -> str:
    return (
        "Tables: <code>tickets.parquet</code> (students), <code>runs.parquet</code> (one row a "
        "network), <code>minimal.parquet</code>, <code>adversary.parquet</code>"
        "."
    )
