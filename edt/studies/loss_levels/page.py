"""The report of a loss-level experiment."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from scipy.special import bdtr, bdtrc

from edt.landscape.labels import GAIN, SETTLED
from edt.landscape.labels import GROWTH as DRIFT
from edt.landscape.levels import RELATIVE_GAP
from edt.locations import Folder, Location
from edt.show import html
from edt.show.answer import Answer, rate, rate_tile
from edt.show.html import Column
from edt.show.publish import Picture, write_page
from edt.show.words import count, exact, listed, number, option, p_is, percent, ranges, span
from edt.studies.common.findings import LEVEL
from edt.studies.loss_levels import panels
from edt.studies.loss_levels.panels import WORDS
from edt.studies.loss_levels.run import MERGE, LossLevels
from edt.studies.loss_levels.tables import CHANNEL_GAP, GROWTH, SAME_HEIGHT, relabelled
from edt.studies.width.protocol import software
from edt.training.channels import CLOSE

#: The share that is read as "about none", at most.
ABOUT_NONE = 0.05
REFERENCES = [
    "F. Martinelli et al., Flat channels to infinity in neural loss landscapes, NeurIPS 2025, "
    "arXiv 2506.14951.",
    "K. Fukumizu, S. Amari, Local minima and plateaus in hierarchical structures of multilayer "
    "perceptrons, Neural Networks 13 (2000) 317.",
    "G. Steinebach, Construction of Rosenbrock-Wanner method Rodas5P, BIT 63 (2023).",
    "E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 "
    "(1927) 209.",
]


def write_loss_levels_report(run: LossLevels, directory: Location) -> Folder:
    """Write ``report.html``, the figures and ``provenance.json``; path of the page."""
    table, runs = run.table(), run.tables["runs"]
    picture = Picture(
        "levels",
        "Final losses of all starts, sorted within each width, without and with biases.",
        "Every mark is a run; within a width they are in the order of their losses, so that a "
        "level is a horizontal line as long as its share of the starts.",
        lambda: panels.loss_levels(runs),
    )
    lead = (
        f"<b>{len(runs):,} networks</b> of widths {ranges(run.spec.widths)} on the modified "
        "Rosenbrock target were taken to where they end."
    )
    return write_page(
        run,
        directory,
        [picture],
        "Loss levels of small networks",
        lead,
        answer(table),
        partial(_body, run, table),
        _FOOTER,
    )


def answer(table: pd.DataFrame) -> Answer:
    """Shares of plateau saddles without and with biases."""
    parts, tiles = [], []
    for bias, half in table.groupby("bias"):
        row = half.sort_values("width").iloc[0].to_dict()  # width 0: all above 1
        setting = "with biases" if bias else "without biases"
        subset = (row["rate"], row["rate_low"], row["rate_high"])
        parts.append(f"{rate(*subset)} {setting}")
        tiles.append(rate_tile(*subset, f"end on a plateau saddle {setting}"))
    if len(tiles) == 1:
        tiles.append((f"{int(table['levels'].sum())}", "distinct losses of minima"))
    told = f"{listed(parts)} end on plateau saddles, where neurons repeat"
    return Answer(f"Of the runs, {told}.", tiles)


_FOOTER = (
    "Table: <code>runs.parquet</code> (one row a start). Every "
    "number follows from the table: <code>edt.studies.loss_level_table(runs)</code>."
)


def _body(
    run: LossLevels, table: pd.DataFrame, figures: dict[str, str], facts: dict[str, Any]
) -> list[str]:
    changed = relabelled(run.tables["runs"])
    return [
        html.section(
            "Where starts end",
            figures["levels"],
            *[html.paragraph(text) for text in findings(table)],
            html.table(table, _columns(), "Ends of every width"),
        ),
        html.section(
            "Without certificates",
            html.paragraph(certificates(changed)),
            html.table(changed, _kinds(), "Kinds of ends before the push, and after it"),
        ),
        html.section(
            "What this does not say",
            html.bullets(
                [
                    "The reported shares are a range read in the paper's text, over its own "
                    "widths, solver and budget; what counts as a plateau saddle there may differ "
                    "from the rule used here.",
                    "Different minima can share a loss: levels are a lower bound on minima. Their "
                    "number grows with the number of starts.",
                    "In a channel a run has no end: its loss is above that at infinity.",
                ]
            ),
        ),
        html.section(
            "How it was done",
            html.paragraph(methods(run)),
            html.definitions(_definitions()),
            html.details("Software and machine", html.definitions(software(facts))),
            html.details("References", html.bullets(REFERENCES)),
        ),
    ]


def findings(table: pd.DataFrame) -> list[str]:
    """Sentences: plateau saddles beside the reported range, then channels."""
    out = []
    for bias, half in table.groupby("bias"):
        setting = "With biases" if bias else "Without biases"
        whole = half[half["width"] == 0]
        if not len(whole):
            continue
        row = whole.iloc[0]
        out.append(
            f"{setting}, {percent(row['rate'])} ({span(row['rate_low'], row['rate_high'])}) of "
            f"{count(int(row['runs']), 'run')} of widths above 1 end on a plateau saddle. Reported "
            f"and not verified by us: {reported_range(row)}. {verdict(row)}"
            + (plateaus(row) if row["plateau"] else "")
        )
        out.append(
            f"{setting}, {percent(row['channel'] / row['runs'])} of these runs are in a channel "
            f"to infinity, {percent(row['minimum'] / row['runs'])} at a minimum."
        )
    moved = int(table[table["width"] > 0]["moved"].sum())
    total = int(table[table["width"] > 0]["runs"].sum())
    out.append(
        f"In {moved:,} of {total:,} runs the loss fell by more than 0.001 after the gradient flow "
        "had used up its time: those were still on their way."
    )
    return out


def certificates(changed: pd.DataFrame) -> str:
    """How many ends have another word with a certificate (`relabelled`)."""
    total, kept = int(changed["runs"].sum()), int(changed["kept"].sum())
    if kept == total:
        return f"None of {total:,} ends is called something else once it is pushed on."
    minima = changed[changed["uncertified"] == "minimum"]
    gone = int((minima["runs"] - minima["kept"]).sum())
    found = int(changed["minimum"].sum() - minima["kept"].sum())
    return (
        f"{total - kept:,} of {total:,} ends are called something else once they are pushed on: "
        f"of {int(minima['runs'].sum()):,} that a small gradient called minima {gone:,} "
        f"{'is' if gone == 1 else 'are'} none, and {found:,} that it did not "
        f"{'is' if found == 1 else 'are'}. Shares and levels on this page are those of "
        "certificates."
    )


def plateaus(row: Any) -> str:
    """Where the plateau saddles are, and whether their heights are known."""
    finite, known, whole = int(row["finite"]), int(row["known"]), int(row["plateau"])
    if finite == whole:
        where = "They are at finite weights"
    elif not finite:
        where = "They are in channels of narrower networks"
    else:
        some = f"{finite:,} {'is' if finite == 1 else 'are'} at finite weights"
        where = f"{some}, the others in channels of narrower networks"
    return (
        f" {where}; {known:,} of {whole:,} {'lies' if known == 1 else 'lie'} at the height of an "
        f"end found at the narrower width (to {exact(SAME_HEIGHT)})."
    )


def verdict(row: Any) -> str:
    """Whether a binomial test tells the share from the reported range.

    The null is a share anywhere in the range; where "about none" is reported, anywhere up to
    `ABOUT_NONE`.
    """
    low, high = row["reported_low"], row["reported_high"] or ABOUT_NONE
    count, runs = int(row["plateau"]), int(row["runs"])
    found = f"{count:,} of {runs:,} runs"
    for side, bound, p in (
        ("above", high, bdtrc(count - 1, runs, high)),
        ("below", low, bdtr(count, runs, low)),
    ):
        if p < LEVEL:
            return (
                f"Ours is {side}: {found} beside a share of {percent(bound)} (exact binomial "
                f"test, {p_is(p)})."
            )
    bound = reported_range(row) if row["reported_high"] else f"at most {percent(ABOUT_NONE)}"
    return f"Ours cannot be told apart from {bound}: {found} (exact binomial test)."


def methods(run: LossLevels) -> str:
    """The methods paragraph."""
    spec = run.spec
    return (
        "Target log<sub>10</sub>(3 (x<sub>2</sub> + 1 − x<sub>1</sub><sup>2</sup>)<sup>2</sup> + "
        f"(1 − x<sub>1</sub>)<sup>2</sup> + 0.1), standardised, on {spec.points**2:,} grid points "
        f"of [−√3, √3]<sup>2</sup>. Networks with one hidden layer, activation "
        f"{option(spec.activation)}, "
        f"{option(spec.init)} normal initial weights, biases zero at first; "
        f"{spec.starts} × 2<sup>r</sup> starts at width r, seeds from {spec.first_seed}. "
        "Full-batch gradient flow by RODAS5P "
        f"with exact Hessians to time {exact(spec.max_time)} (relative tolerance "
        f"{exact(spec.rtol)}; left at "
        f"parameter norm {exact(spec.norm_limit)}), then up to {spec.lbfgs_steps:,} steps of "
        "L-BFGS and "
        f"{spec.newton_steps} of trust-region Newton to max|∂L| ≤ "
        + f"{exact(spec.tol)}; strict saddles are left. Every end that is not settled then "
        f"has up to {spec.certify_steps:,} further Newton steps, to where rounding stops it, and "
        "the label of <code>edt.certify</code>. Float64."
    )


def _definitions() -> list[tuple[str, str]]:
    return [
        (
            "Plateau saddle",
            "at least one neuron repeats another: merging them changes the outputs by at most "
            f"{exact(MERGE)} (root mean square); no negative eigenvalue. It lies on a line of "
            "points "
            "that a narrower network's end unfolds into; where that end is in a channel, the line "
            "is too",
        ),
        (
            "Minimum",
            f"a Newton distance of at most {exact(SETTLED)} of the parameters' norm, at most "
            f"{exact(GAIN)} of the loss to gain, every eigenvalue positive or explained by a "
            "symmetry",
        ),
        (
            "Channel",
            "not settled, and two neurons (or a neuron and the output bias) that pull in opposite "
            f"directions with 1 − cos ≤ {exact(CLOSE)}, or whose outputs grow with the norm by "
            f"more than {exact(DRIFT)} under the push",
        ),
        (
            WORDS["saturated"].capitalize(),
            "not settled, and a neuron has a slope on fewer samples than it has input weights",
        ),
        (
            "Without certificates",
            "a minimum is any point where the gradient met the tolerance; infinity, parameters "
            f"grown by more than {exact(GROWTH)} since the flow's end without such a pair; open, "
            "no verdict within the budget",
        ),
        (
            "Levels",
            f"losses of minima that agree to {exact(RELATIVE_GAP)}, relatively; of channels to "
            f"{exact(CHANNEL_GAP)}",
        ),
        ("Intervals", "95%, Wilson's"),
    ]


def _columns() -> list[Column]:
    return [
        Column("biases", lambda row: "yes" if row["bias"] else "no"),
        Column("width", lambda row: str(row["width"]) if row["width"] else "2 and more"),
        Column("runs", lambda row: f"{row['runs']:,}"),
        *[_ends(word) for word in WORDS],
        Column(
            "share of plateau saddles",
            lambda row: f"{percent(row['rate'])} ({span(row['rate_low'], row['rate_high'])})",
        ),
        Column("of them finite", lambda row: f"{row['finite']:,}"),
        Column("reported (unverified)", reported_range),
        Column("levels", lambda row: str(row["levels"])),
        Column("channel levels", lambda row: str(row["channel_levels"])),
        Column("lowest loss", lambda row: number(row["lowest"])),
        Column("highest loss", lambda row: number(row["highest"])),
    ]


def _kinds() -> list[Column]:
    return [
        Column(
            "without a certificate", lambda row: WORDS.get(row["uncertified"]) or row["uncertified"]
        ),
        Column("runs", lambda row: f"{row['runs']:,}"),
        Column("same word with it", lambda row: f"{row['kept']:,}"),
        *[_ends(word) for word in WORDS],
    ]


def _ends(word: str) -> Column:
    return Column(WORDS[word], lambda row: f"{row[word]:,}")


def reported_range(row: Any) -> str:
    """The reported share of plateau saddles as people read it."""
    if row["reported_high"] == 0.0:
        return "about none"
    return f"{100 * row['reported_low']:.0f}–{100 * row['reported_high']:.0f}%"
