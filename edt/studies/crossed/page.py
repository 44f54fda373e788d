"""The report of the crossed study."""

from __future__ import annotations

from typing import Any

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import rate_tile
from edt.show.publish import Picture
from edt.show.words import count, exact, number, p_is, percent, span
from edt.studies.common.findings import JOINT, LEVEL, Finding, together, together_text
from edt.studies.common.prevented import ALWAYS, prevented_finding
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.crossed import panels
from edt.studies.crossed.panels import MANY
from edt.studies.crossed.run import CrossedRun
from edt.studies.perturb_rest.page import REFERENCES


def findings(groups: pd.DataFrame, parts: pd.DataFrame) -> list[Finding]:
    """What the tables say of claim a, that winning tickets fail when the rest is changed.

    By the share of failures that a ticket prevents (`prevented_finding`); against it, too, if
    tickets always win.

    Args:
        groups, parts: `edt.studies.crossed.run.group_table` and ``component_table``.
    """
    by: dict[str, Any] = {row["group"]: row for row in groups.to_dict("records")}
    if "ticket" not in by:
        return []
    part = by["ticket"]
    found = []
    for group in ("fresh", "random", "loser"):
        said = prevented_finding(by[group], MANY[group]) if group in by else None
        found += [said] if said else []
    where = f"{span(part['rate_low'], part['rate_high'])} over {count(part['teachers'], 'teacher')}"
    effect = rate_tile(
        part["rate"],
        part["rate_low"],
        part["rate_high"],
        "of winning tickets win with fresh rests",
    )
    if part["rate_low"] > ALWAYS:
        text = f"Winning tickets win whatever the rest: {percent(part['rate'])} ({where})."
        found.append(Finding("a", "against", text, effect))
    else:
        text = (
            f"With fresh rests around them winning tickets win in {percent(part['rate'])} "
            f"({where}): {part['losers']} of {part['tickets']} lose with some rest; "
            f"{number(part['expected'])} would if tickets did nothing."
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


def joint(run: CrossedRun) -> tuple[pd.DataFrame, int]:
    """The groups with intervals that hold together, and how many they are."""
    tests = run.tables["runs"]["group"].nunique()  # a rate, and a share for each control
    return run.groups(together(tests)), tests


def write_crossed_report(run: CrossedRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    groups, parts, spec = run.groups(), run.components(), run.spec
    r = spec.teacher_width
    groups_joint, tests = joint(run)
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
        findings=findings(groups_joint, parts),
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
            ("Intervals of the findings", together_text(tests)),
            (
                "Nulls",
                "components against wins shuffled among tickets, or among rests; expected losers: "
                "fresh neurons' rate of each teacher",
            ),
        ],
        tables={
            "Groups": groups,
            f"Groups, {JOINT}": groups_joint,
            "Variance components": parts,
            HEADING: thresholds,
        },
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
