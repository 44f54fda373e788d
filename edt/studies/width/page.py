"""The report of a width sweep: figures drawn, page assembled, files written."""

from __future__ import annotations

from functools import partial
from typing import Any

from edt.locations import Folder, Location
from edt.show import html
from edt.show.explore import section
from edt.show.html import Column
from edt.show.publish import Picture, write_page
from edt.show.words import exact, interval, number, percent, span
from edt.studies.common.models_page import (
    DRAWS,
    counts_text,
    models_notes,
    models_picture,
    models_table,
    models_text,
    tests_table,
)
from edt.studies.common.study_page import plain_table
from edt.studies.common.success_table import ALL
from edt.studies.common.thresholds import threshold_text
from edt.studies.width import levels_panel, outcomes_panel, splits_panel, success_panel
from edt.studies.width.explore import explorable
from edt.studies.width.protocol import REFERENCES, caveats, glossary, protocol, software
from edt.studies.width.run import WidthSweep
from edt.studies.width.splits import DESTINATIONS
from edt.studies.width.story import Story
from edt.success import Comparison


def write_report(sweep: WidthSweep, directory: Location) -> Folder:
    """Write ``report.html`` and ``provenance.json``.

    The page holds everything it shows and works offline, in light and dark.

    Args:
        sweep: a finished sweep.
        directory: an existing or new folder.

    Returns:
        Path of ``report.html``.

    Example:
        >>> write_report(WidthSweep.load("edt-demo"), "edt-demo")  # doctest: +SKIP
    """
    story = Story(sweep)
    models = sweep.models(DRAWS, story.success)
    drawn = pictures(story)
    if models is not None:
        drawn.insert(1, models_picture(models, story.goal))

    def body(figures: dict[str, str], facts: dict[str, Any]) -> list[str]:
        sections = _body(story, models, figures, facts)
        data = explorable(sweep)
        if data is not None:
            sections.insert(-2, section(data))
        return sections

    return write_page(
        sweep, directory, drawn, story.title, story.lead, story.answer, body, _footer()
    )


def pictures(story: Story) -> list[Picture]:
    """The figures of the report, in order."""
    sweep, spec = story.sweep, story.spec
    names = {"goal": story.goal, "target_name": story.target_name}
    r = spec.reference_width
    found = [
        Picture(
            "success",
            "Success rate against width beside lottery predictions; effective number of tickets.",
            f"Success: share of runs that {story.goal}, with 95% intervals over targets, beside "
            f"what independent tickets of width r = {r} predict (bands: interval of a ticket's "
            "price, the success rate of width r). Tickets: how many of them the measured rate "
            "amounts to.",
            lambda: success_panel.success_panels(story.success, r, **names),
        )
    ]
    if spec.targets > 1:
        found.append(
            Picture(
                "targets",
                "Success rate against width and lottery predictions for each teacher.",
                f"The same for each {story.target_name}. A ticket's price is the success rate at "
                f"width {r}.",
                lambda: success_panel.each_target(story.success, **names),
            )
        )
    # Every target has variance 1, so a loss is a share of it.
    return [
        *found,
        Picture(
            "outcomes",
            "Share of runs with each outcome, one bar per width.",
            "Outcomes of all runs.",
            lambda: outcomes_panel.outcome_panels(story.outcomes, good_name=story.good_name),
        ),
        Picture(
            "levels",
            "Final loss of every run against width, and the number of distinct losses.",
            "Every run is a dot, sorted by loss within its width; rows of dots are loss "
            "levels. Heights: distinct losses among the bad minima of each width.",
            lambda: levels_panel.level_panels(
                sweep.runs, story.levels, target_name=story.target_name, each=True
            ),
        ),
        Picture(
            "splits",
            "Index of split minima, counted against predicted; share of strict saddles; ends.",
            "Escape dimensions: after splitting one neuron; numbers are splits. A way down: share "
            "with at least one, with 95% intervals over minima. Ends: those of the wide networks.",
            lambda: splits_panel.split_panels(
                sweep.splits, story.escapes, good_name=story.good_name
            ),
        ),
    ]


