"""The report of a multi-start experiment."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from edt.locations import Folder, Location
from edt.show import html
from edt.show.answer import Answer, rate, rate_tile
from edt.show.html import Column
from edt.show.publish import Picture, write_page
from edt.show.words import count, exact, listed, number, option, p_is, p_value, percent, span
from edt.studies.common.findings import LEVEL
from edt.studies.common.study_page import plain_table
from edt.studies.common.thresholds import (
    HEADING,
    beside_the_best,
    threshold_table,
    threshold_text,
)
from edt.studies.multi_start import panels
from edt.studies.multi_start.run import MultiStart
from edt.studies.perturb_rest.page import REFERENCES
from edt.studies.width.protocol import software


def write_multi_report(run: MultiStart, directory: Location) -> Folder:
    """Write ``report.html``, the figures and ``provenance.json``; path of the page."""
    table, r = run.agreement(), run.spec.teacher_width
    picture = Picture(
        "multi-start",
        "Success of wide networks, of their best ticket alone, and of single tickets.",
        "Together and alone: with 95% intervals over teachers; a multi-start would make the two "
        "upper lines one. Network by network: the same networks one by one.",
        lambda: panels.multi_start(table, r),
    )
    networks = len(run.tables["runs"])
    lead = (
        f"<b>{networks:,} wide networks</b>, each cut into tickets of {r} neurons that were also "
        "trained alone, from the same initial weights."
    )
    title = "Is a wide network many narrow ones started at once?"
    return write_page(
        run,
        directory,
        [picture],
        title,
        lead,
        answer(table),
        partial(_body, run, table),
        _FOOTER,
    )


_FOOTER = "Table: <code>runs.parquet</code> (one row a wide network)"


def answer(table: pd.DataFrame) -> Answer:
    """How often the widest networks win, and how often some ticket of theirs wins alone."""
    row = table.iloc[-1].to_dict()
    together, alone = (
        (row[f"rate_{name}"], row[f"rate_{name}_low"], row[f"rate_{name}_high"])
        for name in ("together", "alone")
    )
    width = int(row["width"])
    return Answer(
        f"At width {width} the network wins in {rate(*together)} of the runs, at least one of its "
        f"{int(row['tickets'])} tickets alone in {rate(*alone)}.",
        [
            rate_tile(*together, f"of networks of width {width} win"),
            rate_tile(*alone, "have a ticket that wins alone"),
        ],
    )  # fmt: skip


def _body(
    run: MultiStart, table: pd.DataFrame, figures: dict[str, str], facts: dict[str, Any]
) -> list[str]:
    spec = run.spec
    thresholds = threshold_table(beside_the_best(run.tables["runs"], spec.good), ("width", "who"))
    return [
        html.section(
            "Together and alone",
            html.paragraph(_rates_text(table)),
            figures["multi-start"],
            html.paragraph(_agreement_text(table)),
            html.paragraph(information_text(table)),
            html.paragraph(_held_text(table)),
        ),
        html.section(
            "What this does not say",
            html.bullets(
                [
                    "One partition of each network is tried, by order of neurons: its two or three "
                    "disjoint tickets are not all its tickets. <code>edt run subsets</code> tries "
                    "every subset.",
                    "A ticket alone has no other neurons to learn from or against: losing alone "
                    "does not mean that it would not help inside.",
                    f"Intervals are over {count(spec.teachers, 'teacher')}.",
                ]
            ),
        ),
        html.section(
            "How it was done",
            html.definitions(
                [
                    (
                        "Networks",
                        f"{count(spec.teachers, 'teacher')} of width {spec.teacher_width}, "
                        f"{spec.seeds} networks a width and teacher, "
                        f"{option(spec.activation)}, started at "
                        f"the scale of width {spec.teacher_width}",
                    ),
                    (
                        "Training",
                        f"full-batch Adam, {spec.steps:,} steps, learning rate {exact(spec.lr)}, "
                        f"{spec.schedule} schedule; then up to "
                        f"{count(spec.lbfgs_rounds, 'round')} of "
                        f"{spec.lbfgs_steps:,} L-BFGS iterations; the same together and alone",
                    ),
                    ("Win", f"loss ≤ {exact(spec.good)} × variance of the target"),
                    ("Threshold", threshold_text(thresholds)),
                    (
                        "Information",
                        "what the win of a ticket alone tells about that of the network: mutual "
                        "information given the teacher, in bits, against wins shuffled among the "
                        "networks of each teacher",
                    ),
                    (
                        "Intervals",
                        f"95% over {count(spec.teachers, 'teacher')}: Student's at the effective "
                        "number of runs",
                    ),
                ]
            ),
            html.details("All widths", _table(table)),
            html.details(HEADING, plain_table(thresholds)),
            html.details("Software and machine", html.definitions(software(facts))),
            html.details("References", html.bullets(REFERENCES)),
        ),
    ]


def _rates_text(table: pd.DataFrame) -> str:
    apart = table[
        (table["rate_together_low"] > table["rate_alone_high"])
        | (table["rate_together_high"] < table["rate_alone_low"])
    ]
    last = table.iloc[-1]
    return (
        f"At width {int(last['width'])} the network wins in "
        f"{percent(last['rate_together'])} "
        f"({span(last['rate_together_low'], last['rate_together_high'])}) of the runs, at least "
        f"one of its {int(last['tickets'])} tickets alone in {percent(last['rate_alone'])} "
        f"({span(last['rate_alone_low'], last['rate_alone_high'])}). The two intervals are apart "
        f"at {len(apart) or 'none'} of {count(len(table), 'width')}."
    )


def _agreement_text(table: pd.DataFrame) -> str:
    wide = table[table["tickets"] > 1]
    if not len(wide):
        return "No width holds more than one ticket."
    only, lost = int(wide["only_together"].sum()), int(wide["only_alone"].sum())
    total = int(wide["networks"].sum())
    return (
        f"Of {total:,} networks with more than one ticket, {only or 'none'} win though none of "
        f"their tickets wins alone, and {lost or 'none'} lose though one does."
    )


def information_text(table: pd.DataFrame) -> str:
    """Whether wins together and alone go together beyond chance, width by width."""
    wide = table[table["tickets"] > 1]
    told = wide[wide["information_p"] <= LEVEL]
    if not len(wide):
        return ""
    if not len(told):
        return (
            "At no width does a winning ticket tell anything about the network's win beyond what "
            "shuffled wins would (permutations within teachers)."
        )
    parts = [
        f"{int(row['width'])} ({number(row['information'])} bits, by chance at most "
        f"{number(row['information_limit'])}, {p_is(row['information_p'])})"
        for row in told.to_dict("records")
    ]
    return (
        f"Whether a ticket wins alone tells something about the network at width {listed(parts)}."
    )


def _held_text(table: pd.DataFrame) -> str:
    wide = table[(table["tickets"] > 1) & table["held"].notna()]
    if not len(wide):
        return ""
    last = wide.iloc[-1]
    return (
        f"In winning networks of width {int(last['width'])} the ticket that plays most of the "
        f"teacher's parts plays {percent(last['held'])} of them on average, and won alone in "
        f"{percent(last['holder_won'])} of these networks."
    )


def _table(table: pd.DataFrame) -> str:
    def rate(name: str, heading: str) -> Column:
        return Column(
            heading,
            lambda row: (
                f"{percent(row[f'rate_{name}'])} "
                f"({span(row[f'rate_{name}_low'], row[f'rate_{name}_high'])})"
            ),
        )

    columns = [
        Column("width", lambda row: str(row["width"])),
        Column("tickets", lambda row: str(row["tickets"])),
        Column("networks", lambda row: f"{row['networks']:,}"),
        rate("together", "network wins"),
        rate("alone", "best ticket wins"),
        rate("ticket", "a ticket wins"),
        Column("both", lambda row: str(row["both"])),
        Column("only the network", lambda row: str(row["only_together"])),
        Column("only a ticket", lambda row: str(row["only_alone"])),
        Column("neither", lambda row: str(row["neither"])),
        Column("information (bits)", lambda row: number(row["information"])),
        Column("by chance, at most (95%)", lambda row: number(row["information_limit"])),
        Column("p-value", lambda row: p_value(row["information_p"])),
        Column("parts held by one ticket", lambda row: percent(row["held"])),
        Column("which won alone", lambda row: percent(row["holder_won"])),
    ]
    return html.table(table, columns)
