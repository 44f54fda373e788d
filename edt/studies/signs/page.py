"""The report of the study of signs."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.publish import Picture
from edt.show.words import count, listed, number, p_is, percent
from edt.studies.common.findings import LEVEL, Finding
from edt.studies.common.study_page import StudyPage
from edt.studies.index_loss.page import REFERENCES
from edt.studies.signs import panels
from edt.studies.signs.run import SignsRun


def findings(table: pd.DataFrame) -> list[Finding]:
    """What the table says of the argument behind claim d: that minima become rare because every
    eigenvalue would have to come up positive by itself.

    Against it where there are more minima than independent signs would make, for it where there
    are fewer; silent between. Both sides of every width are looked at, so each is tested at
    `LEVEL` over twice the number of widths.

    Args:
        table: from `edt.studies.signs.run.coin_table`.
    """
    found = []
    whole = table[table["level"] == -1]
    limit = LEVEL / (2 * max(1, len(whole)))
    for row in whole.to_dict("records"):
        text = (
            f"At width {row['width']}, {percent(row['share'])} of "
            f"{count(int(row['points']), 'critical point')} are minima; independent signs of "
            f"{number(row['P'])} eigenvalues, {percent(row['alpha'])} of them negative, would make "
            f"{percent(row['coins'])}"
        )
        effect = (
            percent(row["share"]),
            f"of critical points at width {row['width']} are minima (independent signs: "
            f"{percent(row['coins'])})",
        )
        if row["p_more"] <= limit:
            tail = f" ({p_is(row['p_more'])}): minima are not as rare as coin tosses say."
            found.append(Finding("d", "against", text + tail, effect))
        elif row["p_fewer"] <= limit:
            tail = f" ({p_is(row['p_fewer'])}): minima are rarer still."
            found.append(Finding("d", "for", text + tail, effect))
        else:
            found.append(Finding("d", "silent", text + ": no difference beyond chance.", effect))
    return found


def spread_text(table: pd.DataFrame) -> str:
    """How far the index spreads, width by width."""
    parts = []
    for row in table[table["level"] == -1].to_dict("records"):
        if not row["null_low"] < row["null_high"]:
            continue
        word = (
            "wider" if row["dispersion"] > row["null_high"]
            else "narrower" if row["dispersion"] < row["null_low"] else "as wide"
        )  # fmt: skip
        parts.append(
            f"width {row['width']}: {number(row['dispersion'])} ({word}; by chance "
            f"{number(row['null_low'])} to {number(row['null_high'])})"
        )
    return "; ".join(parts) or "no index varies"


def write_signs_report(run: SignsRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    table, spec = run.coins(), run.spec
    page = StudyPage(
        title="Are signs of eigenvalues coin tosses?",
        lead=f"<b>{count(len(run.points), 'distinct critical point')}</b> from "
        f"{len(run.tables['runs']):,} starts of Newton's method, cut into {spec.levels} levels of "
        "loss for each teacher and width.",
        question="Signs, and coin tosses",
        picture=Picture(
            "signs",
            "Share of minima among critical points beside what independent signs would make; "
            "spread of the index beside the binomial one.",
            "The null keeps each teacher's share of negative eigenvalues at each level of loss. "
            "A spread of 0 lies below the axis.",
            lambda: panels.signs(table),
        ),
        findings=findings(table),
        limits=[
            "Newton's method finds the critical points near paths of training, and paths end at "
            "minima: more of these are met than a draw among all critical points would hold.",
            "Points are taken as independent within a teacher and level.",
        ],
        method=[
            (
                "Points",
                f"{spec.seeds} students for each of {count(spec.teachers, 'teacher')} left at "
                f"{listed([f'{stop:,}' for stop in spec.stops])} steps of Adam; "
                "zero losses left out",
            ),
            ("Spread of the index, over the binomial variance", spread_text(table)),
        ],
        tables={"Widths and levels": table},
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
