"""The report of the study of barriers and basins."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import rate_tile
from edt.show.publish import Picture
from edt.show.words import count, exact, percent, signed, span
from edt.studies.barriers import panels
from edt.studies.barriers.run import BarriersRun
from edt.studies.common.findings import JOINT, Finding, together, together_text
from edt.studies.common.students_page import good_text, student_protocol
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text

REFERENCES = (
    "R. Entezari et al., ICLR 2022, arXiv 2110.06296.",
    "T. Garipov et al., NeurIPS 2018, arXiv 1802.10026.",
)


def findings(table: pd.DataFrame, basins: pd.DataFrame) -> list[Finding]:
    """What the tables say of barriers (none of the four claims, no letter), and of claim c.

    Barriers: "for" where those of the widest networks are below those of the narrowest by an
    interval of the teachers' differences, "against" where above. Claim c, that width adds ways out
    of bad ends: for it where pushed bad minima of the widest networks come back less often than
    those of the narrowest, intervals apart, at the same radius; against it where more often. Of
    several radii the one with the largest difference speaks.

    Args:
        table, basins: `edt.studies.barriers.run.barrier_table` and ``basin_table``.
    """
    found = []
    for path, part in table.groupby("path", sort=False):
        known = part[part["change_low"].notna()]
        if not len(known):
            continue
        first, last = part.iloc[0], known.iloc[-1]
        text = (
            f"From width {int(first['width'])} to width {int(last['width'])} barriers (paths: "
            f"{panels.PATHS[str(path)][0]}) change by {signed(last['change'])} of the variance "
            f"({signed(last['change_low'])} to {signed(last['change_high'])})"
        )
        effect = (
            signed(last["change"]),
            f"of the variance, change of barriers from width {int(first['width'])} to "
            f"{int(last['width'])}: {panels.PATHS[str(path)][0]} (95%: "
            f"{signed(last['change_low'])} to {signed(last['change_high'])})",
        )
        if last["change_high"] < 0.0:
            found.append(Finding("barriers", "for", text + ": they fall with width.", effect))
        elif last["change_low"] > 0.0:
            found.append(Finding("barriers", "against", text + ": they rise with width.", effect))
        else:
            found.append(Finding("barriers", "silent", text + ": no change that shows.", effect))
    bad = basins[basins["end"] == "bad"]
    widths = sorted(bad["width"].unique())
    if len(widths) > 1:
        both = bad[bad["width"] == widths[0]].merge(
            bad[bad["width"] == widths[-1]], on="radius", suffixes=("", "_wide")
        )
        row = both.iloc[int((both["back"] - both["back_wide"]).abs().to_numpy().argmax())]
        text = (
            f"Pushed by {exact(row['radius'])} of their norm, {percent(row['back'])} "
            f"({span(row['back_low'], row['back_high'])}) of bad minima of width {widths[0]} and "
            f"{percent(row['back_wide'])} ({span(row['back_low_wide'], row['back_high_wide'])}) of "
            f"width {widths[-1]} come back, over {count(int(row['teachers_wide']), 'target')}"
        )
        effect = rate_tile(
            row["back_wide"], row["back_low_wide"], row["back_high_wide"],
            f"of bad minima of width {widths[-1]} come back when pushed by "
            f"{exact(row['radius'])} of their norm",
        )  # fmt: skip
        if row["back_high_wide"] < row["back_low"]:
            found.append(Finding("c", "for", text + ".", effect))
        elif row["back_low_wide"] > row["back_high"]:
            found.append(Finding("c", "against", text + ".", effect))
        else:
            found.append(Finding("c", "silent", text + ": the intervals overlap.", effect))
    return found


def write_barriers_report(run: BarriersRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    table, basins, spec = run.barriers(), run.basins(), run.spec
    thresholds = threshold_table(run.tables["students"])
    tests = table["path"].nunique() + basins["radius"].nunique()
    joint = run.barriers(together(tests)), run.basins(together(tests))
    page = StudyPage(
        title="Do barriers fall with width, and do bad basins shrink?",
        lead=f"<b>{count(len(run.tables['pairs']), 'pair')}</b> of good ends joined, "
        f"{len(run.tables['pushes']):,} pushes of good and of bad ends, among "
        f"{len(run.tables['students']):,} students.",
        question="Barriers and basins",
        picture=Picture(
            "barriers",
            "Barriers between good ends against width; share of pushed ends that come back "
            "against the length of the push.",
            "Means and rates with 95% intervals over targets.",
            lambda: panels.barriers(table, basins),
        ),
        findings=findings(*joint),
        limits=[
            "Pairs share ends; targets are the unit.",
            "A random push of many parameters moves each of them less: equal radii are not equal "
            "changes of the function.",
            "A bend that was not found is no proof of a barrier.",
        ],
        method=[
            *student_protocol(spec),
            (
                "Barrier",
                "max of the loss along the path above the straight line between the ends' losses",
            ),
            (
                "Back",
                "a bad minimum: at its own loss to one part in 100,000; a good end: good again",
            ),
            ("Good", good_text(spec)),
            ("Threshold", threshold_text(thresholds)),
            ("Intervals of the findings", together_text(tests)),
            ("Null", "no difference from the narrowest to the widest width"),
        ],
        tables={
            "Barriers": table,
            "Basins": basins,
            f"Barriers, {JOINT}": joint[0],
            f"Basins, {JOINT}": joint[1],
            HEADING: thresholds,
        },
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
