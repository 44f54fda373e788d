"""The report of the study of depth."""

from __future__ import annotations

from edt.locations import Folder, Location
from edt.show.publish import Picture
from edt.show.words import count, exact, option, ranges
from edt.studies.common import contrast
from edt.studies.common.findings import JOINT, together, together_text
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.depth import panels
from edt.studies.depth.run import DepthRun
from edt.studies.perturb_rest.page import REFERENCES


def write_depth_report(run: DepthRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    rates, contrasts, spec = run.rates(), run.contrasts(), run.spec
    words = panels.words(rates)
    thresholds = threshold_table(run.tables["runs"], ("depth", "width"))
    tests = len(contrasts)
    contrasts = run.contrasts(together(tests))
    page = StudyPage(
        title="Does width remove bad minima of deep networks?",
        lead=f"<b>{len(run.tables['runs']):,} students</b> of depths "
        f"{ranges(spec.depths)} learned {count(spec.teachers, 'teacher')} of their "
        "own depth; what is not good is certified.",
        question="Outcomes against width",
        picture=Picture(
            "depth",
            "Share of good runs and of certified bad minima against width, by depth.",
            "95% intervals over teachers.",
            lambda: panels.depth(rates),
        ),
        findings=contrast.findings(contrasts, "depth", words),
        limits=[
            "Teachers of different depths are different targets: lines compare within a depth.",
            "A symmetry of deep networks that the certificate does not know would leave a flat "
            "minimum undecided: it then counts as neither good nor bad.",
        ],
        method=[
            (
                "Students",
                f"{spec.seeds} a depth, width and teacher; "
                f"{option(spec.init)} initialisation; every "
                "hidden layer has the width shown",
            ),
            ("Good", f"loss ≤ {exact(spec.good)} × variance of the target"),
            ("Threshold", threshold_text(thresholds)),
            ("Labels", f"certified, with {spec.certify_steps} further Newton steps"),
            ("Intervals of the findings", together_text(tests)),
            ("Null", "no change from the narrowest to the widest width, teacher by teacher"),
        ],
        tables={
            "Outcomes": rates,
            f"Contrasts, {JOINT}": contrasts,
            HEADING: thresholds,
        },
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
