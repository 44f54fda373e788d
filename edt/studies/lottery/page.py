"""The report of a lottery experiment."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from edt.locations import Folder, Location
from edt.show import html
from edt.show.answer import Answer, Tile, rate, rate_tile
from edt.show.hover import rows
from edt.show.html import Column
from edt.show.publish import Picture, write_page
from edt.show.words import count, exact, number, option, percent
from edt.studies.common.nets import data_text, title_of
from edt.studies.lottery import panels
from edt.studies.lottery.panels import METHOD
from edt.studies.lottery.run import Lottery
from edt.studies.lottery.spec import LotterySpec
from edt.studies.width.protocol import software

REFERENCES = [
    "J. Frankle, M. Carbin, The lottery ticket hypothesis, ICLR 2019, arXiv 1803.03635.",
    "J. Frankle et al., Linear mode connectivity and the lottery ticket hypothesis, ICML 2020, "
    "arXiv 1912.05671.",
    "H. Zhou et al., Deconstructing lottery tickets, NeurIPS 2019, arXiv 1905.01067.",
    "N. Lee et al., SNIP, ICLR 2019, arXiv 1810.02340; C. Wang et al., GraSP, ICLR 2020, arXiv "
    "2002.07376.",
    "S. Greydanus, D. Kobak, Scaling down deep learning with MNIST-1D, ICML 2024.",
]


def write_lottery_report(run: Lottery, directory: Location) -> Folder:
    """Write ``report.html``, the figures and ``provenance.json``; path of the page."""
    curves, spec = run.curves(), run.spec
    picture = Picture(
        "accuracy",
        "Test accuracy and speed of learning against the share of weights that remain.",
        "Means over seeds; bars: 95% intervals of the mean (Student). Accuracy is that at the "
        "least validation loss.",
        lambda: panels.curves(curves),
    )
    shape = title_of(spec.net, spec.factor) if spec.net else f"hidden layers of {spec.shape}"
    lead = (
        f"<b>{len(run.tables['runs']):,} networks</b> ({shape}) were trained on {spec.on}, "
        f"in {count(spec.rounds, 'round')} of pruning and rewinding of "
        f"{count(spec.seeds, 'start')}."
    )
    return write_page(
        run,
        directory,
        [picture],
        "Winning tickets and their controls",
        lead,
        answer(curves),
        partial(_body, run, curves),
        _FOOTER,
    )


#: Whose smallest weights are cut.
SCOPE = {"layer": "of each layer", "global": "of the whole network", "neuron": "of each neuron"}
_FOOTER = (
    "Table: <code>runs.parquet</code> (one row a trained network); trained tickets of every round: "
    "<code>parts/</code>."
)


def answer(curves: pd.DataFrame) -> Answer:
    """Accuracy of winning tickets at the fewest weights, beside the same mask with new weights."""
    least = float(curves["remaining"].min())

    def found(method: str, remaining: float) -> dict[str, Any] | None:
        subset = curves[(curves["method"] == method) & (curves["remaining"] == remaining)]
        return None if not len(subset) else rows(subset)[0]

    def told(row: dict[str, Any]) -> str:
        return rate(row["accuracy"], row["accuracy_low"], row["accuracy_high"])

    def tile(row: dict[str, Any], of: str) -> Tile:
        return rate_tile(row["accuracy"], row["accuracy_low"], row["accuracy_high"], of)

    ticket, fresh, whole = found("ticket", least), found("reinit", least), found("ticket", 1.0)
    assert ticket is not None  # tickets are always trained
    at = f"with {percent(least)} of the weights"
    text = f"{at.capitalize()}, winning tickets are right on {told(ticket)} of the test data"
    tiles = [tile(ticket, f"of the test data right: winning tickets {at}")]
    if fresh is not None:
        text += f", the same masks with new weights on {told(fresh)}"
        tiles.append(tile(fresh, "the same masks with new weights"))
    if whole is not None:
        tiles.append(tile(whole, "with all weights"))
    if len(tiles) == 1:
        tiles.append((f"{len(curves)}", "points of the curves"))
    return Answer(f"{text}.", tiles)


def _body(
    run: Lottery, curves: pd.DataFrame, figures: dict[str, str], facts: dict[str, Any]
) -> list[str]:
    return [
        html.section(
            "Accuracy against sparsity",
            figures["accuracy"],
            *[html.paragraph(text) for text in comparisons(curves)],
        ),
        html.section(
            "What this does not say",
            html.bullets(
                [
                    "Intervals are over seeds of one data split and one choice of steps and rate.",
                    "Only weights are pruned; biases stay, also of neurons without inputs.",
                    "The one-shot methods see the whole training set, not a batch.",
                ]
            ),
        ),
        html.section(
            "How it was done",
            html.definitions(_protocol(run)),
            html.details("All methods and rounds", _table(curves)),
            html.details("Software and machine", html.definitions(software(facts))),
            html.details("References", html.bullets(REFERENCES)),
        ),
    ]


def comparisons(curves: pd.DataFrame) -> list[str]:
    """Sentences: the ticket against its dense self and against every control.

    "Better" and "below" mean that the 95% intervals of the two means do not overlap.
    """
    ticket = curves[curves["method"] == "ticket"]
    dense, pruned = ticket.iloc[0], ticket[ticket["round"] > 0]
    below = pruned[pruned["accuracy_high"] < dense["accuracy_low"]]
    out = [
        f"The dense network is right on "
        f"{rate(dense['accuracy'], dense['accuracy_low'], dense['accuracy_high'])}; the ticket's "
        f"interval lies below that at {len(below) or 'none'} of {len(pruned)} sparsities"
        + (
            f", first with {percent(float(below['remaining'].max()))} of the weights."
            if len(below)
            else f", down to {percent(float(pruned['remaining'].min()))} of the weights."
            if len(pruned)
            else "."
        )
    ]
    for method in dict.fromkeys(curves["method"]):
        if method == "ticket":
            continue
        both = ticket.merge(curves[curves["method"] == method], on="round", suffixes=("", "_other"))
        both = both[both["round"] > 0]
        above = both[both["accuracy_low"] > both["accuracy_high_other"]]
        below = both[both["accuracy_high"] < both["accuracy_low_other"]]
        out.append(
            f"Beside “{METHOD[method]}” the ticket is better at {len(above) or 'none'} and worse "
            f"at {len(below) or 'none'} of {len(both)} sparsities"
            + (
                f" (better with {percent(float(above['remaining'].max()))} of the weights or less)."
                if len(above)
                and len(above) == int((both["remaining"] <= above["remaining"].max()).sum())
                else "."
            )
        )
    return out


def _protocol(run: Lottery) -> list[tuple[str, str]]:
    spec = run.spec
    rewind = "the start" if not spec.rewind else f"step {spec.rewind:,}"
    data = {
        "mnist": "MNIST from a local folder",
        "fashion_mnist": "Fashion-MNIST from a local folder",
        "cifar10": "CIFAR-10 from a local folder",
        "cifar100": "CIFAR-100 from a local folder",
        "digits": "scikit-learn's digits, 8 × 8 pixels",
        "mnist1d": "MNIST-1D, 40 inputs, 4,000 training samples",
    }.get(spec.on) or data_text(spec.task)
    return [
        (
            "Data",
            f"{data}; {percent(spec.validation_share)} of the training samples held out to watch",
        ),
        (
            "Networks",
            (
                f"{title_of(spec.net, spec.factor)}, float32, cross-entropy"
                if spec.net
                else f"hidden {' - '.join(str(h) for h in spec.hidden)}, "
                f"{option(spec.activation)}, "
                f"{option(spec.init)} initialisation, float32, cross-entropy"
            ),
        ),
        (
            "Training",
            f"{_optimiser(spec)}, batches of {spec.batch}, {spec.steps:,} steps; validation "
            f"loss every {spec.validate_every} steps, its least decides where accuracy is read",
        ),
        (
            "Pruning",
            f"smallest magnitudes {SCOPE[spec.scope]}, {percent(spec.share_hidden)} of the hidden "
            f"and {percent(spec.share_out)} of the output weights a round; "
            f"survivors go back to {rewind}",
        ),
        ("Compared with", "; ".join(METHOD[m] for m in spec.methods if m != "ticket") or "nothing"),
        ("Intervals", "95%, Student's, of the mean over seeds"),
    ]


def _optimiser(spec: LotterySpec) -> str:
    """The optimiser in words."""
    words = ["Adam" if spec.optimizer == "adam" else f"SGD with momentum {exact(spec.momentum)}"]
    words.append(f"rate {exact(spec.lr)}")
    if spec.warmup:
        words.append(f"warm-up over {spec.warmup:,} steps")
    if spec.milestones:
        at = ", ".join(f"{step:,}" for step in spec.milestones)
        words.append(f"times {exact(spec.gamma)} at steps {at}")
    if spec.weight_decay:
        words.append(f"weight decay {exact(spec.weight_decay)}")
    if spec.crop or spec.flip:
        words.append("random crops" + (" and mirror images" if spec.flip else ""))
    return ", ".join(words)


def _table(curves: pd.DataFrame) -> str:
    def cell(row: dict[str, Any], name: str) -> str:
        return rate(row[name], row[f"{name}_low"], row[f"{name}_high"])

    columns = [
        Column("method", lambda row: METHOD[row["method"]]),
        Column("round", lambda row: str(row["round"])),
        Column("weights remaining", lambda row: percent(row["remaining"])),
        Column("accuracy at early stopping", lambda row: cell(row, "accuracy")),
        Column("accuracy at the end", lambda row: cell(row, "end_accuracy")),
        Column("early stopping at step", lambda row: number(row["best_step"])),
        Column("networks cut in two", lambda row: f"{row['cut']} of {row['seeds']}"),
        Column("diverged", lambda row: f"{row['diverged']} of {row['seeds']}"),
    ]
    return html.table(curves, columns)
