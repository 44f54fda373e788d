"""The report of the study of channels."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import rate_tile
from edt.show.publish import Picture
from edt.show.words import count, exact, number, percent, ranges, span
from edt.studies.channel_sweep import panels
from edt.studies.channel_sweep.run import ChannelSweep
from edt.studies.common.findings import JOINT, Finding, together, together_text
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text

REFERENCES = [
    "K. Fukumizu, S. Amari, Local minima and plateaus in hierarchical structures of multilayer "
    "perceptrons, Neural Networks 13 (2000) 317.",
]


def findings(ways: pd.DataFrame) -> list[Finding]:
    """What the counts say of claim c, that width adds ways out of bad ends, readout by readout.

    For it: more than half of the channels split, at shares inside (0, 1), open a way down (by the
    interval over teachers). Against it: fewer than half. One teacher or none says nothing.

    Args:
        ways: `edt.studies.channel_sweep.run.ways`.
    """
    found = []
    inside = ways[(ways["width"] == 0) & ways["share"].between(0.0, 1.0, inclusive="neither")]
    for row in inside.to_dict("records"):
        rate = row["strict"], row["strict_low"], row["strict_high"]
        text = (
            f"Read out by {panels.READOUTS[row['readout']][0]}, {percent(rate[0])} "
            f"({span(*rate[1:])}) of {count(row['splits'], 'channel')} of "
            f"{count(row['minima'], 'bad minimum', 'bad minima')} open a way down when they are "
            f"split, {number(row['index'])} of them on average; the closed form has the index of "
            f"the full Hessian in {row['agree']} of {row['clear']} counts beyond doubt"
        )
        effect = rate_tile(
            *rate, f"of split channels open a way down ({panels.READOUTS[row['readout']][0]})"
        )
        if rate[1] > 0.5:
            found.append(Finding("c", "for", text + ".", effect))
        elif rate[2] < 0.5:
            found.append(Finding("c", "against", text + ": most stay minima.", effect))
        else:
            found.append(Finding("c", "silent", text + ": half or not is not decided.", effect))
    return found


def write_channel_sweep_report(run: ChannelSweep, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    spec, runs, success, ways = run.spec, run.tables["runs"], run.success(), run.ways()
    # Targets have variance 1, so shares of it are losses.
    thresholds = threshold_table(runs.assign(threshold=spec.good), ("readout", "width"))
    tests = max(1, len(spec.readouts))
    positions = (spec.side - spec.kernel + 1) ** 2
    page = StudyPage(
        title="Do escape dimensions tell the same story for convolutions?",
        lead=f"<b>{len(runs):,} convolutional students</b> of "
        f"{count(spec.teachers, 'teacher')} a readout; {len(run.tables['splits']):,} splits of "
        "channels of their bad minima.",
        question="Channels, and ways down",
        picture=Picture(
            "channel-sweep",
            "Success against the number of channels, and ways down after a channel of a bad "
            "minimum is split.",
            "95% intervals over teachers.",
            lambda: panels.channel_sweep(success, ways),
        ),
        findings=findings(run.ways(together(tests))),
        limits=[
            "One layer of convolution, small images, tanh.",
            "The two readouts are different targets: lines compare within a readout.",
            "Below r channels every minimum is bad, for no target is reached there.",
            "That a split opens ways down says nothing of how soon training takes them.",
        ],
        method=[
            (
                "Networks",
                f"{spec.kernel} × {spec.kernel} convolution of images of {spec.side} × {spec.side} "
                f"pixels, tanh, linear readout of the mean over {positions} positions or of each; "
                f"{ranges(spec.channels)} channels, Glorot normal",
            ),
            (
                "Targets",
                f"random teachers of r = {spec.teacher_channels} channels, kernels of length "
                f"{exact(spec.teacher_gain)}; {spec.samples:,} images of normal pixels, no noise; "
                "variance 1",
            ),
            (
                "Training",
                f"Adam, {spec.steps:,} steps, rate {exact(spec.lr)}; L-BFGS, {spec.lbfgs_steps:,}",
            ),
            ("Win", f"loss ≤ {exact(spec.good)} × variance of the target"),
            ("Threshold", threshold_text(thresholds)),
            (
                "Splits",
                f"of up to {spec.minima} of the bad minima of a teacher and a width (lowest first, "
                "by Newton's method, all eigenvalues above the limit of zero); null: the closed "
                "form, with sums over positions",
            ),
            ("Tickets", "null: floor(m/r) disjoint and C(m, r) overlapping tickets"),
            ("Intervals of the findings", together_text(tests)),
        ],
        tables={
            "Success, with predictions and effective tickets": success,
            "Ways down": ways,
            f"Ways down, {JOINT}": run.ways(together(tests)),
            HEADING: thresholds,
        },
        terms=panels.TERMS,
        references=REFERENCES,
    )
    return page.write(run, directory)
