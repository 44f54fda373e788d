"""The report of a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from typing import Any

import pandas as pd

from edt.locations import Folder, Location
from edt.runs.sweeps import Sweep
from edt.runs.sweeps.axes import AXES
from edt.runs.sweeps.result import OTHERS, outcome_rates
from edt.show import html
from edt.show.answer import Answer, rate, rate_tile
from edt.show.hover import rows
from edt.show.html import Column
from edt.show.publish import Picture, write_page
from edt.show.words import count, listed, number, option, percent, span
from edt.stats import Interval, cluster_rate, wilson
from edt.studies.common.study_page import plain_table
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.sweep import panels
from edt.studies.sweep.panels import MOST_LINES
from edt.studies.width.protocol import software

#: Rows of the table of outcomes that the page shows; all are in the Parquet file.
MOST_ROWS = 200


def write_sweep_report(run: Sweep, directory: Location) -> Folder:
    """Write ``report.html``, the figures and ``provenance.json``; path of the page."""
    runs = run.runs
    varying = [name for name in AXES if runs[name].nunique() > 1]
    along, lines = layout(runs)
    picture = Picture(
        "sweep",
        f"Share of good runs and median loss against {along}.",
        caption(along, lines, varying),
        lambda: panels.sweep(runs, along, lines),
    )
    over = listed([option(name) for name in varying]) or "nothing"
    lead = f"<b>{count(len(runs), 'run')}</b> over {over}."
    return write_page(
        run,
        directory,
        [picture],
        "A sweep",
        lead,
        answer(run),
        lambda figures, facts: _body(run, figures["sweep"], facts, varying),
        _FOOTER,
    )


_FOOTER = (
    "Tables: <code>runs.parquet</code> (one row a run) and one for each analysis step; networks: "
    "<code>parts/</code>."
)


def answer(run: Sweep) -> Answer:
    """Share of good runs: of all, and where most are good."""
    every = _overall(run.runs)
    best, setting = _best(run)
    subset = (best["rate"], best["rate_low"], best["rate_high"])
    at = f" at {setting}" if setting else ""
    return Answer(
        f"{rate(every.value, every.low, every.high)} reached the good loss, at most "
        f"{rate(*subset)}{at}.",
        [
            rate_tile(every.value, every.low, every.high, "of all runs reach the good loss"),
            rate_tile(*subset, f"at most{at}"),
        ],
    )


def _overall(runs: pd.DataFrame) -> Interval:
    """Share of good runs, over targets; of a single one Wilson's."""
    good = runs["outcome"].eq("good")
    by = good.groupby([runs["task"], runs["target"]]).agg(["sum", "size"])
    if len(by) == 1:
        return wilson(int(by["sum"].iloc[0]), int(by["size"].iloc[0]))
    return cluster_rate(by["sum"], by["size"])


def _best(run: Sweep) -> tuple[dict[str, Any], str]:
    """The setting with most good runs, and its axes in words."""
    by = [name for name in AXES if name != "seed" and run.runs[name].nunique() > 1]
    table = outcome_rates(run.runs)
    best = rows(table.sort_values(["rate", "median_loss"], ascending=[False, True]))[0]
    return best, ", ".join(f"{option(name)} {best[name]}" for name in by)


def layout(runs: pd.DataFrame) -> tuple[str, list[str]]:
    """The axis of the abscissa, and the axes that are told apart by lines; the rest is pooled."""
    varying = [name for name in AXES if name != "seed" and runs[name].nunique() > 1]
    along = "width" if "width" in varying or not varying else varying[-1]
    lines: list[str] = []
    size = 1
    for name in varying:
        if name != along and size * runs[name].nunique() <= MOST_LINES:
            lines.append(name)
            size *= runs[name].nunique()
    return along, lines


def caption(along: str, lines: list[str], varying: list[str]) -> str:
    """What the figure shows and what it pools."""
    pooled = [option(name) for name in varying if name not in (along, *lines)]
    text = "Success: share of runs at or below the good loss, with 95% Wilson intervals."
    return f"{text} Pooled: {listed(pooled)}." if pooled else text


