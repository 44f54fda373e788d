"""The report of index against loss."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.publish import Picture
from edt.show.words import count, listed, number, p_is, percent
from edt.studies.common.findings import LEVEL, Finding
from edt.studies.common.study_page import StudyPage
from edt.studies.index_loss import panels
from edt.studies.index_loss.run import IndexLossRun

REFERENCES = (
    "A. Bray, D. Dean, Phys. Rev. Lett. 98 (2007) 150201.",
    "Y. Dauphin et al., NeurIPS 2014, arXiv 1406.2572.",
)


def findings(curve: pd.DataFrame) -> list[Finding]:
    """What the table says of claim c: at higher loss critical points have more ways down.

    For it where the correlation of loss and share of negative eigenvalues is above 0 beyond the
    permutation null within teachers, against it where it is below; among as many widths a p-value
    has to hold its own (Bonferroni).

    Args:
        curve: from `edt.studies.index_loss.run.curve_table`.
    """
    found = []
    level = LEVEL / max(1, int(curve["correlation"].notna().sum()))
    for row in curve.to_dict("records"):
        if row["correlation"] != row["correlation"]:
            continue
        text = (
            f"At width {row['width']}, {percent(row['share_low'])} of the eigenvalues of "
            f"{count(int(row['points']), 'critical point')} are negative below the median loss and "
            f"{percent(row['share_high'])} above it: a rank correlation of "
            f"{number(row['correlation'])} within teachers (by chance up to "
            f"{number(row['limit'])}, {p_is(row['p'])})"
        )
        effect = (
            number(row["correlation"]),
            f"rank correlation of loss and negative eigenvalues at width {row['width']} (by chance "
            f"up to {number(row['limit'])})",
        )
        if row["p"] > level:
            found.append(Finding("c", "silent", text + ".", effect))
        else:
            speaks = "for" if row["correlation"] > 0.0 else "against"
            found.append(Finding("c", speaks, text + ".", effect))
    return found


def write_index_loss_report(run: IndexLossRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    points, curve, spec = run.points, run.curve(), run.spec
    starts = len(run.tables["runs"])
    page = StudyPage(
        title="Do critical points of high loss have more ways down?",
        lead=f"<b>{count(len(points), 'distinct critical point')}</b> found from {starts:,} "
        "starts of Newton's method.",
        question="Index against loss",
        picture=Picture(
            "index-loss",
            "Share of negative eigenvalues of critical points against their loss.",
            "Filled: no neuron to spare. Points that Newton met again are one.",
            lambda: panels.index_loss(points),
        ),
        findings=findings(curve),
        limits=[
            "Newton's method finds the critical points near paths of training; others are not "
            "seen.",
            "Points of equal teacher, width, index and loss count once: mirror images are one.",
        ],
        method=[
            (
                "Starts",
                f"{spec.seeds} students for each of {count(spec.teachers, 'teacher')} at "
                f"{listed([f'{stop:,}' for stop in spec.stops])} steps of Adam, as they are "
                "and pushed off",
            ),
            (
                "Critical",
                "Newton's method on the gradient, then certified without a push; no zero losses",
            ),
            (
                "Null",
                "losses shuffled among the points of each teacher; of several widths a p-value has "
                "to hold its own (Bonferroni)",
            ),
        ],
        tables={"Curve": curve},
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
