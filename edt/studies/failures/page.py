"""The report of the study of failures."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import points_tile
from edt.show.publish import Picture
from edt.show.words import count, percent, points, span
from edt.studies.common.findings import JOINT, Finding, together, together_text
from edt.studies.common.students_page import good_text, student_protocol
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.failures import panels
from edt.studies.failures.panels import WAYS
from edt.studies.failures.run import FailuresRun
from edt.studies.perturb_rest.page import REFERENCES

#: A lead over kicks whose interval ends below this is none.
NOTHING = 0.05
#: What ends of a label are called, one and several.
ENDS = {
    "minimum": ("bad minimum", "bad minima"), "channel": ("channel", "channels"),
    "saturated": ("end with saturated units", "ends with saturated units"),
}  # fmt: skip
#: How they go on, at the beginning of a sentence.
BY = {
    "inside": "With a neuron split inside", "outside": "With a neuron split outside",
    "fresh": "With a fresh neuron",
}  # fmt: skip


def findings(failures: pd.DataFrame, ways: pd.DataFrame) -> list[Finding]:
    """What the tables say of claim c, that width adds ways out of bad minima, and of d, that bad
    minima become rare.

    c: a way of adding a neuron is ahead of kicks by an interval above 0 (for), or by one that ends
    below 5 points (against). d: from the narrowest to the widest width the rate of certified bad
    minima changes, teacher by teacher, by an interval below 0 (for) or above it (against).

    Args:
        failures, ways: `edt.studies.failures.run.failure_table` and ``escape_rates``.
    """
    found = []
    for row in ways.to_dict("records"):
        if row["way"] == "kick" or row["good_ahead"] != row["good_ahead"]:
            continue
        who = count(int(row["ends"]), *ENDS[row["label"]])
        text = (
            f"{BY[row['way']]}, {percent(row['good'])} of {who} reach a good end "
            f"by some try ({span(row['good_low'], row['good_high'])})"
        )
        if row["good_ahead_low"] != row["good_ahead_low"]:
            continue
        ahead = row["good_ahead"], row["good_ahead_low"], row["good_ahead_high"]
        gap = f"against as many kicks without a neuron {points(*ahead)}"
        effect = points_tile(
            *ahead, f"of {ENDS[row['label']][1]} that reach a good end, against kicks: "
            f"{WAYS[row['way']][0]}"
        )  # fmt: skip
        if row["good_ahead_low"] > 0.0:
            found.append(Finding("c", "for", f"{text}, {gap}.", effect))
        elif row["good_ahead_high"] < NOTHING:
            found.append(Finding("c", "against", f"{text}, {gap}: no more than kicks do.", effect))
        else:
            found.append(
                Finding("c", "silent", f"{text}, {gap}: no difference that shows.", effect)
            )
    if len(failures) > 1:
        first, last = failures.iloc[0], failures.iloc[-1]
        change = last["bad_change"], last["bad_change_low"], last["bad_change_high"]
        narrow, wide = int(first["width"]), int(last["width"])
        effect = points_tile(*change, f"of bad minima, from width {narrow} to {wide}")
        text = (
            f"Certified bad minima are {percent(first['bad'])} of the runs at width {narrow} and "
            f"{percent(last['bad'])} ({span(last['bad_low'], last['bad_high'])}) at width {wide}: "
            f"{points(*change)}, over {count(int(first['teachers']), 'target')}"
        )
        if last["bad_change_high"] < 0.0:
            found.append(Finding("d", "for", text + ".", effect))
        elif last["bad_change_low"] > 0.0:
            found.append(Finding("d", "against", text + ".", effect))
        else:
            found.append(Finding("d", "silent", text + ": no change that shows.", effect))
    return found


def joint(run: FailuresRun) -> tuple[int, pd.DataFrame, pd.DataFrame]:
    """How many comparisons the findings are of, and the tables at intervals that hold together."""
    tests = 1 + int(run.ways_out()["good_ahead"].notna().sum())
    return tests, run.failures(together(tests)), run.ways_out(together(tests))


def write_failures_report(run: FailuresRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    table, ways, spec = run.failures(), run.ways_out(), run.spec
    tests, failures_joint, ways_joint = joint(run)
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
            "reaches the good loss; 95% intervals over targets.",
            lambda: panels.failures(table, ways),
        ),
        findings=findings(failures_joint, ways_joint),
        limits=[
            "A channel is no critical point: its way down is looked for where the run stands, "
            "along the most negative direction of the wide Hessian.",
            "An end that gets away by one of several tries need not do so by gradient descent.",
        ],
        method=[
            *student_protocol(spec),
            ("Good", good_text(spec)),
            (
                "Labels",
                f"certified, with {spec.certify_steps} further Newton steps, for every run that is "
                "not good",
            ),
            ("Going on", f"up to {count(spec.each, 'end')} of each label, width and target"),
            ("Threshold", threshold_text(thresholds)),
            ("Intervals of the findings", together_text(tests)),
            ("Null", "as many kicks of the narrow network by random steps, 1% of its norm"),
        ],
        tables={
            "Failures": table,
            "Ways out": ways,
            f"Failures, {JOINT}": failures_joint,
            f"Ways out, {JOINT}": ways_joint,
            HEADING: thresholds,
        },
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
