"""The report of the XOR experiment."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from edt.locations import Folder, Location
from edt.show import html
from edt.show.answer import Answer, number_tile, rate, rate_tile
from edt.show.columns import Terms
from edt.show.html import Column
from edt.show.publish import Picture, write_page
from edt.show.words import count, exact, interval, listed, number, p_is, p_value, span
from edt.studies.common.models_page import (
    DRAWS,
    counts_text,
    models_notes,
    models_picture,
    models_table,
    models_text,
    tests_table,
)
from edt.studies.common.study_page import plain_table
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.width.protocol import software
from edt.studies.xor import panels
from edt.studies.xor.run import NAMES, TICKET, Xor
from edt.studies.xor.spec import STARTS
from edt.success import Comparison

#: Adjusted p below this counts as a difference.
LEVEL = 0.05
#: Thresholds looked at, in units of the goal; chance is at 35 times the default one.
FACTORS = (1.0, 2.0, 5.0, 10.0)

REFERENCES = [
    "J. Frankle, M. Carbin, The lottery ticket hypothesis, ICLR 2019, arXiv 1803.03635.",
    "K. He et al., Delving deep into rectifiers, ICCV 2015, arXiv 1502.01852.",
    "E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 "
    "(1927) 209.",
    "S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 "
    "(1979) 65.",
]


def write_xor_report(run: Xor, directory: Location) -> Folder:
    """Write ``report.html``, the figures and ``provenance.json``; path of the page."""
    table = run.success()
    models = {start: run.models(start, DRAWS, table) for start in run.spec.starts}
    laws = {start: found for start, found in models.items() if found is not None}
    pictures = [
        Picture(
            "xor",
            "Success of 2-m-1 networks on exclusive or beside the reference; effective tickets.",
            "Success: share of runs with a mean cross-entropy below "
            f"{exact(run.spec.success)}. Tickets: how many networks of width 2 the rate amounts "
            "to, "
            "beside three ways to count them.",
            lambda: panels.xor(table),
        ),
        *[models_picture(found, "learn XOR", f"models-{start}") for start, found in laws.items()],
    ]
    lead = (
        f"<b>{len(run.tables['runs']):,} networks</b> of two inputs, a hidden layer of ReLU "
        f"neurons and one output were taught exclusive or in {run.spec.steps:,} steps of gradient "
        "descent."
    )
    return write_page(
        run,
        directory,
        pictures,
        "Exclusive or: does width buy tickets?",
        lead,
        answer(table),
        partial(_body, run, table, laws),
        "Table: <code>runs.parquet</code> (one row a network)",
    )


def answer(table: pd.DataFrame) -> Answer:
    """Success of the narrowest and the widest networks of the first start."""
    subset = table[table["start"] == table["start"].iloc[0]].sort_values("width")
    ends = [subset.iloc[0].to_dict(), subset.iloc[-1].to_dict()]
    found = [(row["rate"], row["rate_low"], row["rate_high"]) for row in ends]
    widths = [int(row["width"]) for row in ends]
    tiles = [
        rate_tile(*rates, f"learn it with {count(width, 'hidden neuron')}")
        for width, rates in zip(widths, found, strict=True)
    ]
    worth = ends[1]["n_eff"]
    if worth == worth and widths[1] > widths[0]:
        of = f"tickets of width {TICKET} is what width {widths[1]} is worth"
        tiles.append(number_tile(worth, ends[1]["n_eff_low"], ends[1]["n_eff_high"], of))
    return Answer(
        f"With {count(widths[0], 'hidden neuron')} {rate(*found[0])} learn it; with {widths[1]}, "
        f"{rate(*found[1])}.",
        tiles,
    )


def _body(
    run: Xor,
    table: pd.DataFrame,
    laws: dict[str, Comparison],
    figures: dict[str, str],
    facts: dict[str, Any],
) -> list[str]:
    text = html.paragraph
    spec = run.spec
    runs = run.tables["runs"]
    # Gradient descent is all there is, and its losses are known below the goal as well.
    thresholds = threshold_table(
        runs.assign(target=0, threshold=spec.success, train_loss=runs["loss"]),
        ("start", "width"), FACTORS,
    )  # fmt: skip
    return [
        html.section(
            "Ours and the reference",
            *[text(verdict(table, start, comparable=spec.comparable)) for start in spec.starts],
            figures["xor"],
            text(tickets_text(table)),
        ),
        *[
            html.section(
                f"Which law of width fits, with {NAMES[start]}?",
                text(models_text(found)),
                text(counts_text(found)),
                figures[f"models-{start}"],
            )
            for start, found in laws.items()
        ],
        html.section(
            "What this does not say",
            html.bullets(
                [
                    "The reference says no more of its starts than that they are He's. Two "
                    "readings are run; where they disagree, so may the reference with either.",
                    "Success at 12,000 steps is success of this protocol: slow runs count as "
                    "failures.",
                    "Effective tickets describe rates. A wide network is not a set of "
                    "independent narrow ones: all neurons learn from one error.",
                ]
            ),
        ),
        html.section(
            "How it was done",
            html.definitions([*_protocol(run), ("Threshold", threshold_text(thresholds))]),
            html.details("All widths", _table(table)),
            html.details(HEADING, plain_table(thresholds, Terms(cells={"start": NAMES}))),
            *[
                html.details(f"Laws of width, {NAMES[start]}", models_table(found))
                for start, found in laws.items()
            ],
            *[
                html.details(f"Likelihood ratio tests, {NAMES[start]}", tests_table(found))
                for start, found in laws.items()
            ],
            *[
                html.details("Laws of width: how they are fitted", html.definitions(notes))
                for notes in [models_notes(found) for found in laws.values()][:1]
            ],
            html.details("Software and machine", html.definitions(software(facts))),
            html.details("References", html.bullets(REFERENCES)),
        ),
    ]


def verdict(table: pd.DataFrame, start: str, *, comparable: bool) -> str:
    """Where one start differs from the reference, in a sentence.

    Args:
        table: from `edt.studies.xor.run.reference_table`.
        start: which.
        comparable: the protocol is the reference's.
    """
    known = table[(table["start"] == start) & table["p"].notna()]
    head = f"<b>With {NAMES[start]}</b> "
    if not comparable:
        return head + "steps, learning rate or goal are not those of the reference: no test."
    if not len(known):
        return head + "no width of the reference was run."
    apart = known[known["p_holm"] < LEVEL]
    pairs = [
        f"width {row['width']} ({cent(row['rate'])} here, {cent(row['rate_ref'])} there, "
        f"{p_is(row['p_holm'])})"
        for row in apart.to_dict("records")
    ]
    if not pairs:
        least = p_is(float(known["p_holm"].min()))
        return head + (
            f"no width of {len(known)} differs from the reference at the 5% level (smallest "
            "adjusted "
            f"{least})."
        )
    return head + f"{len(pairs)} of {len(known)} widths differ: {listed(pairs)}."


def tickets_text(table: pd.DataFrame) -> str:
    """The number of tickets of the widest network, measured and counted."""
    sentences = []
    for start in dict.fromkeys(table["start"].tolist()):
        rows = table[(table["start"] == start) & table["n_eff"].notna()]
        if len(rows) < 2:
            continue
        last = rows.iloc[-1]
        words = interval(last["n_eff"], last["n_eff_low"], last["n_eff_high"])
        sentences.append(
            f"With {NAMES[start]} width {int(last['width'])} is worth {words} tickets, beside "
            f"⌊m/2⌋ = {number(last['n_disjoint'])}, m − 1 = {number(last['n_windows'])} and "
            f"C(m, 2) = {number(last['n_combinatorial'])}."
        )
    if not sentences:
        return "Width 2, the price of a ticket, is not among the widths."
    return (
        "The effective number of tickets is ln P<sub>fail</sub>(m) / ln(1 − price), the price the "
        "rate of width 2. " + " ".join(sentences)
    )


def _protocol(run: Xor) -> list[tuple[str, str]]:
    spec = run.spec
    return [
        (
            "Networks",
            f"2-m-1, ReLU, biases, m = {', '.join(map(str, spec.widths))}; "
            f"{count(spec.seeds, 'seed')} a width and start; float64",
        ),
        (
            "Start",
            "input weights N(0, 1), biases 0; " + "; ".join(STARTS[name] for name in spec.starts),
        ),
        (
            "Training",
            f"full-batch gradient descent on the four points, learning rate {exact(spec.lr)}, "
            f"{spec.steps:,} steps, logistic loss of one output",
        ),
        ("Success", f"mean cross-entropy below {exact(spec.success)} after the last step"),
        ("Reference", "the same protocol, 1,000 seeds at widths 2, 3, 4, 6, 8 and 10"),
        (
            "Test",
            "Fisher's exact test of each width's two counts, two-sided, adjusted by Holm for the "
            "widths of a start",
        ),
        ("Ticket", f"a network of width {TICKET}, the narrowest that can solve exclusive or"),
        (
            "Intervals",
            "95%: Wilson's for rates; quantiles under Beta posteriors for effective tickets",
        ),
    ]


def _table(table: pd.DataFrame) -> str:
    columns = [
        Column("start", lambda row: NAMES[row["start"]]),
        Column("width", lambda row: str(row["width"])),
        Column("successes", lambda row: f"{row['good']:,} of {row['runs']:,}"),
        Column("rate", lambda row: cent(row["rate"])),
        Column("95%", lambda row: span(row["rate_low"], row["rate_high"])),
        Column("reference", lambda row: cent(row["rate_ref"])),
        Column("95%", lambda row: span(row["rate_ref_low"], row["rate_ref_high"])),
        Column("p-value, adjusted", lambda row: p_value(row["p_holm"])),
        Column(
            "effective tickets",
            lambda row: interval(row["n_eff"], row["n_eff_low"], row["n_eff_high"]),
        ),
        Column(
            "reference",
            lambda row: interval(row["n_eff_ref"], row["n_eff_ref_low"], row["n_eff_ref_high"]),
        ),
        Column("⌊m/2⌋", lambda row: number(row["n_disjoint"])),
        Column("m − 1", lambda row: number(row["n_windows"])),
        Column("C(m, 2)", lambda row: number(row["n_combinatorial"])),
    ]
    return html.table(table, columns)


def cent(value: float) -> str:
    """Per cent with one digit, as the reference gives them."""
    return "–" if value != value else f"{100 * value:.1f}%"
