"""The report of the study of failures."""

from __future__ import annotations

import pandas as pd

from edt.places import Folder, Location
from edt.show.publish import Picture
from edt.show.words import count, percent, span
from edt.studies.common.findings import Finding
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import threshold_table, threshold_text
from edt.studies.failures import panels
from edt.studies.failures.panels import WAYS
from edt.studies.failures.run import FailuresRun
from edt.studies.perturb_rest.page import REFERENCES

#: A lead over kicks whose interval ends below this is none.
NOTHING = 0.05
#: What ends of a label are called.
ENDS = {"minimum": "bad minima", "channel": "channels", "saturated": "ends with saturated units"}


def findings(failures: pd.DataFrame, ways: pd.DataFrame) -> list[Finding]:
    """What the tables say of claim c, that width adds ways out of bad minima, and of d, that bad
    minima become rare.

    c: a way of adding a neuron is ahead of kicks by an interval above 0 (for), or by one that ends
    below 5 points (against). d: the upper end of the rate of
    certified bad minima at the widest width is below the lower end at the narrowest (for); it is
    above its upper end (against).

    Args:
        failures, ways: `edt.studies.failures.run.failure_table` and ``escape_rates``.
    """
    found = []
    for row in ways.to_dict("records"):
        if row["way"] == "kick" or row["good_ahead"] != row["good_ahead"]:
            continue
        who = f"{count(int(row['ends']), 'end')} of the kind {ENDS[row['label']]}"
        text = (
            f"{WAYS[row['way']][0].capitalize()}, {percent(row['good'])} of {who} reach a good "
            f"end by some try ({span(row['good_low'], row['good_high'])})"
        )
        if row["good_ahead_low"] != row["good_ahead_low"]:
            continue
        gap = (
            f"{100 * row['good_ahead']:+.0f} points against as many kicks without a neuron "
            f"({100 * row['good_ahead_low']:.0f} to {100 * row['good_ahead_high']:.0f})"
        )
        if row["good_ahead_low"] > 0.0:
            found.append(Finding("c", "for", f"{text}, {gap}."))
        elif row["good_ahead_high"] < NOTHING:
            found.append(Finding("c", "against", f"{text}, {gap}: no more than kicks do."))
        else:
            found.append(Finding("c", "silent", f"{text}, {gap}: not apart."))
    if len(failures) > 1:
        first, last = failures.iloc[0], failures.iloc[-1]
        one = f"{percent(first['bad'])} ({span(first['bad_low'], first['bad_high'])})"
        other = f"{percent(last['bad'])} ({span(last['bad_low'], last['bad_high'])})"
        text = (
            f"Certified bad minima are {one} of the runs at width {int(first['width'])} and "
            f"{other} at width {int(last['width'])}, over "
            f"{count(int(first['teachers']), 'teacher')}"
        )
        if last["bad_high"] < first["bad_low"]:
            found.append(Finding("d", "for", text + "."))
        elif last["bad_low"] > first["bad_high"]:
            found.append(Finding("d", "against", text + "."))
        else:
            found.append(Finding("d", "silent", text + ": the intervals overlap."))
    return found


def write_failures_report(run: FailuresRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    table, ways, spec = run.failures(), run.ways_out(), run.spec
    thresholds = threshold_table(run.tables["students"])
    lost = int(table["failed"].sum())
    page = StudyPage(
        title="What are failed runs, and does a neuron more help?",
        lead=f"<b>{len(run.tables['students']):,} students</b>, {lost:,} of which failed; "
        f"{count(len(run.tables['escapes']), 'way', 'ways')} to go on from the failed ones.",
        question="Failures, and ways out of them",
        picture=Picture(
            "failures",
            "Kinds of failed ends against width; who gets away with a neuron more.",
            "Right: ends from which at least one of as many tries as the network has neurons "
            "reaches the good loss; 95% intervals over teachers.",
            lambda: panels.failures(table, ways),
        ),
        findings=findings(table, ways),
        limits=[
            "A channel is no critical point: its way down is looked for where the run stands, "
            "along the most negative direction of the wide Hessian.",
            "An end that gets away by one of several tries need not do so by gradient descent.",
        ],
        method=[
            (
                "Students",
                f"widths {', '.join(map(str, spec.widths))}, {spec.seeds} seeds for each of "
                f"{count(spec.teachers, 'teacher')} of width {spec.teacher_width}",
            ),
            (
                "Labels",
                f"edt.certify with {spec.certify_steps} further Newton steps for every run that is "
                "not good",
            ),
            ("Going on", f"up to {spec.each} ends of each label, width and teacher"),
            ("Threshold", threshold_text(thresholds)),
            ("Null", "as many kicks of the narrow network by random steps, 1% of its norm"),
        ],
        tables={"Failures": table, "Ways out": ways, "Other thresholds": thresholds},
        references=REFERENCES,
    )
    return page.write(run, directory)
