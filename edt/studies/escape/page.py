"""The report of an escape experiment."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from edt.landscape import DESTINATIONS
from edt.locations import Folder, Location
from edt.show import html
from edt.show.answer import Answer, Tile, rate, rate_tile
from edt.show.hover import rows
from edt.show.html import Column
from edt.show.landscape import agreement, escape_panels
from edt.show.publish import Picture, write_page
from edt.show.words import count, exact, interval, listed, number, percent, span
from edt.stats import cluster_rate
from edt.studies.common.students_page import good_text, student_protocol
from edt.studies.common.study_page import plain_table
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.escape import panels
from edt.studies.escape.run import EscapeRun
from edt.studies.width.protocol import REFERENCES, software

#: Recomputes the numbers of the page; shown on it, and run by the tests.
SNIPPET = """import pandas as pd
from edt.studies.escape.run import dimension_table, open_table, plateau_table
from edt.landscape import escape_table

points = pd.read_parquet("points.parquet")  # one row an embedded bad minimum
starts = pd.read_parquet("starts.parquet")  # one row a run that leaves one
paths = pd.read_parquet("paths.parquet")    # one row a moment of gradient descent
dimensions = dimension_table(points)        # escape dimensions against neurons added
ends = escape_table(points, starts, ["narrow", "width"])  # where the ways down end
by_start = escape_table(points, starts, ["added", "shares", "kind"])
opened, places = open_table(paths), plateau_table(paths)  # gradient descent's own paths
"""


def write_escape_report(run: EscapeRun, directory: Location) -> Folder:
    """Write ``report.html``, the figures and ``provenance.json``; path of the page."""
    lead = (
        f"<b>{count(run.points['source'].nunique(), 'bad minimum', 'bad minima')}</b> of "
        f"{len(run.tables['students']):,} students were embedded into wider networks in "
        f"{len(run.points):,} ways, and left by {len(run.starts):,} runs."
    )
    title = "Do more neurons open ways out of bad minima?"
    return write_page(
        run,
        directory,
        pictures(run),
        title,
        lead,
        answer(run),
        partial(_body, run),
        _FOOTER,
    )


def answer(run: EscapeRun) -> Answer:
    """Share of minima that open with a neuron more, and of runs that reach a good one."""
    clear = run.points[run.points["clear"]]
    tiles: list[Tile] = []
    told = []
    if len(clear):
        by = clear.assign(down=clear["n_neg"] > 0).groupby("source")["down"].agg(["sum", "size"])
        open_ = cluster_rate(by["sum"], by["size"])
        found = (open_.value, open_.low, open_.high)
        told.append(f"{rate(*found)} of the wider points have a way down")
        tiles.append(rate_tile(*found, "of the wider points have a way down"))
    if len(run.starts):
        # The widest that several minima lead to: of one there is no interval.
        wide = run.table(("width",)).sort_values("width")
        several = wide[wide["minima"] > 1]
        row = rows(several if len(several) else wide)[-1]
        found = (row["good"], row["good_spread_low"], row["good_spread_high"])
        into = f"of the runs into width {row['width']}"
        into += "" if len(several) else ", all from one minimum,"
        told.append(f"{rate(*found)} {into} reach a good minimum")
        tiles.append(rate_tile(*found, f"{into} reach a good one"))
    agree, counted = agreement(run.points) if len(run.points) else (0, 0)
    tiles.append((f"{agree:,} of {counted:,}", "counts that the closed form gives exactly"))
    if len(tiles) == 1:
        tiles.append((f"{len(run.tables['students']):,}", "students"))
    return Answer(f"{listed(told) or 'No bad minimum was found'}.", tiles)


_FOOTER = (
    "Tables: <code>points.parquet</code> (one row an embedded minimum), "
    "<code>starts.parquet</code> (one row a run), <code>paths.parquet</code> (gradient descent), "
    "<code>students.parquet</code>; trained students: "
    "<code>parts/</code>."
)


def pictures(run: EscapeRun) -> list[Picture]:
    """The figures of the report, in order; those that have something to show."""
    found: list[Picture] = []
    spec = run.spec
    if len(run.starts):
        found += [
            Picture(
                "escape",
                "Negative directions against neurons added, where runs end, and steps to escape.",
                "Ways down: negative eigenvalues of the wide Hessian, mean with interval over "
                "minima; dashes: the closed form, from the narrow network alone. Ends: of all "
                "runs. Steps: until gradient descent has lost a hundredth of the loss.",
                lambda: escape_panels(run),
            ),
            Picture(
                "ways",
                "Share of runs that reach a good minimum against the width reached; loss fallen "
                "and distance gone against neurons added.",
                "Ends: 95% intervals over minima. How far: median, "
                "quartiles, 5th and 95th percentile of all runs; channels to infinity make the "
                "long distances.",
                lambda: panels.ways(
                    run.table(("narrow", "width")),
                    run.starts,
                    spec.teacher_width if spec.realisable else 0,
                ),
            ),
        ]
    if len(run.tables["paths"]):
        found.append(
            Picture(
                "paths",
                "Loss, gradient and number of negative eigenvalues along gradient descent.",
                "Students trained from random starts by plain gradient descent; colours are "
                "targets. Dots: plateaus, where the gradient dips and grows again. Off critical "
                "points the index counts directions in which the loss curves down.",
                lambda: panels.descent(run.tables["paths"], run.plateaus()),
            )
        )
    return found


def _body(run: EscapeRun, figures: dict[str, str], facts: dict[str, Any]) -> list[str]:
    spec = run.spec
    text = html.paragraph
    sections: list[str] = []
    if len(run.starts):
        ends = run.table(("narrow", "width"))
        sections += [
            html.section(
                "How many ways down open",
                text(
                    "A bad minimum in which neurons are copied, their output weights shared out "
                    "among the copies, has the same output, the same loss and no gradient. Is it "
                    "still a minimum?"
                ),
                text(_dimension_text(run.dimensions())),
                figures["escape"],
                text(_time_text(run.starts)),
            ),
            html.section(
                "Where they lead", text(_end_text(run, ends)), figures["ways"], text(_far_text(run))
            ),
        ]
    else:
        sections.append(
            html.section(
                "No bad minimum was met",
                text(
                    "No student ended in a bad minimum with a positive definite Hessian, so there "
                    "was nothing to embed: try narrower students, more seeds, or sharper teachers "
                    "(--set teacher_gain=6)."
                ),
            )
        )
    if "paths" in figures:
        sections.append(
            html.section(
                "Along gradient descent", text(_path_text(run.open_dimensions())), figures["paths"]
            )
        )
    tables, levels = [], []
    if len(run.starts):
        limits = run.points.set_index("point")["threshold"]
        thresholds = threshold_table(
            run.starts.assign(
                threshold=limits.reindex(run.starts["point"]).to_numpy(),
                train_loss=run.starts["descent_loss"],
            ),
            ("narrow", "width"),
        )
        levels = [("Threshold", threshold_text(thresholds))]
        tables = [
            html.details("Escape dimensions", _dimension_table(run.dimensions())),
            html.details(
                "Ends, by width",
                _end_table(run.table(("narrow", "width")), ["narrow", "width"]),
            ),
            html.details(
                "Ends, by kind of start", _end_table(run.table(), ["added", "shares", "kind"])
            ),
            html.details(HEADING, plain_table(thresholds, panels.TERMS)),
        ]
    if "paths" in figures:
        tables.append(html.details("Plateaus, by width", _open_table(run.open_dimensions())))
    sections += [
        html.section("What this does not say", html.bullets(_caveats(run))),
        html.section(
            "How it was done",
            html.definitions([*student_protocol(spec), *_method(run), *levels]),
            *tables,
            html.details(
                "Recompute these numbers", text("In this directory:") + html.code(SNIPPET)
            ),
            html.details("Software and machine", html.definitions(software(facts))),
            html.details("Parameters", html.code(spec.text())),
            html.details("References", html.bullets(REFERENCES)),
        ),
    ]
    return sections


def _dimension_text(table: pd.DataFrame) -> str:
    known = table[table["clear"] > 0]
    if not len(known):
        return "No count of negative eigenvalues was beyond doubt."
    by = known.groupby("added")[["mean_index", "clear"]].apply(
        lambda rows: float((rows["mean_index"] * rows["clear"]).sum() / rows["clear"].sum())
    )
    strict = float((known["strict"] * known["clear"]).sum() / known["clear"].sum())
    words = listed([f"{number(value)} with {_added(added)}" for added, value in by.items()])
    clear, agree = int(known["clear"].sum()), int(known["agree"].sum())
    return (
        f"{percent(strict)} of the embedded points are strict saddles. Ways down, on average: "
        f"{words}. The closed form, which looks at the narrow network only, gives the counted "
        f"number at {agree:,} of {clear:,} points."
    )


def _time_text(starts: pd.DataFrame) -> str:
    ways = starts[starts["kind"] == "negative"]
    if not len(ways):
        return "No point had a negative direction."
    parts = []
    for added, group in ways.groupby("added"):
        left = group["escape_steps"].notna()
        steps = f" (median {number(group['escape_steps'].median())} steps)" if left.any() else ""
        parts.append(f"{percent(float(left.mean()))} with {_added(added)}{steps}")
    return (
        "Of the runs along a way down, gradient descent alone leaves within its budget: "
        f"{listed(parts)}."
    )


def _end_text(run: EscapeRun, ends: pd.DataFrame) -> str:
    spec = run.spec
    able = ends[ends["width"] >= spec.teacher_width] if spec.realisable else ends
    if not len(able):
        return "No embedding was wide enough for loss 0."
    parts = []
    for width, group in able.groupby("width"):
        share = float((group["good"] * group["starts"]).sum() / group["starts"].sum())
        parts.append(f"{percent(share)} at width {int(str(width))}")
    begin = (
        f"Widths below {spec.teacher_width} cannot reach loss 0. Of the runs that end "
        if spec.realisable and (ends["width"] < spec.teacher_width).any()
        else "Of the runs that end "
    )
    return f"{begin}at a width that can, these reach a good minimum: {listed(parts)}."


def _far_text(run: EscapeRun) -> str:
    starts = run.starts
    parts = []
    for added, group in starts.groupby("added"):
        fall = (group["drop"] / (group["drop"] + group["loss"])).median()
        parts.append(
            f"{percent(float(fall))} of the loss over a distance of "
            f"{number(float(group['distance'].median()))} with {_added(added)}"
        )
    return f"The median run loses {listed(parts)}."


def _added(added: object) -> str:
    return f"{count(int(str(added)), 'neuron')} added"


def _path_text(table: pd.DataFrame) -> str:
    parts = []
    for row in table.to_dict("records"):
        words = f"at width {row['width']}, {number(row['start_index'])} at the start"
        if row["plateaus"]:
            mean = interval(
                row["plateau_index"], row["plateau_index_low"], row["plateau_index_high"]
            )
            words += f", {mean} on {count(row['plateaus'], 'plateau')}"
            if row["shut"]:
                words += f" ({row['shut']} without any)"
        parts.append(f"{words}, {number(row['end_index'])} at the end")
    return f"Ways down that are open, on average: {'; '.join(parts)}."


def _caveats(run: EscapeRun) -> list[str]:
    spec = run.spec
    out = [
        "The runs from one minimum are alike; intervals draw whole minima, and there are "
        f"{run.points['source'].nunique()} of them.",
        "An escape dimension says that there is a way down, not that it leads to a good minimum: "
        "that is what the runs are for.",
        "Minima are embedded by copying neurons; the wide network has other bad minima too.",
        "Steps to escape depend on the learning rate, which is set by the curvature of each point.",
    ]
    if spec.path_widths:
        out.append(
            "A plateau needs a dip of the gradient; where the loss falls without a pause there is "
            "none to look at."
        )
    if not spec.realisable:
        out.append(
            f"Good is relative to the best loss of width {spec.teacher_width} or less, so wider "
            "networks win by fitting more."
        )
    return out


def _method(run: EscapeRun) -> list[tuple[str, str]]:
    spec = run.spec
    return [
        ("Good", good_text(spec)),
        (
            "Embedding",
            f"up to {spec.minima} distinct bad minima per (target, width), commonest first, "
            "positive definite Hessian only; neurons copied in turns, shares "
            f"{', '.join(spec.shares)}, {count(spec.copies, 'draw')} each",
        ),
        (
            "Starts",
            f"θ + {exact(spec.step)} |θ| v: both signs of every negative direction, and "
            f"{spec.random} "
            "at random",
        ),
        (
            "Way down",
            f"gradient descent with 0.5 / max|λ|, {spec.descent_steps:,} steps; then L-BFGS (up to "
            f"twice {spec.escape_lbfgs_steps:,}) and Newton (up to {spec.escape_newton_steps}) to "
            f"max|∂L| ≤ {exact(spec.tol)}, or until good",
        ),
        (
            "Escape dimensions",
            "Hessian eigenvalues below −ε, ε = 10 u P ‖H‖; a count is beyond doubt when no "
            "eigenvalue lies within a factor of 30 of ε",
        ),
        (
            "Paths",
            f"gradient descent, {spec.path_steps:,} steps of {exact(spec.path_lr)}, "
            f"{spec.path_seeds} students per target of widths "
            f"{', '.join(map(str, spec.path_widths)) or 'none'}; a plateau is a moment at which "
            "the gradient is at least 3.3 times smaller than before and after",
        ),
        ("Intervals", "95%, Student's: over minima; of paths, over students"),
    ]


def _dimension_table(table: pd.DataFrame) -> str:
    known = table[table["clear"] > 0]
    columns = [
        Column("width", lambda row: str(row["narrow"])),
        Column("added", lambda row: str(row["added"])),
        Column("shares", lambda row: row["shares"]),
        Column("minima", lambda row: str(row["minima"])),
        Column("points", lambda row: str(row["points"])),
        Column("beyond doubt", lambda row: str(row["clear"])),
        Column("strict saddles", lambda row: percent(row["strict"])),
        Column(
            "escape dimensions",
            lambda row: interval(row["mean_index"], row["mean_index_low"], row["mean_index_high"]),
        ),
        Column("closed form", lambda row: number(row["predicted"])),
        Column("agrees", lambda row: f"{row['agree']} of {row['clear']}"),
    ]
    return html.table(known, columns)


def _end_table(table: pd.DataFrame, by: list[str]) -> str:
    def named(name: str) -> Column:
        return Column(name, lambda row: str(row[name]))

    columns = [
        *[named(name) for name in by],
        Column("minima", lambda row: str(row["minima"])),
        Column("runs", lambda row: f"{row['starts']:,}"),
        Column("reach good", lambda row: percent(row["good"])),
        Column("over minima", lambda row: span(row["good_spread_low"], row["good_spread_high"])),
        *[named(word) for word in DESTINATIONS if word != "good"],
        Column("loss drop", lambda row: number(row["drop"])),
        Column("distance", lambda row: number(row["distance"])),
        Column("left by descent", lambda row: f"{row['left']:,}"),
        Column("steps to escape", lambda row: number(row["escape_steps"])),
    ]
    return html.table(table, columns)


def _open_table(table: pd.DataFrame) -> str:
    columns = [
        Column("width", lambda row: str(row["width"])),
        Column("students", lambda row: str(row["networks"])),
        Column("open at start", lambda row: number(row["start_index"])),
        Column("plateaus", lambda row: str(row["plateaus"])),
        Column(
            "open on plateaus",
            lambda row: interval(
                row["plateau_index"], row["plateau_index_low"], row["plateau_index_high"]
            ),
        ),
        Column("shut plateaus", lambda row: str(row["shut"])),
        Column("open at the end", lambda row: number(row["end_index"])),
    ]
    return html.table(table, columns)