def _body(run: Sweep, figure: str, facts: dict[str, Any], varying: list[str]) -> list[str]:
    rates = outcome_rates(run.runs)
    runs = run.runs
    thresholds = threshold_table(
        runs.assign(target=runs.groupby(["task", "target"]).ngroup()),
        [name for name in varying if name not in ("seed", "task", "target")] or ["width"],
    )
    by = [name for name in varying if name != "seed"]
    best, setting = _best(run)
    words = run.runs["outcome"].value_counts()
    place = f", at {escape(setting)}" if setting else ""
    story = [f"Outcomes: {listed([f'{n:,} {word}' for word, n in words.items()])}."]
    if best["good"]:
        story.append(
            f"Most good runs: {percent(best['rate'])} "
            f"({span(best['rate_low'], best['rate_high'])}) of "
            f"{count(int(best['runs']), 'run')}{place}."
        )
    else:
        story.append(
            f"No run reached the good loss; the lowest median is {number(best['median_loss'])}"
            f"{place}."
        )
    diverged = int((rates["runs"] - rates["finite"]).sum())
    if diverged:
        story.append(
            f"{count(diverged, 'run')} diverged: not good, and without a loss; median losses are "
            "those of the others."
        )
    if "embedding" in run.tables:
        story.append(split_text(run.tables["embedding"], run.runs))
    good = int(run.runs["outcome"].eq("good").sum())
    every = _overall(run.runs)
    story.append(
        f"Of all {len(run.runs):,} runs {good:,} are good: "
        f"{rate(every.value, every.low, every.high)}."
    )
    sections: list[str] = [
        html.section("What the runs reached", *map(html.paragraph, story), figure),
        html.section(
            "What this does not say",
            html.bullets(
                [
                    "Good is a loss: where zero loss is out of reach, it is relative to the best "
                    "run of this sweep.",
                    "Runs that were not driven to the bottom (tolerance 0) are called unconverged, "
                    "wherever they stand.",
                    "Bad minima are certified ones: more optimisation does not move them. Those "
                    "in channels or with saturated units are counted beside them.",
                    "Intervals are over seeds of the tasks given, not over tasks.",
                ]
            ),
        ),
        html.section(
            "How it was done",
            html.definitions([*_protocol(run), ("threshold", threshold_text(thresholds))]),
            html.details("Outcomes of every setting", _table(rates.head(MOST_ROWS), by)),
            html.details(HEADING, plain_table(thresholds.head(MOST_ROWS))),
            html.details("Spec", html.code(json.dumps(run.spec.to_dict(), indent=1))),
            html.details("Software and machine", html.definitions(software(facts))),
        ),
    ]
    return sections


def split_text(embedding: pd.DataFrame, runs: pd.DataFrame) -> str:
    """What became of split neurons at bad minima, which are what the closed form is about.

    At a good minimum the loss is at its floor: residuals vanish, B is 0 to rounding and the split
    point is a minimum again, whatever the formula's sign.
    """
    bad = runs.loc[runs["outcome"] == "bad", "run"]
    split = embedding[embedding["run"].isin(bad)]
    if not len(split):
        return "No run ended at a strict bad minimum, so there was nothing to split."
    strict = float((split["n_neg"] > 0).mean())
    agree = int((split["n_neg"] == split["predicted_neg"]).sum())
    return (
        f"Of {count(len(split), 'split neuron')} of strict bad minima {percent(strict)} became "
        f"saddles; the closed form gives the same index in {agree:,} of {len(split):,}."
    )


def _protocol(run: Sweep) -> list[tuple[str, str]]:
    tasks = ", ".join(escape(json.dumps(table)) for table in run.spec.task)
    axes = [
        (option(name), escape(_values(run.runs[name])))
        for name in AXES
        if name != "task" and name in {**run.spec.grid, **_points(run)}
    ]
    done = ", ".join(run.spec.analysis) or "none"
    return [("tasks", f"<code>{tasks}</code>"), *axes, ("analysis", done)]


def _points(run: Sweep) -> dict[str, Any]:
    return {name: None for point in run.spec.points for name in point}


def _values(column: pd.Series[Any]) -> str:
    values = column.drop_duplicates().tolist()
    if len(values) <= 8:
        return ", ".join(str(value) for value in values)
    return f"{values[0]} to {values[-1]} ({len(values):,} values)"


def _table(rates: pd.DataFrame, by: list[str]) -> str:
    def text(name: str) -> Callable[[Any], str]:
        return lambda row: str(row[name])

    def counted(name: str) -> Column:
        return Column(name, lambda row: number(row[name]))

    columns = [Column(option(name), text(name)) for name in by]
    return html.table(
        rates,
        [
            *columns,
            Column("runs", lambda row: number(row["runs"])),
            Column("good", lambda row: percent(row["rate"])),
            Column("95%", lambda row: span(row["rate_low"], row["rate_high"])),
            Column("bad minima", lambda row: number(row["bad"])),
            *(counted(name) for name in OTHERS if rates[name].any()),
            Column("median loss", lambda row: number(row["median_loss"])),
            *(
                [Column("of losses", lambda row: number(row["finite"]))]
                if (rates["finite"] < rates["runs"]).any()
                else []
            ),
        ],
    )
