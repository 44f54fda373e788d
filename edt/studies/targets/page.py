"""The report of the study of targets."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.publish import Picture
from edt.show.words import exact, number
from edt.studies.common import contrast
from edt.studies.common.findings import JOINT, together, together_text
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.perturb_rest.page import REFERENCES
from edt.studies.targets import panels
from edt.studies.targets.run import TargetsRun
from edt.studies.targets.spec import TARGETS


def beyond_text(rates: pd.DataFrame) -> str:
    """Median test losses from the narrowest to the widest width, target by target."""
    parts = []
    for data, subset in rates.groupby("data", sort=False):
        subset = subset.sort_values("width")
        first, best, last = (
            subset.iloc[0],
            subset.iloc[int(subset["test"].to_numpy().argmin())],
            subset.iloc[-1],
        )
        parts.append(
            f"{TARGETS[str(data)]}: {number(first['test'])} at width {int(first['width'])}, "
            f"{number(last['test'])} at width {int(last['width'])}, least "
            f"({number(best['test'])}) at width {int(best['width'])}"
        )
    return "; ".join(parts)


def write_targets_report(run: TargetsRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    rates, contrasts, spec = run.rates(), run.contrasts(), run.spec
    thresholds = threshold_table(run.tables["runs"], ("data", "width"), (1.0, 1.1, 2.0))
    tests = len(contrasts)
    contrasts = run.contrasts(together(tests))
    page = StudyPage(
        title="Does width remove bad minima where loss 0 is out of reach?",
        lead=f"<b>{len(run.tables['runs']):,} students</b> on {len(spec.targets)} kinds of target; "
        "what is not good is certified, and every end is tested on other samples.",
        question="Outcomes against width",
        picture=Picture(
            "targets",
            "Share of certified bad minima against width, by target; train and test loss.",
            "Rates: 95% intervals, over teachers where there are several. Losses: medians, as "
            "shares of the target's variance; test samples have no noise.",
            lambda: panels.targets(rates),
        ),
        findings=contrast.findings(contrasts, "data", TARGETS),
        limits=[
            "Out of reach, good is measured by the best narrow student: wide ones win by fitting "
            "more, which is no property of their minima.",
            "The function and the diabetes data are one target each: intervals are over runs.",
        ],
        method=[
            (
                "Good",
                f"without noise: loss ≤ {exact(spec.good)} × variance; with noise (standard "
                "deviation "
                f"{exact(spec.noise)}): at most the teacher's own loss on the same samples; else "
                "within "
                f"{spec.share:.0%} of the lowest at width ≤ {spec.teacher_width}",
            ),
            ("Test loss", beyond_text(rates)),
            ("Threshold", threshold_text(thresholds)),
            ("Labels", f"certified, with {spec.certify_steps} further Newton steps"),
            ("Intervals of the findings", together_text(tests)),
            ("Null", "no change from the narrowest to the widest width"),
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
