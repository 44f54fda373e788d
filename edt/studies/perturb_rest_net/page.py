"""The report of perturbed rests of networks of modules."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import points_tile, rate_tile
from edt.show.publish import Picture
from edt.show.words import count, number, percent, points, span
from edt.studies.common.findings import JOINT, Finding, together, together_text
from edt.studies.common.nets import title_of
from edt.studies.common.prevented import ALWAYS, prevented_finding
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING_ACCURACY, accuracy_table, accuracy_text
from edt.studies.perturb_rest.page import CHANGE
from edt.studies.perturb_rest_net import panels
from edt.studies.perturb_rest_net.panels import WORDS
from edt.studies.perturb_rest_net.run import PerturbRestNet

__all__ = ["findings", "write_perturb_net_report"]


def findings(table: pd.DataFrame) -> list[Finding]:
    """What the numbers say of claim a, that winning tickets fail when the rest is perturbed.

    Wins speak by the share of failures that a ticket prevents (`prevented_finding`), test
    accuracies by which is ahead: a ticket that is has kept something, one that is behind has not.
    Against it, too, if tickets always win.

    Args:
        table: `edt.studies.perturb_rest_net.run.group_table`.
    """
    last = table[table["size"] == table["size"].max()]
    by = {row["group"]: row for row in last.to_dict("records")}
    part = by.get("ticket")
    if part is None:
        return []
    found = []
    told = (
        f"in {percent(part['rate'])} ({span(part['rate_low'], part['rate_high'])} over "
        f"{count(part['parents'], 'parent')})"
    )
    effect = rate_tile(
        part["rate"],
        part["rate_low"],
        part["rate_high"],
        "of winning tickets win with changed rests",
    )
    if part["rate_low"] > ALWAYS:
        text = f"Winning tickets win whatever the rest: {told}."
        found.append(Finding("a", "against", text, effect))
    else:
        text = (
            f"With changed rests winning tickets win {told}: {part['losers']} of {part['parents']} "
            f"lose with some rest; {number(part['expected'])} would if they did nothing."
        )
        found.append(Finding("a", "silent", text, effect))
    for group in ("fresh", "random"):
        row = by.get(group)
        if row is None:
            continue
        other = WORDS[group][0]
        said = prevented_finding(row, other)
        found += [said] if said else []
        low, high = row["gain_low"], row["gain_high"]
        if low != low:
            continue
        text = (
            f"The test accuracy of winning tickets differs from that of {other} by "
            f"{points(row['gain'], low, high)}"
        )
        tile = points_tile(
            row["gain"], low, high, f"of test accuracy, winning tickets against {other}"
        )
        if low > 0.0:
            end, speaks = ": something of them survives the change.", "against"
        elif high < 0.0:
            end, speaks = ": they do worse.", "for"
        else:
            end, speaks = ": no difference that shows.", "silent"
        found.append(Finding("a", speaks, text + end, tile))
    return found


def write_perturb_net_report(run: PerturbRestNet, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    table, spec, tickets = run.groups(), run.spec, run.tables["tickets"]
    level = float(tickets["level"].iloc[0])
    # A rate, and of each control a share and a difference.
    tests = 1 + 2 * len({"fresh", "random"} & set(table["group"]))
    joint = run.groups(together(tests))
    by = ("size", "group")
    levels = accuracy_table(run.tables["runs"], level, by)
    page = StudyPage(
        title="Can a winning ticket of a real network be made to fail?",
        lead=f"<b>{len(run.tables['runs']):,} networks</b> "
        f"({title_of(spec.net, spec.factor)} on {spec.on}) "
        "kept a winning ticket's initial weights, or those of one of three controls, and had the "
        "rest changed.",
        question="Tickets, controls and the same rests",
        picture=Picture(
            "groups",
            "Win rates and test accuracies of tickets and controls with changed rests.",
            "95% intervals over parents, at the largest change.",
            lambda: panels.groups(table, level),
        ),
        findings=findings(joint),
        limits=[
            "A win is a test accuracy under one short protocol; more steps turn losses into wins.",
            "Parents are chosen because they win and their ticket wins alone: what was luck in "
            "that is gone when the rest is drawn again, whatever is kept.",
            "Magnitude tickets leave a rest of small weights, and a fresh draw is larger; only a "
            "permuted rest keeps its values.",
            "Losing tickets are of other parents, so no difference to them is tested.",
        ],
        method=[
            *spec.method,
            (
                "Tickets",
                f"{count(spec.rounds, 'round')} of magnitude pruning, {percent(spec.share)} of "
                f"each layer's weights a round, rewound to step {spec.rewind}; of "
                f"{spec.candidates} networks, up to {spec.tickets} whose ticket wins "
                "alone. Biases and norms belong to both",
            ),
            ("Change", CHANGE[spec.change]),
            ("Level", accuracy_text(levels, level, by)),
            ("Intervals of the findings", together_text(tests)),
            (
                "Controls",
                "as many other weights of the same network, layer by layer, none of them the "
                "ticket's; fresh weights under the ticket's mask; tickets that lose alone. The "
                "first two meet the same draws of the rest and the same order of samples",
            ),
        ],
        tables={
            "Groups": table,
            f"Groups, {JOINT}": joint,
            "Networks and their tickets": tickets,
            HEADING_ACCURACY: levels,
        },
        terms=panels.TERMS,
        references=[
            "J. Frankle, M. Carbin, The lottery ticket hypothesis, ICLR 2019, arXiv 1803.03635.",
            "J. Frankle et al., Linear mode connectivity and the lottery ticket hypothesis, ICML "
            "2020, arXiv 1912.05671.",
        ],
    )
    return page.write(run, directory)
