"""The report of the crossed study."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import rate_tile
from edt.show.publish import Picture
from edt.show.words import count, exact, number, p_is, percent, points, span
from edt.studies.common.findings import LEVEL, Finding
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.crossed import panels
from edt.studies.crossed.panels import MANY
from edt.studies.crossed.run import CrossedRun
from edt.studies.perturb_rest.page import REFERENCES

#: A ticket that always wins has a rate whose interval ends above this.
ALWAYS = 0.99
#: Most failures: more than this share.
MOST = 0.5


def findings(groups: pd.DataFrame, parts: pd.DataFrame) -> list[Finding]:
    """What the tables say of claim a, that winning tickets fail when the rest is changed.

    A rate says nothing without what other neurons do in the same rests. For the claim: keeping a
    ticket prevents less than half (`MOST`) of the failures of what else stands in its place, by
    the interval of that share. Against it: it prevents some for certain and may prevent most, or
    tickets always win. Silent otherwise.

    Args:
        groups, parts: `edt.studies.crossed.run.group_table` and ``component_table``.
    """
    by = {row["group"]: row for row in groups.to_dict("records")}
    if "ticket" not in by:
        return []
    own = by["ticket"]
    found = []
    for group in ("fresh", "random", "loser"):
        row = by.get(group)
        if row is None or row["prevented_low"] != row["prevented_low"]:
            continue
        share = row["prevented"], row["prevented_low"], row["prevented_high"]
        other = MANY[group]
        text = (
            f"Keeping a winning ticket through the change prevents {percent(share[0])} of the "
            f"failures of {other} in the same rests ({span(*share[1:])}; "
            f"{points(row['ahead'], row['ahead_low'], row['ahead_high'])} of wins)"
        )
        effect = rate_tile(*share, f"of the failures of {other} are prevented by the ticket")
        if row["prevented_high"] < MOST:
            found.append(Finding("a", "for", text + ": most of them are not.", effect))
        elif row["prevented_low"] > MOST:
            found.append(Finding("a", "against", text + ": most of them are.", effect))
        elif row["prevented_low"] > 0.0:
            end = ": something of it survives, and perhaps most."
            found.append(Finding("a", "against", text + end, effect))
        else:
            end = ": neither none nor most is excluded."
            found.append(Finding("a", "silent", text + end, effect))
    where = f"{span(own['rate_low'], own['rate_high'])} over {count(own['teachers'], 'teacher')}"
    effect = rate_tile(
        own["rate"], own["rate_low"], own["rate_high"], "of winning tickets win with fresh rests"
    )
    if own["rate_low"] > ALWAYS:
        text = f"Winning tickets win whatever the rest: {percent(own['rate'])} ({where})."
        found.append(Finding("a", "against", text, effect))
    else:
        text = (
            f"With fresh rests around them winning tickets win in {percent(own['rate'])} "
            f"({where}): {own['losers']} of {own['tickets']} lose with some rest; "
            f"{number(own['expected'])} would if tickets did nothing."
        )
        found.append(Finding("a", "silent", text, effect))
    for row in parts[parts["group"] == "ticket"].to_dict("records"):
        own_, other = percent(row["ticket"]), percent(row["rest"])
        told = []
        if row["ticket_p"] <= LEVEL:
            told.append(f"which ticket it is takes {own_} of the variance")
        if row["rest_p"] <= LEVEL:
            told.append(f"which rest it is takes {other}")
        if told:
            found.append(
                Finding(
                    "a", "silent",
                    f"Within teachers {' and '.join(told)}; {percent(row['interaction'])} is "
                    f"neither's alone ({p_is(row['ticket_p'])} and {p_is(row['rest_p'])}).",
                    (own_, "of the variance within teachers is which ticket it is"),
                )
            )  # fmt: skip
    return found


def write_crossed_report(run: CrossedRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    groups, parts, spec = run.groups(), run.components(), run.spec
    r = spec.teacher_width
    # Teachers have variance 1, so shares of it are losses.
    thresholds = threshold_table(run.tables["runs"].assign(threshold=spec.good), ("group",))
    page = StudyPage(
        title="Is it the ticket, or what is around it?",
        lead=f"<b>{len(run.tables['runs']):,} networks</b> of width {spec.width}: winning tickets "
        f"of {r} neurons and three controls, each with the same {spec.rests} fresh rests.",
        question="Tickets, controls and the same rests",
        picture=Picture(
            "crossed",
            "Win rates of tickets and controls; shares of the variance.",
            "Rates with 95% intervals over teachers. Variance components within teachers.",
            lambda: panels.crossed(groups, parts),
        ),
        findings=findings(groups, parts),
        limits=[
            "A ticket is the neurons that end as the teacher's and win alone; other definitions "
            "may fare differently.",
            "Rests are fresh draws at the scale of the ticket: nothing is said of larger or "
            "smaller surroundings, or of rests chosen to hurt.",
        ],
        method=[
            (
                "Tickets",
                f"matched neurons of winning students of width {spec.width} that win alone, up to "
                f"{spec.tickets} a teacher; losers: those that lose alone",
            ),
            (
                "Controls",
                "random neurons: of the same students, none of the ticket's; fresh: new neurons",
            ),
            ("Rests", f"{spec.width - r} fresh neurons each, the same for every ticket"),
            ("Win", f"loss ≤ {exact(spec.good)} × variance of the target"),
            ("Threshold", threshold_text(thresholds)),
            (
                "Nulls",
                "components against wins shuffled among tickets, or among rests; expected losers: "
                "fresh neurons' rate of each teacher",
            ),
        ],
        tables={"Groups": groups, "Variance components": parts, HEADING: thresholds},
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
