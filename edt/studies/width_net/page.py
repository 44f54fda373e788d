"""The report of the width of networks of modules."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import points_tile
from edt.show.publish import Picture
from edt.show.words import count, number, percent, points, ranges, span
from edt.studies.common.findings import JOINT, Finding, together, together_text
from edt.studies.common.nets import title_of
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING_ACCURACY, accuracy_table, accuracy_text
from edt.studies.width_net import panels
from edt.studies.width_net.run import WidthNet

__all__ = ["findings", "write_width_net_report"]


def findings(table: pd.DataFrame) -> list[Finding]:
    """What the numbers say of claim b, that wide networks are no multi-start over their tickets.

    For it: networks of some width win more often than if every narrow network inside were tried
    independently, or less often than if only the disjoint ones were. Against it: nothing here can
    be; a rate between the two is what some number of tickets gives.

    Args:
        table: `edt.studies.width_net.run.success`.
    """
    found = []
    least = table.sort_values("width").iloc[0]
    wide = table[(table["width"] > least["width"]) & table["rate"].notna()]
    for row in wide.to_dict("records"):
        over, under = (
            (row[f"ahead_{name}"], row[f"ahead_{name}_low"], row[f"ahead_{name}_high"])
            for name in ("combinatorial", "disjoint")
        )
        rates = (
            f"{percent(row['rate'])} ({span(row['rate_low'], row['rate_high'])}) of networks of "
            f"{row['width']} channels fit, {percent(least['rate'])} of those of "
            f"{int(least['width'])}"
        )
        tile = points_tile(*over, f"of fits, {row['width']} channels against all tickets inside")
        if over[1] > 0.0:
            text = (
                f"{rates}: {points(*over)} beside all {number(row['n_combinatorial'])} tickets "
                "inside, were each tried independently."
            )
            found.append(Finding("b", "for", text, tile))
        elif under[2] < 0.0:
            text = (
                f"{rates}: {points(*under)} beside {number(row['n_disjoint'])} disjoint tickets, "
                "which a multi-start would at least be."
            )
            tile = points_tile(*under, f"of fits, {row['width']} channels against disjoint tickets")
            found.append(Finding("b", "for", text, tile))
        else:
            text = (
                f"{rates}: {points(*over)} beside all tickets inside and {points(*under)} beside "
                "disjoint ones, which some number of tickets may give."
            )
            found.append(Finding("b", "silent", text, tile))
    return found


def write_width_net_report(run: WidthNet, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    table, spec, runs = run.success(), run.spec, run.tables["runs"]
    tests = 2 * (len(spec.factors) - 1)
    joint = run.success(together(tests))
    levels = accuracy_table(runs.assign(accuracy=runs["fit"]), spec.fits, ("width",))
    widths = sorted(set(runs["width"].tolist()))
    page = StudyPage(
        title="Do wider networks of modules fit more often than their tickets would?",
        lead=f"<b>{len(runs):,} networks</b> ({title_of(spec.net)} with {ranges(widths)} channels "
        f"in the first layer, on {spec.on}) were trained alike; a network wins if it has "
        f"{percent(spec.fits)} of the training samples right.",
        question="Width and tickets",
        picture=Picture(
            "width",
            "Networks that fit against width, beside what narrow networks inside would give; and "
            "what each network fits.",
            "95% intervals over starts.",
            lambda: panels.width(table, runs, spec.fits),
        ),
        findings=findings(joint),
        limits=[
            "A narrow network can do less whatever its start: a rate that rises faster than "
            "tickets say so may be what more parameters can express, not what they open.",
            "Tickets are counted by channels of the first layer; all layers widen together.",
            "One protocol of first-order training; a network that does not fit need not be at a "
            "minimum.",
        ],
        method=[
            (
                "Networks",
                f"{title_of(spec.net)}, factors {', '.join(f'{one:g}' for one in spec.factors)}, "
                f"float32; {count(spec.seeds, 'start')} a width",
            ),
            *spec.method,
            ("Win", f"at least {percent(spec.fits)} of the training samples right"),
            (
                "Tickets",
                "null: a network of m channels is floor(m/r) disjoint or C(m, r) overlapping "
                f"independent networks of r = {widths[0]}, the narrowest; price and rate both have "
                "intervals (MOVER)",
            ),
            ("Level", accuracy_text(levels, spec.fits, ("width",))),
            ("Intervals of the findings", together_text(tests)),
        ],
        tables={
            "Success, with predictions and effective tickets": table,
            f"Success, {JOINT}": joint,
            HEADING_ACCURACY: levels,
        },
        terms=panels.TERMS,
        references=["J. Frankle, M. Carbin, The lottery ticket hypothesis, ICLR 2019."],
    )
    return page.write(run, directory)
