"""The report of the controls of dimension against neurons."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pandas as pd

from edt.locations import Folder, Location
from edt.show import html
from edt.show.answer import Answer, Tile, rate, rate_tile
from edt.show.html import Column
from edt.show.publish import Picture, write_page
from edt.show.words import (
    count,
    exact,
    fixed,
    interval,
    listed,
    option,
    p_is,
    p_value,
    percent,
    points,
    span,
)
from edt.studies.common.study_page import plain_table
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.controls import panels
from edt.studies.controls.panels import LOOKS
from edt.studies.controls.run import ATTRIBUTIONS, Controls
from edt.studies.controls.spec import CONTROLS
from edt.studies.width.protocol import software

#: p below this counts as a difference.
LEVEL = 0.05

REFERENCES = [
    "C. Li et al., Measuring the intrinsic dimension of objective landscapes, ICLR 2018, arXiv "
    "1804.08838.",
    "S. Arora, N. Cohen, E. Hazan, On the optimization of deep networks: implicit acceleration by "
    "overparameterization, ICML 2018, arXiv 1802.06509.",
    "J. Frankle, M. Carbin, The lottery ticket hypothesis, ICLR 2019, arXiv 1803.03635.",
    "Q. McNemar, Note on the sampling error of the difference between correlated proportions, "
    "Psychometrika 12 (1947) 153.",
]


def write_controls_report(run: Controls, directory: Location) -> Folder:
    """Write ``report.html``, the figures and ``provenance.json``; path of the page."""
    rates, found = run.rates(), run.attribution()
    r = run.spec.teacher_width
    picture = Picture(
        "controls",
        "Success of every control against trained parameters and against learning neurons.",
        "Each mark is one way to train, all teachers together, with its 95% interval over them. If "
        "success went with the number of parameters, all marks would lie on one curve against "
        "parameters; if with neurons that can learn, on one curve against neurons.",
        lambda: panels.controls(rates, r),
    )
    lead = (
        f"<b>{len(run.tables['runs']):,} networks</b> learned "
        f"{count(run.spec.teachers, 'teacher')} of {r} neurons, with more parameters but no more "
        "neurons that learn, and the other way round."
    )
    return write_page(
        run,
        directory,
        [picture],
        "Parameters or neurons?",
        lead,
        answer(rates, found),
        partial(_body, run, rates, found),
        "Table: <code>runs.parquet</code> (one row a network)",
    )


def _body(
    run: Controls,
    rates: pd.DataFrame,
    found: pd.DataFrame,
    figures: dict[str, str],
    facts: dict[str, Any],
) -> list[str]:
    spec = run.spec
    thresholds = threshold_table(
        run.tables["runs"].assign(threshold=spec.good), ("control", "width", "setting")
    )
    return [
        html.section(
            "Each varied without the other",
            figures["controls"],
            html.table(
                widest(rates), _pair_columns(), "Each control at its widest, beside the same starts"
            ),
            html.paragraph(attribution_text(found)),
        ),
        html.section(
            "What this does not say",
            html.bullets(
                [
                    "A random subspace may miss the zero-loss set altogether: success there is "
                    "that of the start and of the subspace together. Dimensions below what is "
                    "needed in general are not run.",
                    "Other parameters also change how far a step of Adam moves the network. "
                    "Rotated parameters show by how much: same networks, as many parameters.",
                    "Frozen neurons are noise that the others must cancel, and zero loss may "
                    "then be out of reach.",
                    "The regressions describe these cells. Parameters and neurons are not set "
                    "at random, and a different choice of controls would weigh them otherwise.",
                ]
            ),
        ),
        html.section(
            "How it was done",
            html.definitions([*_protocol(run), ("Threshold", threshold_text(thresholds))]),
            html.details("All controls", _table(rates)),
            html.details(HEADING, plain_table(thresholds, panels.TERMS)),
            *([html.details("Regressions", _regressions(found))] if len(found) else []),
            html.details("Software and machine", html.definitions(software(facts))),
            html.details("References", html.bullets(REFERENCES)),
        ),
    ]


def answer(rates: pd.DataFrame, found: pd.DataFrame) -> Answer:
    """What adds to success beside the other: parameters or neurons that learn."""
    subset = rates[rates["control"] == "width"].sort_values("width")
    tiles: list[Tile] = []
    if len(subset):
        for row in subset.to_dict("records")[:: max(len(subset) - 1, 1)]:
            of = f"of ordinary networks of width {row['width']} win"
            tiles.append(rate_tile(row["rate"], row["rate_low"], row["rate_high"], of))
    table = widest(rates)
    if len(table):
        row = table.sort_values("dimension", kind="stable").to_dict("records")[-1]
        of = f"with {row['dimension']:,} parameters: {LOOKS[row['control']][0]}"
        tiles.append(rate_tile(row["rate"], row["rate_low"], row["rate_high"], of))
    if len(tiles) == 1:
        tiles.append((f"{int(rates['runs'].sum()):,}", "runs"))
    if not len(found):
        told = [f"width {row['width']} {rate(row['rate'], row['rate_low'], row['rate_high'])}"
                for row in subset.to_dict("records")]  # fmt: skip
        return Answer(f"Success of ordinary networks: {listed(told)}.", tiles[:3])
    rows = {row["model"]: row for row in found.to_dict("records")}
    both = rows["both"]
    says = [
        f"{what} {_helps(both, name, rows[other]['p'])}"
        for what, name, other in (
            ("At as many parameters, more neurons that learn", "learning", "dimension"),
            ("at as many neurons, more parameters", "dimension", "learning"),
        )
    ]
    return Answer(f"{'; '.join(says)}.", tiles[:3])


def _helps(both: dict[Any, Any], name: str, p: float) -> str:
    """What the slope of one beside the other says, over teachers or of the only one."""
    low, high = both[f"b_{name}_low"], both[f"b_{name}_high"]
    unclear = "do not help, as far as this shows"
    if math.isnan(low):
        word = "help" if p < LEVEL and both[f"b_{name}"] > 0 else unclear
        return f"{word} ({p_is(p)}, of this teacher alone)"
    word = "help" if low > 0 else "hurt" if high < 0 else unclear
    return f"{word} (slope {interval(both[f'b_{name}'], low, high)} over teachers)"


def widest(rates: pd.DataFrame) -> pd.DataFrame:
    """Each control at its widest."""
    subset = rates[rates["control"] != "width"].sort_values(["width", "dimension"], kind="stable")
    last = subset.groupby("control", sort=False).tail(1).set_index("control")
    return last.loc[[name for name in CONTROLS if name in last.index]].reset_index()


def _pair_columns() -> list[Column]:
    return [
        Column("control", lambda row: LOOKS[row["control"]][0]),
        Column("width", lambda row: str(row["width"])),
        Column("parameters", lambda row: f"{row['dimension']:,}"),
        Column("wins", lambda row: rate(row["rate"], row["rate_low"], row["rate_high"])),
        Column("the same starts, ordinary", lambda row: percent(row["rate_ordinary"])),
        Column("ahead", lambda row: points(row["ahead"], row["ahead_low"], row["ahead_high"])),
    ]


def attribution_text(found: pd.DataFrame) -> str:
    """What the regressions say."""
    if not len(found):
        return "Parameters and neurons do not both vary here, so nothing can be said about them."
    rows = {row["model"]: row for row in found.to_dict("records")}
    best = min(rows.values(), key=lambda row: float(row["aic"]))
    parts = []
    for name, other in (("learning", "dimension"), ("dimension", "learning")):
        word = {"dimension": "the number of parameters", "learning": "the number of neurons"}
        verdict = "adds to it" if rows[name]["p"] < LEVEL else "adds nothing that shows"
        parts.append(f"given {word[name]}, {word[other]} {verdict} ({p_is(rows[name]['p'])})")
    slopes = {
        name: interval(*(rows["both"][f"b_{name}{end}"] for end in ("", "_low", "_high")))
        for name in ("dimension", "learning")
    }
    return (
        f"Of logistic regressions over all cells, that on {ATTRIBUTIONS[best['model']][1]} has the "
        "least AIC. By likelihood ratio, which speaks of these teachers alone, "
        f"{listed(parts)}. Slopes with both, over teachers: {slopes['dimension']} for the "
        f"logarithm of parameters, {slopes['learning']} for that of learning neurons."
    )


def _protocol(run: Controls) -> list[tuple[str, str]]:
    spec = run.spec
    return [
        (
            "Networks",
            f"{count(spec.teachers, 'teacher')} of width r = {spec.teacher_width}, "
            f"{count(spec.seeds, 'seed')} a control, width and teacher, {option(spec.activation)}, "
            f"{spec.samples} samples of {spec.d_in} inputs, started at the scale of width "
            f"{spec.teacher_width}",
        ),
        (
            "Training",
            f"full-batch Adam, {spec.steps:,} steps, learning rate {exact(spec.lr)}, "
            f"{spec.schedule} schedule; "
            f"then up to {count(spec.lbfgs_rounds, 'round')} of "
            f"{spec.lbfgs_steps:,} L-BFGS iterations; "
            "the same for every control",
        ),
        ("Win", f"loss ≤ {exact(spec.good)} × variance of the target"),
        *[(LOOKS[name][0], CONTROLS[name]) for name in spec.controls],
        (
            "Factors",
            "W = W₀ + F G − F₀ G₀, so that training starts at the ordinary start; entries of F₀ "
            "and G₀ have variance 1/k, and Adam's rate is divided by √k",
        ),
        (
            "Dimensions of subspaces",
            "P(r) + m − r plus a margin ("
            + ", ".join(str(margin) for margin in spec.margins)
            + "): the least at which a random affine subspace meets the zero-loss set of width m "
            "in general (extra neurons with output weight 0), below P(m)",
        ),
        (
            "Pairs",
            "every control starts from networks that are also trained in the ordinary way; ahead: "
            "with Student's interval over teachers; p, of these teachers alone: exact test of the "
            "starts that win in one way only (McNemar's)",
        ),
        (
            "Regressions",
            "logistic, one intercept a teacher, on ln parameters and ln learning neurons; slopes: "
            "jackknife over teachers; p, of these teachers alone: likelihood ratio test against "
            "the regression on both",
        ),
        (
            "Intervals",
            "95%, over teachers: Student's at the effective number of runs"
            if spec.teachers > 1
            else "95%, Wilson's: of this teacher alone",
        ),
    ]


def _table(rates: pd.DataFrame) -> str:
    columns = [
        Column("control", lambda row: LOOKS[row["control"]][0]),
        Column("width", lambda row: str(row["width"])),
        Column("k or d", lambda row: str(row["setting"]) if row["setting"] else "–"),
        Column("neurons that learn", lambda row: str(row["learning"])),
        Column("parameters", lambda row: f"{row['dimension']:,}"),
        Column("wins", lambda row: f"{row['good']:,} of {row['runs']:,}"),
        Column("rate", lambda row: percent(row["rate"])),
        Column("95%", lambda row: span(row["rate_low"], row["rate_high"])),
        Column("ordinary", lambda row: percent(row["rate_ordinary"])),
        Column("wins only here", lambda row: str(row["only_here"])),
        Column("only ordinary", lambda row: str(row["only_ordinary"])),
        Column("ahead (points)", lambda row: _ahead(row)),
        Column("p-value, these teachers", lambda row: p_value(row["p"])),
    ]
    return html.table(rates, columns)


def _ahead(row: dict[str, Any]) -> str:
    said = points(row["ahead"], row["ahead_low"], row["ahead_high"])
    return "–" if math.isnan(row["ahead"]) else said.replace(" points", "")


def _regressions(found: pd.DataFrame) -> str:
    columns = [
        Column("regression on", lambda row: ATTRIBUTIONS[row["model"]][1]),
        Column("coefficients", lambda row: str(row["parameters"])),
        Column("ln L", lambda row: fixed(row["log_likelihood"], 2)),
        Column("ΔAIC", lambda row: fixed(row["delta_aic"], 1)),
        Column("slope, parameters", lambda row: _slope(row, "b_dimension")),
        Column("slope, neurons", lambda row: _slope(row, "b_learning")),
        Column("p-value against both", lambda row: p_value(row["p"])),
    ]
    return html.table(found, columns)


def _slope(row: dict[str, Any], name: str) -> str:
    ends = row[name], row[f"{name}_low"], row[f"{name}_high"]
    return "–" if math.isnan(ends[0]) else interval(*ends)
