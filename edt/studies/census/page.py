"""The report of a census of minima."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from edt.landscape import crossover
from edt.locations import Folder, Location
from edt.show import html
from edt.show.answer import Answer, Tile, rate, rate_tile
from edt.show.hover import rows
from edt.show.html import Column
from edt.show.landscape import census_panels
from edt.show.publish import Picture, write_page
from edt.show.words import count, exact, interval, listed, number, percent, span
from edt.studies.census import panels
from edt.studies.census.run import CensusRun
from edt.studies.common.students_page import good_text, student_protocol
from edt.studies.common.study_page import plain_table
from edt.studies.common.thresholds import threshold_table, threshold_text
from edt.studies.width.protocol import REFERENCES, software
from edt.training.channels import ODD

#: Recomputes the numbers of the page; shown on it, and run by the tests.
SNIPPET = """import pandas as pd
from edt.landscape import basin_table, census_table, prediction_table

runs = pd.read_parquet("runs.parquet")  # one row a student
table = census_table(runs)              # shares, intervals, coverage, Chao1
basins = basin_table(runs)              # share of starts of every minimum
counted = prediction_table(runs, r={r}, odd={odd})   # numbers of subspaces beside them
"""


def write_census_report(run: CensusRun, directory: Location) -> Folder:
    """Write ``report.html``, the figures and ``provenance.json``; path of the page."""
    table, prediction = run.table(), run.prediction()
    pooled = run.pooled(table)
    bad = int((run.tables["minima"]["outcome"] == "bad").sum())
    lead = (
        f"<b>{len(run.tables['runs']):,} students</b> were trained to the bottom, and their minima "
        "told apart up to the order of neurons, symmetries and neurons to spare."
    )
    title = "A census of minima: does width remove the bad ones?"
    return write_page(
        run,
        directory,
        pictures(run, pooled, prediction),
        title,
        lead,
        answer(pooled, bad),
        partial(_body, run, table, prediction),
        _FOOTER,
    )


def answer(pooled: pd.DataFrame, kinds: int) -> Answer:
    """Shares of bad minima at the narrowest and the widest networks."""
    told: list[str] = []
    tiles: list[Tile] = []
    for row in rows(pooled)[:: max(len(pooled) - 1, 1)]:
        found = (row["bad_share"], row["bad_share_spread_low"], row["bad_share_spread_high"])
        told.append(f"{rate(*found)} at width {row['width']}")
        tiles.append(rate_tile(*found, f"end in a bad minimum at width {row['width']}"))
    tiles.append((f"{kinds:,}", "different bad minima, up to symmetries and neurons to spare"))
    return Answer(f"A bad minimum is the end of {listed(told)}.", tiles)


_FOOTER = (
    "Tables: <code>runs.parquet</code> (one row a student, sorted), <code>students.parquet</code> "
    "(training), <code>minima.parquet</code>, <code>gaps.parquet</code>"
    "; trained networks: <code>parts/</code>."
)


def pictures(
    run: CensusRun, pooled: pd.DataFrame, prediction: pd.DataFrame | None
) -> list[Picture]:
    """The figures of the report, in order."""
    found = [
        Picture(
            "census",
            "Share of runs in bad and good minima against width; numbers of distinct bad minima; "
            "losses of all bad minima.",
            "Where runs end: share of all runs, 95% intervals over targets. Distinct bad minima: "
            "those met, and Chao1's estimate with those nobody met; percentages: Good-Turing "
            "coverage. Every bad minimum: at every width it was met; the area is its share of that "
            "width's starts.",
            lambda: census_panels(run.census, table=pooled),
        )
    ]
    if prediction is not None:
        found.append(
            Picture(
                "counting",
                "Numbers of subspaces of global minima and of critical points against width, and "
                "the share of runs that end in a bad minimum.",
                "Subspaces: numbers of affine subspaces, of global minima and of critical points "
                "that stem from the distinct bad minima met below each width; shaded: widths with "
                "more of the former. Measured: the share of bad minima (95% over "
                "targets) beside the critical share of all subspaces. They count different "
                "things: subspaces are not basins.",
                lambda: panels.counting(prediction, pooled),
            )
        )
    return found


def _body(
    run: CensusRun,
    table: pd.DataFrame,
    prediction: pd.DataFrame | None,
    figures: dict[str, str],
    facts: dict[str, Any],
) -> list[str]:
    spec, pooled = run.spec, run.pooled(table)
    thresholds = threshold_table(run.tables["students"])
    sections: list[str] = [
        html.section(
            "Bad minima against width",
            html.paragraph(_share_text(pooled)),
            figures["census"],
            html.paragraph(_unseen_text(pooled)),
            html.paragraph(_embedded_text(run)),
        )
    ]
    if prediction is not None:
        sections.append(
            html.section(
                "What counting predicts",
                html.paragraph(_counting_text(run, prediction)),
                figures["counting"],
                html.paragraph(
                    "<b>These numbers count subspaces, not basins</b>, one family for each "
                    "irreducible critical point. How much of the space of starts a subspace draws "
                    "is not in them, so they predict which widths are dominated, not a rate."
                ),
            )
        )
    sections += [
        html.section("What this does not say", html.bullets(_caveats(run))),
        html.section(
            "How it was done",
            html.definitions([*student_protocol(spec), *_method(run)]),
            html.details("All widths", _table(pooled)),
            html.details("Each target", _targets(table)),
            html.details(
                "Success at other thresholds, and by the first optimiser alone",
                html.paragraph(threshold_text(thresholds)) + plain_table(thresholds),
            ),
            html.details("The largest basins of bad minima", _basins(run)),
            *([] if prediction is None else [html.details("Subspaces", _counting(prediction))]),
            html.details(
                "Recompute these numbers",
                html.paragraph("In this directory:")
                + html.code(SNIPPET.format(r=spec.teacher_width, odd=spec.activation in ODD)),
            ),
            html.details("Software and machine", html.definitions(software(facts))),
            html.details("Parameters", html.code(spec.text())),
            html.details("References", html.bullets([*REFERENCES, *_MORE])),
        ),
    ]
    return sections


_MORE = [
    "A. Chao, Estimating the population size for capture-recapture data with unequal "
    "catchability, Biometrics 43 (1987) 783.",
    "I. J. Good, The population frequencies of species and the estimation of population "
    "parameters, Biometrika 40 (1953) 237.",
]


def _share_text(pooled: pd.DataFrame) -> str:
    first, last = pooled.iloc[0], pooled.iloc[-1]
    clean = pooled[pooled["bad"] == 0]["width"].tolist()
    text = (
        f"At width {int(first['width'])}, {_share(first)} of the runs end in a bad minimum; at "
        f"width {int(last['width'])}, {_share(last)}."
    )
    middle = pooled.iloc[1:-1]
    middle = middle[(middle["bad"] > 0) & (middle["good"] > 0)]
    if len(middle):
        shares = [f"{_share(row)} at width {int(row['width'])}" for _, row in middle.iterrows()]
        text += f" In between it is {listed(shares)}."
    if clean:
        words = listed([str(int(width)) for width in clean])
        text += f" No run did at {'width' if len(clean) == 1 else 'widths'} {words}."
    open_ = int(pooled["open"].sum())
    if open_:
        text += f" {count(open_, 'run')} reached no minimum (channels, or no verdict)."
    return text


def _share(row: pd.Series) -> str:
    return (
        f"{percent(row['bad_share'])} "
        f"({span(row['bad_share_spread_low'], row['bad_share_spread_high'])})"
    )


def _unseen_text(pooled: pd.DataFrame) -> str:
    known = pooled[pooled["bad"] > 0]
    if not len(known):
        return "No bad minimum was met."
    most = known.sort_values("distinct", kind="stable").iloc[-1]
    once = int(most["once"])
    return (
        f"Most different ones were met at width {int(most['width'])}: {int(most['distinct'])}, "
        f"{once or 'none'} of them only once. With those that nobody met there are about "
        f"{interval(most['chao1'], most['chao1_low'], most['chao1_high'])} (Chao1). A further "
        f"bad run would land in one already met with probability {percent(most['coverage'])} "
        f"({span(most['coverage_low'], most['coverage_high'])}, Good-Turing)."
    )


def _embedded_text(run: CensusRun) -> str:
    runs = run.tables["runs"]
    bad = runs[(runs["outcome"] == "bad") & (runs["core_width"] >= 0)]
    if not len(bad):
        return ""
    spare = int((bad["core_width"] < bad["width"]).sum())
    disguise = "a narrower minimum in disguise: no neuron repeats another, is dead, constant or "
    if not spare:
        return f"Not one of {count(len(bad), 'bad run')} ends in {disguise}cancelled."
    return (
        f"{spare:,} of {count(len(bad), 'bad run')} {'ends' if spare == 1 else 'end'} in narrower "
        "minima in disguise: a neuron repeats another, is dead, constant or cancelled."
    )


def _counting_text(run: CensusRun, table: pd.DataFrame) -> str:
    r = run.spec.teacher_width
    odd = run.spec.activation in ODD
    won = table[table["dominated"]]["width"].tolist()
    text = (
        f"A solution of width r = {r} gives T(r, m) subspaces of global minima at width m; a "
        "critical point of width q, not reducible, gives G(q, m) subspaces of critical points. "
        "Fed with the distinct bad minima of this census (all targets together), "
    )
    text += (
        f"global minima outnumber the others from width {int(won[0])} on."
        if won
        else "global minima outnumber the others at none of these widths."
    )
    if r >= 2:
        text += (
            f" With one critical point of width r − 1 alone, that happens at m = "
            f"{crossover(r, odd=odd)}; with one of every width below r, at m = "
            f"{crossover(r, cumulative=True, odd=odd)}."
        )
    if odd:
        text += " The activation being odd, neurons and their mirror images count apart."
    if run.spec.bias:
        text += " Families that an output bias adds are in neither number."
    return text


def _caveats(run: CensusRun) -> list[str]:
    spec = run.spec
    out = [
        "Minima are counted as this training meets them; those with small basins are missed. "
        "Good-Turing and Chao1 speak of unseen ones under the same starts and training only.",
        "Good minima form continua: all good runs of a target are one minimum here.",
        "Flat minima that the core does not account for are told apart by their function alone.",
        "Critical points that are saddles are not in the census, while counting includes them.",
    ]
    if spec.realisable:
        out.append(
            f"{count(spec.teachers, 'teacher')} of one kind: shares differ between teachers (see "
            "the table), and intervals over so few are rough."
        )
    else:
        out.append(
            f"Good is relative to the best loss of width {spec.teacher_width} or less, so wider "
            "networks win by fitting more."
        )
    return out


def _method(run: CensusRun) -> list[tuple[str, str]]:
    spec, gaps = run.spec, run.tables["gaps"]
    between = {str(row["of"]): row for row in gaps.to_dict("records")}
    return [
        ("Good", good_text(spec)),
        (
            "Same level",
            f"losses whose steps stay below {exact(spec.level)}, relatively",
        ),
        (
            "Same function",
            f"outputs within {exact(spec.function)} standard deviations of the target, root mean "
            f"square; {_gap(between.get('function'))}",
        ),
        (
            "Same minimum",
            "same function, and cores whose aligned parameters differ by less than "
            f"{exact(spec.parameters)}, relatively; {_gap(between.get('parameters'))}",
        ),
        (
            "Core",
            "what is left when duplicate, dead, constant and cancelling neurons are taken away, as "
            f"long as outputs change by less than {exact(spec.reduction)} standard deviations; "
            "neurons "
            "are aligned by assignment, up to sign flips, rescalings and shifts where the "
            "activation has them",
        ),
        (
            "Intervals",
            "95%: Wilson's as if runs were independent; over targets, Student's at the effective "
            "number of runs; of Chao1 by likelihood ratio",
        ),
    ]


def _gap(row: dict[Any, Any] | None) -> str:
    if row is None:
        return "no pair was compared"
    apart = float(row["parted"])
    nearest = (
        "none was taken for different" if np.isinf(apart) else f"{number(apart)} the nearest apart"
    )
    return f"{number(float(row['joined']))} was the farthest taken for equal, {nearest}"


def _columns() -> list[Column]:
    return [
        Column("width", lambda row: str(row["width"])),
        Column("targets", lambda row: str(row["targets"])),
        Column("runs", lambda row: f"{row['runs']:,}"),
        Column("good", lambda row: f"{row['good']:,}"),
        Column("bad", lambda row: f"{row['bad']:,}"),
        Column("neither", lambda row: f"{row['open']:,}"),
        Column("bad share", lambda row: percent(row["bad_share"])),
        Column(
            "over targets",
            lambda row: span(row["bad_share_spread_low"], row["bad_share_spread_high"]),
        ),
        Column("levels", lambda row: str(row["levels"])),
        Column("distinct", lambda row: str(row["distinct"])),
        Column("irreducible", lambda row: str(row["irreducible"])),
        Column("once", lambda row: str(row["once"])),
        Column("coverage", lambda row: percent(row["coverage"])),
        Column(
            "Chao1",
            lambda row: (
                interval(row["chao1"], row["chao1_low"], row["chao1_high"]) if row["bad"] else "–"
            ),
        ),
    ]


def _table(pooled: pd.DataFrame) -> str:
    return html.table(pooled, _columns())


def _targets(table: pd.DataFrame) -> str:
    each = table[table["target"] >= 0]
    return html.table(each, [Column("target", lambda row: str(row["target"] + 1)), *_columns()])


def _basins(run: CensusRun, most: int = 30) -> str:
    basins = run.basins()
    bad = basins[basins["outcome"] == "bad"].sort_values(
        ["share", "target", "width", "minimum"], ascending=[False, True, True, True]
    )
    columns = [
        Column("minimum", lambda row: str(row["minimum"])),
        Column("target", lambda row: str(row["target"] + 1)),
        Column("width", lambda row: str(row["width"])),
        Column("core width", lambda row: str(row["core_width"])),
        Column("loss", lambda row: number(row["loss"], 4)),
        Column("runs", lambda row: f"{row['count']} of {row['runs']}"),
        Column("share", lambda row: percent(row["share"])),
        Column("95%", lambda row: span(row["share_low"], row["share_high"])),
    ]
    return html.table(bad.head(most), columns)


def _log(value: float) -> str:
    return "none" if np.isinf(value) else number(value)


def _counting(prediction: pd.DataFrame) -> str:
    columns = [
        Column("width", lambda row: str(row["width"])),
        Column("log10 of minima T", lambda row: _log(row["log10_minima"])),
        Column("log10 of critical ΣG", lambda row: _log(row["log10_critical"])),
        Column("minima among them", lambda row: percent(row["minima_share"])),
        Column("minima outnumber", lambda row: "yes" if row["dominated"] else "no"),
        Column("measured bad share", lambda row: percent(row["bad_share"])),
        Column("runs", lambda row: f"{row['runs']:,}"),
    ]
    return html.table(prediction, columns)
