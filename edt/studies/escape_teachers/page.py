"""The report of the study of teachers chosen by escape dimensions."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import number_tile
from edt.show.publish import Picture
from edt.show.words import between, count, exact, number, p_is, ranges
from edt.studies.common.findings import LEVEL, Finding
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.escape_teachers import panels
from edt.studies.escape_teachers.run import EscapeTeachersRun
from edt.studies.perturb_rest.page import REFERENCES


def findings(table: pd.DataFrame) -> list[Finding]:
    """What the test says of claim c, that width helps by the ways out that it adds.

    For it: what a neuron adds goes with the escape dimensions that it opens (the interval of the
    elasticity lies above 0, and the permutation test agrees). Against it: it does not go with them
    as it would if they were the cause (the interval lies below 1 and holds 0, or lies below 0).

    Args:
        table: from `edt.studies.escape_teachers.run.growth_table`.
    """
    found = []
    for row in table.to_dict("records"):
        low, high = row["elasticity_low"], row["elasticity_high"]
        if row["elasticity"] != row["elasticity"]:
            continue
        teachers = count(int(row["teachers"]), "teacher")
        text = (
            f"Over {teachers} whose neurons open {number(row['opened_least'])} to "
            f"{number(row['opened_most'])} ways down, what a neuron adds to success goes with them "
            f"by an elasticity of {number(row['elasticity'])} ({between(low, high)}): 1 would be "
            f"proportional, 0 no connection; {p_is(row['p'])} for no connection"
        )
        effect = number_tile(
            row["elasticity"], low, high,
            "elasticity of what a neuron adds to the ways down that it opens",
        )  # fmt: skip
        if low > 0.0 and row["p"] <= LEVEL:
            found.append(Finding("c", "for", text + ".", effect))
        elif high < 1.0 and low <= 0.0:
            found.append(
                Finding("c", "against", text + ": width helps, but not by their number.", effect)
            )
        else:
            found.append(Finding("c", "silent", text + ": not decided.", effect))
    return found


def write_escape_teachers_report(run: EscapeTeachersRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    spec, runs, candidates = run.spec, run.tables["runs"], run.tables["candidates"]
    rates, teachers, growth = run.rates(), run.teachers(), run.growth()
    # Teachers have variance 1, so shares of it are losses.
    thresholds = threshold_table(runs.assign(threshold=spec.good), ("group", "width"))
    kept = count(len(teachers), "teacher")
    page = StudyPage(
        title="Is it width, or the ways down that width opens?",
        lead=f"<b>{len(runs):,} students</b> of {kept}, chosen from {len(candidates)} by how many "
        "ways down a neuron opens at their bad minima.",
        question="Few ways down, and many",
        picture=Picture(
            "escape-teachers",
            "Success against width of teachers with few and with many escape dimensions; what a "
            "neuron adds against the escape dimensions that it opens.",
            "Rates with 95% intervals over teachers. Each mark on the right is a teacher.",
            lambda: panels.escape_teachers(rates, teachers),
        ),
        findings=findings(growth),
        limits=[
            "Teachers are chosen by their escape dimensions, not given them: what else differs "
            "between such teachers may be the cause.",
            "The number of ways down is measured at bad minima of width r, by splitting neurons; "
            "it is taken to be the same at every width.",
            "It has an error of its own, which flattens the slope: an elasticity below 1 is not "
            "by itself evidence against proportionality.",
        ],
        method=[
            (
                "Candidates",
                f"{spec.candidates} random teachers of width r = {spec.teacher_width}; "
                f"{spec.pilots} students of width r each, to the bottom and certified; neurons of "
                f"up to {spec.minima} distinct bad minima split half and half, negative "
                "eigenvalues of the wide Hessian counted",
            ),
            (
                "Students",
                f"{len(runs):,} others, {spec.seeds} a width and teacher, widths "
                f"{ranges(spec.widths)}, {spec.activation}, started at the scale of width r",
            ),
            ("Win", f"loss ≤ {exact(spec.good)} × variance of the target"),
            ("Threshold", threshold_text(thresholds)),
            (
                "What a neuron adds",
                "slope of −ln((failures + ½) / (runs + 1)) on the width, teacher by teacher",
            ),
            (
                "Test",
                "slope of that on the escape dimensions a neuron, in units of their means "
                "(elasticity), with a 95% jackknife interval over teachers; null: escape "
                "dimensions shuffled among teachers",
            ),
        ],
        tables={
            "Test": growth,
            "Teachers, one by one, with their effective tickets": teachers,
            "Success": rates,
            "Candidates": candidates,
            HEADING: thresholds,
        },
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
