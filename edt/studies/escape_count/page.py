"""The report of the study of neurons until good."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import points_tile
from edt.show.publish import Picture
from edt.show.words import count, percent, points, span
from edt.studies.common.findings import Finding
from edt.studies.common.students_page import good_text, student_protocol
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.escape_count import panels
from edt.studies.escape_count.panels import WAYS
from edt.studies.escape_count.run import EscapeCountRun
from edt.studies.perturb_rest.page import REFERENCES

#: Neurons added, in the words of a tile.
ADDED = {"split": "split neuron", "fresh": "fresh neuron"}
#: A lead over fresh starts whose interval ends below this is none.
NOTHING = 0.05


def findings(table: pd.DataFrame) -> list[Finding]:
    """What the table says of claim c, that width adds ways out of bad minima.

    After one neuron and after the most: for it where a bad minimum that is given neurons gets away
    more often than as many fresh starts at the same widths succeed, by an interval above 0; against
    it where the interval ends below 5 points.

    Args:
        table: from `edt.studies.escape_count.run.survival_table`.
    """
    found = []
    subset = table[table["width"] == 0]
    ends = (
        sorted({int(subset["neurons"].min()), int(subset["neurons"].max())}) if len(subset) else []
    )
    for neurons in ends:
        for row in subset[subset["neurons"] == neurons].to_dict("records"):
            if row["ahead_low"] != row["ahead_low"]:
                continue
            ahead = row["ahead"], row["ahead_low"], row["ahead_high"]
            minima = count(int(row["minima"]), "bad minimum", "bad minima")
            got = span(1.0 - row["left_high"], 1.0 - row["left_low"])
            text = (
                f"After {count(neurons, 'neuron')} more ({WAYS[row['way']][0]}) "
                f"{percent(1.0 - row['left'])} of {minima} have reached a good end ({got} over "
                f"{count(int(row['teachers']), 'target')}), against as many fresh starts "
                f"{points(*ahead)}"
            )
            effect = points_tile(
                *ahead,
                "of bad minima that reach a good end, against fresh starts, with "
                f"{count(neurons, ADDED[row['way']])} added",
            )
            if row["ahead_low"] > 0.0:
                found.append(Finding("c", "for", text + ".", effect))
            elif row["ahead_high"] < NOTHING:
                found.append(
                    Finding("c", "against", text + ": no better than starting anew.", effect)
                )
            else:
                found.append(Finding("c", "silent", text + ": no difference that shows.", effect))
    return found


def write_escape_count_report(run: EscapeCountRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    table, spec, counts = run.survival(), run.spec, run.tables["counts"]
    minima = len(counts.drop_duplicates(["target", "width", "seed"]))
    thresholds = threshold_table(run.tables["students"])
    page = StudyPage(
        title="How many neurons until a bad minimum is none?",
        lead=f"<b>{count(minima, 'certified bad minimum', 'certified bad minima')}</b> of "
        f"{len(run.tables['students']):,} students, given up to {spec.most} neurons one by one; "
        f"{int(counts['tries'].sum()):,} tries.",
        question="Survival of bad minima",
        picture=Picture(
            "escape-count",
            "Share of bad minima that have not reached a good end against neurons added.",
            "After each neuron the lowest end of as many tries as there were neurons is kept.",
            lambda: panels.escape_count(table),
        ),
        findings=findings(table),
        limits=[
            "Keeping the lowest of several tries is a search: gradient descent gets one.",
            "A minimum that is not good after the most neurons may be with another.",
            *(
                [
                    f"Students narrower than {spec.teacher_width} cannot be good: the first "
                    "neurons of theirs only make it possible."
                ]
                if spec.realisable
                else []
            ),
        ],
        method=[
            *student_protocol(spec),
            (
                "Minima",
                f"up to {count(spec.each, 'certified bad minimum', 'certified bad minima')} of "
                "each target and width",
            ),
            ("Good", good_text(spec)),
            ("Threshold", threshold_text(thresholds)),
            ("Null", "as many students of the same width from fresh starts, trained as the others"),
        ],
        tables={"Survival": table, HEADING: thresholds},
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
