"""The report of the study of all subsets."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import rate_tile
from edt.show.publish import Picture
from edt.show.words import count, exact, number, option, p_is, percent, span
from edt.studies.common.findings import JOINT, LEVEL, Finding, together, together_text
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import (
    HEADING,
    beside_the_best,
    threshold_table,
    threshold_text,
)
from edt.studies.perturb_rest.page import REFERENCES
from edt.studies.subsets import panels
from edt.studies.subsets.run import SubsetsRun

#: Share of networks that must disagree with a multi-start, at least, to speak against it.
DISAGREE = 0.01


def findings(table: pd.DataFrame, tests: int = 1) -> list[Finding]:
    """What the table says of claim b, that a wide network is no multi-start over its subsets.

    A multi-start wins exactly where some subset wins. So disagreement beyond `DISAGREE` (the lower
    end of its interval) speaks for the claim; that the number of winning subsets foretells the
    network's win (AUC within teachers) speaks against it. A sample of the subsets cannot show that
    none wins.

    Args:
        table: from `edt.studies.subsets.run.subset_table`.
        tests: among how many a p-value has to hold its own.
    """
    found = []
    for row in table[table["tickets"] > 1].to_dict("records"):
        at = f"At width {row['width']},"
        teachers = count(int(row["teachers"]), "teacher")
        foretold = (
            number(row["auc"]),
            f"AUC of winning subsets for wins at width {row['width']} (0.5 by chance; "
            f"{p_is(row['auc_p'])})",
        )
        if row["only_alone_low"] > DISAGREE:
            found.append(
                Finding(
                    "b", "for",
                    f"{at} {percent(row['only_alone'])} of the networks "
                    f"({span(row['only_alone_low'], row['only_alone_high'])} over {teachers}) lose "
                    "though a subset of their neurons wins alone: a multi-start would have won.",
                    rate_tile(
                        row["only_alone"], row["only_alone_low"], row["only_alone_high"],
                        f"of networks of width {row['width']} lose though a subset wins alone",
                    ),
                )
            )  # fmt: skip
        if row["whole"] and row["only_together_low"] > DISAGREE:
            found.append(
                Finding(
                    "b", "for",
                    f"{at} {percent(row['only_together'])} "
                    f"({span(row['only_together_low'], row['only_together_high'])}) win though "
                    f"none of their {row['tickets']:,} subsets wins alone.",
                    rate_tile(
                        row["only_together"], row["only_together_low"], row["only_together_high"],
                        f"of networks of width {row['width']} win though no subset does",
                    ),
                )
            )  # fmt: skip
        if row["auc_p"] <= LEVEL / tests and row["auc"] > 0.5:
            found.append(
                Finding(
                    "b", "against",
                    f"{at} networks with more winning subsets win more often: AUC "
                    f"{number(row['auc'])} within teachers, {p_is(row['auc_p'])}.",
                    foretold,
                )
            )  # fmt: skip
        elif row["auc"] == row["auc"]:
            found.append(
                Finding(
                    "b", "silent",
                    f"{at} the number of winning subsets does not tell winners from losers beyond "
                    f"chance: AUC {number(row['auc'])} within teachers, "
                    f"{p_is(row['auc_p'])}.",
                    foretold,
                )
            )  # fmt: skip
    return found


def joint(run: SubsetsRun) -> tuple[pd.DataFrame, int]:
    """The table with intervals that hold together, and of how many comparisons the findings are."""
    tests = 3 * max(1, int((run.agreement()["tickets"] > 1).sum()))
    return run.agreement(together(tests)), tests


def write_subsets_report(run: SubsetsRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    table, runs, spec = run.agreement(), run.tables["runs"], run.spec
    r = spec.teacher_width
    together_table, tests = joint(run)
    thresholds = threshold_table(beside_the_best(runs, spec.good), ("width", "who"))
    page = StudyPage(
        title="Is a wide network a search over all its subsets?",
        lead=f"<b>{len(runs):,} wide networks</b>; {int(runs['tickets'].sum()):,} subsets of {r} "
        "of their neurons were trained alone, from the weights they have inside.",
        question="The network, and its subsets",
        picture=Picture(
            "subsets",
            "Success of wide networks, of some subset alone, of one subset alone.",
            "Rates with 95% intervals over teachers. Right: the networks of each teacher in "
            "quarters by how many of their subsets win alone.",
            lambda: panels.subsets(table, runs),
        ),
        findings=findings(together_table, tests),
        limits=[
            "A subset alone has no other neurons to learn from or against: losing alone does not "
            "mean that it would not help inside.",
            "Intervals are over so few teachers as there are; other teachers may differ.",
            "Where a random sample of the subsets was trained (column whole), another may win.",
        ],
        method=[
            (
                "Networks",
                f"{count(spec.teachers, 'teacher')} of width {r}, {spec.seeds} networks a width "
                f"and teacher, {option(spec.activation)}, started at the scale of width {r}",
            ),
            ("Subsets", f"all C(m, {r}) up to {spec.most:,} a network, else a random sample"),
            ("Win", f"loss ≤ {exact(spec.good)} × variance of the target"),
            ("Threshold", threshold_text(thresholds)),
            ("Intervals of the findings", f"{together_text(tests)}; p-values of AUC as well"),
            (
                "Nulls",
                "AUC (0.5 by chance) and information (bits) against wins shuffled "
                "among the networks of each "
                "teacher; random: only-together rate of independent outcomes",
            ),
        ],
        tables={
            "All widths": table,
            f"All widths, {JOINT}": together_table,
            HEADING: thresholds,
        },
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
