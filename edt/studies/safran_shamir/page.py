"""The report of a Safran-Shamir table."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pandas as pd

from edt.landscape.spurious import NEWTON, SPURIOUS, STEP
from edt.locations import Folder, Location
from edt.show import html
from edt.show.answer import Answer, rate, rate_tile
from edt.show.hover import rows
from edt.show.html import Column
from edt.show.publish import Picture, write_page
from edt.show.words import count, exact, listed, number, p_is, p_value, percent, ranges
from edt.studies.common.study_page import plain_table
from edt.studies.common.thresholds import threshold_table, threshold_text
from edt.studies.safran_shamir import panels
from edt.studies.safran_shamir.run import SafranShamirRun
from edt.studies.width.protocol import software

REFERENCES = [
    "I. Safran, O. Shamir, Spurious local minima are common in two-layer ReLU neural networks, "
    "ICML 2018, arXiv 1712.08968.",
    "Y. Cho, L. Saul, Kernel methods for deep learning, NIPS 2009.",
    "E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 "
    "(1927) 209.",
    "R. Newcombe, Interval estimation for the difference between independent proportions, "
    "Statistics in Medicine 17 (1998) 873.",
    "S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of "
    "Statistics 6 (1979) 65.",
]
#: Adjusted p-value at or below which a cell is said to differ.
LEVEL = 0.05


def write_safran_shamir_report(run: SafranShamirRun, directory: Location) -> Folder:
    """Write ``report.html``, the figures and ``provenance.json``; path of the page."""
    table, runs = run.table(), run.tables["runs"]
    picture = Picture(
        "spurious",
        "Share of starts that end in a spurious minimum against teacher width, and the losses of "
        "these minima.",
        "How often: share of spurious ends with 95% Wilson intervals; crosses: reported figures, "
        "which we have not verified. How high: every loss level; area is the share of all starts.",
        lambda: panels.safran_shamir(table, runs),
    )
    lead = (
        f"<b>{len(runs):,} ReLU students</b> of orthonormal ReLU teachers, on the exact loss over "
        "all normal inputs."
    )
    return write_page(
        run,
        directory,
        [picture],
        "Spurious minima of ReLU students",
        lead,
        answer(table),
        partial(_body, run, table),
        _FOOTER,
    )


def answer(table: pd.DataFrame) -> Answer:
    """Shares of spurious ends of the widest teacher, with the fewest and the most neurons."""
    some = table[table["teacher"] == table["teacher"].max()].sort_values("student")
    ends = rows(some)[:: max(len(some) - 1, 1)]
    told, tiles = [], []
    for row in ends:
        found = (row["rate"], row["rate_low"], row["rate_high"])
        told.append(f"{rate(*found)} of students with {row['student']} neurons")
        of = f"of students with {row['student']} neurons end in a spurious minimum"
        tiles.append(rate_tile(*found, of))
    if len(tiles) == 1:
        tiles.append((f"{int(table['starts'].sum()):,}", "starts over all widths"))
    return Answer(
        f"Of teachers with {int(some['teacher'].iloc[0])} neurons, {listed(told)} end in a "
        "spurious minimum, where the loss is not zero.",
        tiles,
    )


_FOOTER = (
    "Table: <code>runs.parquet</code> (one row a start). Every "
    "number follows from the table: <code>edt.studies.table_beside_published(runs)</code>."
)


def _body(
    run: SafranShamirRun, table: pd.DataFrame, figures: dict[str, str], facts: dict[str, Any]
) -> list[str]:
    # Newton's method ends only what descent would end at the same point: one optimiser.
    thresholds = threshold_table(
        run.tables["runs"].assign(target=0, threshold=SPURIOUS), ("teacher", "student")
    )
    return [
        html.section(
            "How often starts end in a spurious minimum",
            figures["spurious"],
            *[html.paragraph(text) for text in findings(run, table)],
            html.table(table, _columns(), "Ours beside the reported shares"),
        ),
        html.section(
            "What this does not say",
            html.bullets(
                [
                    "The reported figures were not checked against the paper. They are shown to "
                    "see whether ours are of that kind; agreement is no proof of either.",
                    "Output weights are fixed to 1 and inputs are normal: rates of trained output "
                    "weights, or of finite data, differ.",
                    "Levels are distinct losses: minima that share a loss, such as permutations, "
                    "count once. There may be more that no start has met.",
                ]
            ),
        ),
        html.section(
            "How it was done",
            html.paragraph(methods()),
            html.definitions([*_parameters(run), ("Threshold", threshold_text(thresholds))]),
            html.details(
                "Ends that are not spurious, at other thresholds", plain_table(thresholds)
            ),
            html.details("Software and machine", html.definitions(software(facts))),
            html.details("References", html.bullets(REFERENCES)),
        ),
    ]


def findings(run: SafranShamirRun, table: pd.DataFrame) -> list[str]:
    """Sentences: the trend, agreement with the reported shares, what the spurious ends are."""
    out = []
    for more in run.spec.extra:
        some = table[table["student"] - table["teacher"] == more]
        first, last = some.iloc[0], some.iloc[-1]
        out.append(
            f"{_students(more)} end in a spurious minimum in {_rate(first)} of the starts when the "
            f"teacher has {int(first['teacher'])} neurons"
            + (f", in {_rate(last)} when it has {int(last['teacher'])}." if len(some) > 1 else ".")
        )
    out.append(comparison(table))
    bad, sharp = int(table["spurious"].sum()), int(table["minima"].sum())
    if bad:
        levels = table[table["spurious"] > 0]["levels"]
        few, most = int(levels.min()), int(levels.max())
        head = f"All {bad:,}" if sharp == bad else f"{sharp:,} of {bad:,}"
        out.append(
            f"{head} spurious ends have a positive definite Hessian: they are strict local minima. "
            f"Their losses lie on {few}"
            + (f" to {most} levels" if most > few else f" {'level' if few == 1 else 'levels'}")
            + " for each pair of widths."
        )
    open_ = int(table["unfinished"].sum())
    out.append(
        f"All runs reached max|∂F| ≤ {exact(run.spec.tol)}."
        if not open_ and run.spec.finish == "all"
        else f"{count(open_, 'run')} of {int(table['starts'].sum()):,} did not reach the tolerance."
    )
    return out


def comparison(table: pd.DataFrame) -> str:
    """One sentence: where ours differ from the reported shares."""
    known = table[table["rate_reported"].notna()]
    if not len(known):
        return "Nothing is reported for these cells."
    apart = known[known["p_adjusted"] <= LEVEL]
    head = (
        f"For {len(known)} of {len(table)} pairs of widths a share is reported, which we have not "
        "verified. Fisher's exact test, adjusted by Holm's method, finds "
    )
    if not len(apart):
        least = float(known["p_adjusted"].min())
        return (
            head + f"no difference at the {percent(LEVEL)} level (smallest adjusted {p_is(least)})."
        )
    cells = [
        f"({int(row['teacher'])}, {int(row['student'])}): ours {_rate(row)}, reported "
        f"{percent_or_dash(row['rate_reported'])}"
        for row in apart.to_dict("records")
    ]
    return head + f"differences at (teacher, student) = {listed(cells)}."


def methods() -> str:
    """The methods paragraph."""
    step, newton = exact(STEP), exact(NEWTON)
    return (
        "Teacher Σ<sub>i≤k</sub> ReLU(v<sub>i</sub>·x) with orthonormal v<sub>i</sub> = "
        "e<sub>i</sub> in k dimensions; students Σ<sub>i≤n</sub> ReLU(w<sub>i</sub>·x), output "
        "weights fixed to 1. The loss F is half the mean squared difference over all standard "
        "normal inputs, in closed form, as are its gradient and Hessian. Weights start from "
        f"N(0, I/k) and follow gradient descent with step {step}. Once max|∂F| ≤ {newton}, "
        "Newton's method is tried and kept only where the Hessian is positive definite and every "
        "step at least halves the gradient, that is, where descent would end at the same point. "
        f"An end with F &gt; {exact(SPURIOUS)} is spurious. Float64 throughout."
    )


def _parameters(run: SafranShamirRun) -> list[tuple[str, str]]:
    spec = run.spec
    extra = listed([str(more) for more in spec.extra])
    return [
        ("Cells", f"teacher widths {ranges(spec.teachers)}; {extra} neurons more"),
        ("Starts", f"{spec.starts:,} a cell, seed {spec.seed}"),
        (
            "Ends",
            f"max|∂F| ≤ {exact(spec.tol)}"
            + (", every run" if spec.finish == "all" else f", or F ≤ {exact(SPURIOUS)}")
            + f"; at most {spec.max_steps:,} steps",
        ),
        (
            "Intervals",
            "95%: Wilson's for shares, Newcombe's for differences; p-values: Fisher's exact test "
            "against the reported share of 1,000 starts, adjusted by Holm's method over all cells",
        ),
        ("Levels", "losses of converged spurious ends that agree to one part in a million"),
    ]


def _columns() -> list[Column]:
    return [
        Column("neurons of teacher", lambda row: str(row["teacher"])),
        Column("of student", lambda row: str(row["student"])),
        Column("starts", lambda row: f"{row['starts']:,}"),
        Column("spurious", lambda row: f"{row['spurious']:,}"),
        Column("share", _rate),
        Column("reported (unverified)", lambda row: percent_or_dash(row["rate_reported"])),
        Column(
            "difference",
            lambda row: (
                "–"
                if math.isnan(row["difference"])
                else f"{signed(row['difference'])} ({signed(row['difference_low'])} to "
                f"{signed(row['difference_high'])})"
            ),
        ),
        Column(
            "p-value, adjusted",
            lambda row: p_value(row["p_adjusted"]),
        ),
        Column("strict minima", lambda row: f"{row['minima']:,}"),
        Column("levels", lambda row: str(row["levels"])),
        Column("median steps", lambda row: number(row["steps"])),
        Column("median loss of spurious ends", lambda row: number(row["loss"])),
    ]


def _students(more: int) -> str:
    if more == 0:
        return "Students as wide as their teachers"
    return f"Students with {count(more, 'neuron')} more"


def _rate(row: Any) -> str:
    return rate(row["rate"], row["rate_low"], row["rate_high"])


def signed(value: float) -> str:
    """Percentage points with a sign."""
    return "–" if math.isnan(value) else f"{100 * value:+.1f}".replace("-", "−")


def percent_or_dash(value: float) -> str:
    """One digit after the point, as the reported figures have."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}%"