def _body(
    story: Story,
    models: Comparison | None,
    figures: dict[str, str],
    facts: dict[str, object],
) -> list[str]:
    text = html.paragraph
    laws = (
        []
        if models is None
        else [
            html.section("Which law of width fits?", text(models_text(models)), figures["models"])
        ]
    )
    return [
        html.section(
            "Is width a lottery?",
            text(story.width_text()),
            text(threshold_text(story.thresholds)),
            figures["success"],
            text(story.lottery_text()),
            *([] if models is None else [text(counts_text(models))]),
            text(story.tickets_text()),
            figures.get("targets", ""),
        ),
        *laws,
        html.section("What the failures are", text(story.ends_text()), figures["outcomes"]),
        html.section("Heights of bad minima", text(story.levels_text()), figures["levels"]),
        html.section(
            "One more neuron opens ways out",
            text(
                "A bad minimum in which one neuron is copied, its output weight shared out as μ "
                "and 1 − μ, has the same output, the same loss and no gradient. Is it still a "
                "minimum?"
            ),
            *[text(part) for part in story.splits_text()],
            figures["splits"],
        ),
        html.section(
            "What this does not say",
            html.bullets(caveats(story)),
        ),
        html.section(
            "How it was done",
            html.definitions(protocol(story)),
            html.details("Definitions", html.definitions(glossary(story))),
            html.details("Success and tickets, all widths", _success_table(story)),
            html.details(
                "Success at other thresholds, and by the first optimiser alone",
                plain_table(story.thresholds),
            ),
            *_one_number(story),
            *_laws(models),
            html.details("Loss levels of bad minima", _level_table(story)),
            html.details("Splits", _split_table(story)),
            html.details("Software and machine", html.definitions(software(facts))),
            html.details("References", html.bullets(REFERENCES)),
        ),
    ]


def _one_number(story: Story) -> list[str]:
    table = story.tickets
    if not len(table):
        return []
    return [
        html.details(
            f"One number of tickets for all {story.target_name}s?",
            plain_table(table.round({"statistic": 6})),
        )
    ]


def _laws(models: Comparison | None) -> list[str]:
    if models is None:
        return []
    return [
        html.details("Laws of width: how they are fitted", html.definitions(models_notes(models))),
        html.details("Laws of width, all fits", models_table(models)),
        html.details("Likelihood ratio tests", tests_table(models)),
    ]


def _success_table(story: Story) -> str:
    rows = story.success[story.success["target"] == ALL]
    columns = [
        Column("width", lambda row: str(row["width"])),
        Column("good", lambda row: f"{row['good']} of {row['runs']}"),
        Column("rate", lambda row: percent(row["rate"])),
        Column("95%", lambda row: span(row["rate_low"], row["rate_high"])),
        Column("⌊m/r⌋ tickets", lambda row: percent(row["disjoint"])),
        Column("C(m, r) tickets", lambda row: percent(row["combinatorial"])),
        Column(
            "effective tickets",
            lambda row: interval(row["n_eff"], row["n_eff_low"], row["n_eff_high"]),
        ),
        Column("⌊m/r⌋", lambda row: number(row["n_disjoint"])),
        Column("m − r + 1", lambda row: number(row["n_windows"])),
        Column("C(m, r)", lambda row: number(row["n_combinatorial"])),
    ]
    return html.table(rows, columns)


def _level_table(story: Story) -> str:
    rows = story.levels[story.levels["bad"] > 0]
    columns = [
        Column(story.target_name, lambda row: str(row["target"] + 1)),
        Column("width", lambda row: str(row["width"])),
        Column("bad minima", lambda row: f"{row['bad']} of {row['runs']}"),
        Column("of them flat", lambda row: str(row["flat"])),
        Column("levels", lambda row: str(row["levels"])),
        Column("met once", lambda row: str(row["once"])),
        Column(
            "Chao's estimate",
            lambda row: interval(row["estimate"], row["estimate_low"], row["estimate_high"]),
        ),
        Column("coverage", lambda row: percent(row["coverage"])),
        Column("losses", _losses),
    ]
    return html.table(rows, columns)


def _losses(row: dict[str, float]) -> str:
    ends = dict.fromkeys(number(row[name], 3) for name in ("lowest", "highest"))
    return " to ".join(ends)


def _split_table(story: Story) -> str:
    columns = [
        Column("width", lambda row: str(row["width"])),
        Column("μ", lambda row: f"{exact(row['mu'])}"),
        Column("minima", lambda row: str(row["levels"])),
        Column("splits", lambda row: str(row["splits"])),
        Column("strict saddles", lambda row: percent(row["share"])),
        Column("95%", lambda row: span(row["share_low"], row["share_high"])),
        Column("mean index", lambda row: number(row["mean_index"])),
        Column("closed form agrees", lambda row: f"{row['agree']} of {row['splits']}"),
        *[Column(name, partial(_cell, name)) for name in DESTINATIONS],
    ]
    return html.table(story.escapes, columns)


def _cell(name: str, row: dict[str, object]) -> str:
    return str(row[name])


def _footer() -> str:
    return (
        "Tables: <code>runs.parquet</code> (one row a network) and <code>splits.parquet</code> "
        "(one row a split); trained networks: "
        "<code>parts/</code>."
    )
