"""The report of the study of cut winners."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import rate_tile
from edt.show.publish import Picture
from edt.show.words import count, exact, percent, ranges, span
from edt.studies.common.findings import JOINT, Finding, together, together_text
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.perturb_rest.page import REFERENCES
from edt.studies.prune_to_narrow import panels
from edt.studies.prune_to_narrow.run import PruneRun

#: Winners whose r neurons hold the win are nearly all above this share; below, many are not.
NEARLY = 0.9


def findings(table: pd.DataFrame) -> list[Finding]:
    """What the table says of claim b, that a wide network is no multi-start over its subsets.

    In a multi-start the win is that of r neurons: cut down to them, trained as they are, every
    winner stays good. So for the claim where the best of the two rules that look at the trained
    network leaves fewer than 90% good (the upper end of its interval), against it where it leaves
    at least as many and is ahead of random neurons by an interval above 0.

    Args:
        table: from `edt.studies.prune_to_narrow.run.remains_table`.
    """
    found = []
    for width, part in table.groupby("width"):
        selected = part[part["rule"].isin(["matched", "strongest"])].sort_values(
            "good", kind="stable"
        )
        if not len(selected):
            continue
        row = selected.iloc[-1]
        base = part[part["rule"] == "random"]["good"]
        text = (
            f"Cut down to {panels.RULES[row['rule']][0]} and trained on, {percent(row['good'])} of "
            f"{count(int(row['winners']), 'winner')} of width {int(str(width))} are good "
            f"({span(row['good_low'], row['good_high'])} over "
            f"{count(int(row['teachers']), 'teacher')})"
        )
        if len(base):
            text += f"; with random neurons {percent(float(base.iloc[0]))}"
        effect = rate_tile(
            row["good"], row["good_low"], row["good_high"],
            f"of winners of width {int(str(width))} are good when cut down to "
            f"{panels.RULES[row['rule']][0]}",
        )  # fmt: skip
        if row["good_high"] < NEARLY:
            tail = ": the win is not that of r neurons."
            found.append(Finding("b", "for", text + tail, effect))
        elif row["good"] >= NEARLY and row["ahead_low"] > 0.0:
            tail = ": r neurons of the winner hold its win."
            found.append(Finding("b", "against", text + tail, effect))
        else:
            found.append(Finding("b", "silent", text + ".", effect))
    return found


def write_prune_report(run: PruneRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    table, spec, runs = run.remains(), run.spec, run.tables["runs"]
    r = spec.teacher_width
    winners = len(runs.drop_duplicates(["target", "width", "seed"]))
    thresholds = threshold_table(runs, ("width", "rule"))
    tests = table["width"].nunique()
    joint = run.remains(together(tests))
    page = StudyPage(
        title="Does the win of a wide network rest on r neurons?",
        lead=f"<b>{count(winners, 'wide winner')}</b>, each cut down to {r} neurons five ways; "
        f"{len(runs):,} narrow networks taken to the bottom.",
        question="What is left of winners",
        picture=Picture(
            "prune-to-narrow",
            "Share of cut winners that are good at the bottom against width, by rule; kinds of "
            "ends where the teacher's neurons were kept.",
            "Rates with 95% intervals over teachers.",
            lambda: panels.prune(table),
        ),
        findings=findings(joint),
        limits=[
            "Neurons are chosen by two rules; another subset of the trained neurons might do "
            "better (all subsets, from their start: edt run subsets).",
            "A cut network that is trained on may win by its training rather than by what was "
            "kept: the random neurons show how often.",
        ],
        method=[
            (
                "Winners",
                f"{spec.seeds} students for each of {count(spec.teachers, 'teacher')} of width {r} "
                f"and of widths {ranges(spec.widths)}; those that win",
            ),
            ("Good", f"loss ≤ {exact(spec.good)} × variance of the target"),
            ("Threshold", threshold_text(thresholds)),
            (
                "To the bottom",
                f"L-BFGS and Newton on exact Hessians, certified with {spec.certify_steps} "
                "further steps; neurons from their start are trained as the wide students first",
            ),
            ("Intervals of the findings", together_text(tests)),
            ("Nulls", "random neurons of the same winner; fresh students of width r"),
        ],
        tables={"Remains": table, f"Remains, {JOINT}": joint, HEADING: thresholds},
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
