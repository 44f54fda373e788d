"""The part of a report that says which law of width fits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edt.show import html
from edt.show.html import Column
from edt.show.publish import Picture
from edt.show.words import exact, fixed, interval, listed, number, p_is, p_value, percent
from edt.studies.common import models_panel
from edt.studies.common.findings import LEVEL
from edt.studies.common.models_panel import CLOSE, NAMES
from edt.studies.common.width_models import collinearity
from edt.success import Comparison

#: Correlation of two covariates from which on they are not told apart.
TELLING = 0.99
#: Resamples behind "chosen".
DRAWS = 50


def models_picture(found: Comparison, goal: str, name: str = "models") -> Picture:
    """The figure: fitted laws over the measured rates, and their AIC."""
    return Picture(
        name,
        "Success rates with fitted laws of width, and the AIC of every law above the best.",
        "Laws: measured rates with 95% intervals over targets and maximum-likelihood fits; the "
        "price of a ticket (the chance of one to win) is fitted with the rest. Dots: Akaike's "
        "criterion above that of the best law; below 2, shaded, there is no telling apart.",
        lambda: models_panel.models(found, goal=goal),
    )


def models_text(found: Comparison) -> str:
    """The answer in sentences."""
    free = found.table[found.table["price"] == "free"]
    best = free.iloc[0]
    near = [NAMES[name] for name in free.loc[free["delta_aic"] <= CLOSE, "model"].iloc[1:].tolist()]
    text = (
        f"Of {len(free)} laws fitted to {found.counts.cells} cells "
        f"({int(found.counts.runs.sum()):,} runs), <b>{NAMES[str(best['model'])]}</b> has the "
        f"least AIC"
    )
    text += f"; {listed(near)} cannot be told from it (within {exact(CLOSE)})" if near else ""
    if not math.isnan(best["selected"]):
        text += (
            f". With wins drawn anew at the measured rates it is chosen in "
            f"{percent(best['selected'])} of {DRAWS} draws"
        )
    text += ". "
    if best["p_fit"] < LEVEL:
        text += (
            f"Even it does not fit (deviance {number(best['deviance'])} at "
            f"{int(best['dof'])} degrees of freedom, {p_is(best['p_fit'])}): the laws are "
            "descriptions, none is the truth here. "
        )
    return (text + collinear_text(found)).rstrip()


def counts_text(found: Comparison) -> str:
    """The verdict on every lottery's own count of tickets: one test, over all widths and targets.

    A count is the case a = 1 of the law with its power a; what it predicts at a single width is
    shown elsewhere, without a verdict.
    """
    tests = {(row["small"], row["large"]): row for row in found.tests.to_dict("records")}
    parts = []
    for name in ("disjoint", "windows", "subsets"):
        test = tests.get((name, f"{name}^a"))
        if test is not None:
            verdict = "rejected" if test["p"] < LEVEL else "not rejected"
            parts.append(f"{NAMES[name]} {verdict} ({p_is(test['p'])})")
    if not parts:
        return ""
    return (
        f"Which count of tickets is right? Over all widths from r on: {listed(parts)}, each by a "
        "likelihood ratio against its own powers."
    )


def collinear_text(found: Comparison) -> str:
    """Whether escape dimensions and width can be told apart at all; nothing where nobody asks."""
    r = collinearity(found.counts)
    if math.isnan(r):
        return ""
    if r < TELLING:
        return f"Within targets E(m) and m have a correlation of {r:.3f}. "
    slopes = [
        float(np.polyfit(found.counts.width[cell], found.counts.covariates["escape"][cell], 1)[0])
        for cell in (found.counts.group == group for group in np.unique(found.counts.group))
    ]
    spread = (
        f"; what tells them apart is only that a neuron opens {min(slopes):.1f} to "
        f"{max(slopes):.1f} dimensions, target by target"
        if len(slopes) > 1
        else ""
    )
    return (
        f"<b>E(m) and m are nearly one here</b>: their correlation within targets is {r:.4f}"
        f"{spread}. That the law of escape dimensions fits is thus no evidence that these "
        "dimensions, and not width as such, are the cause. "
    )


def models_notes(found: Comparison) -> list[tuple[str, str]]:
    """Methods, as definitions."""
    escape = (
        "E(m) adds up the mean number of escape dimensions that splitting a neuron of a bad "
        "minimum opens at widths r to m − 1 (shares inside (0, 1), measured on the full Hessian; "
        "beyond the widest that was split, its value is carried on)"
        if "escape" in found.counts.covariates
        else "no bad minimum of every target was split, so the escape model is left out"
    )
    return [
        (
            "Laws of width",
            "1 − s is the chance to fail: lotteries (1 − price)<sup>n(m)</sup>, with the price the "
            "chance of one ticket to win; escape (1 − price) exp(−κ E(m)); geometric (1 − price) "
            "exp(−κ (m − r)); logistic regressions. Each target has its own price or intercept; "
            "a, κ and b are shared. Widths below r are left out",
        ),
        ("Escape", escape),
        (
            "Fitting",
            "maximum likelihood on binomial counts; AIC = 2k − 2 ln L, AICc counts cells as "
            "observations; weights exp(−ΔAIC/2), normalised over laws with a free price; "
            "intervals: profile likelihood, 95%; goodness of fit: deviance against a rate of its "
            f"own in every cell, chi-squared; chosen: share of {DRAWS} resamples (fixed seed) in "
            "which the law has the least AIC",
        ),
        (
            "Narrow price",
            "the same lotteries with the price set by width r alone, as a prediction; no weight",
        ),
    ]


def models_table(found: Comparison) -> str:
    """Every law, as a table."""
    columns = [
        Column("law", lambda row: NAMES.get(row["model"], row["model"])),
        Column("chance to fail", lambda row: formula(str(row["label"]))),
        Column("price", lambda row: str(row["price"])),
        Column("parameters", lambda row: str(row["parameters"])),
        Column("ln L", lambda row: fixed(row["log_likelihood"], 2)),
        Column("AIC", lambda row: fixed(row["aic"], 1)),
        Column("ΔAIC", lambda row: fixed(row["delta_aic"], 1)),
        Column("ΔAICc", lambda row: _finite(row["delta_aicc"])),
        Column("weight", lambda row: percent(row["weight"])),
        Column("chosen", lambda row: percent(row["selected"])),
        Column("deviance (dof)", lambda row: f"{row['deviance']:,.1f} ({row['dof']})"),
        Column("p-value of the fit", lambda row: p_value(row["p_fit"])),
        Column("parameter", _parameter),
    ]
    return html.table(found.table, columns)


def formula(label: str) -> html.Markup:
    """A law's chance to fail with its power raised.

    Example:
        >>> formula("(1 − p)^((m/r)^a)")
        '(1 − price)<sup>(m/r)<sup>a</sup></sup>'
    """
    base, _, power = label.replace("1 − p)", "1 − price)").partition("^")
    if not power:
        return html.inline(base)
    inner = power[1:-1] if power.startswith("(") and power.endswith((")", "^a)")) else power
    first, _, second = inner.partition("^")
    return html.inline(f"{base}<sup>{first}{f'<sup>{second}</sup>' if second else ''}</sup>")


def tests_table(found: Comparison) -> str:
    """Likelihood ratio tests, as a table."""
    columns = [
        Column("smaller", lambda row: NAMES[row["small"]]),
        Column("larger", lambda row: NAMES[row["large"]]),
        Column("2 Δ ln L", lambda row: fixed(row["statistic"], 2)),
        Column("p-value", lambda row: p_value(row["p"])),
    ]
    return html.table(found.tests, columns)


def _parameter(row: dict[str, Any]) -> str:
    if not row["parameter"]:
        return ""
    name = "κ" if row["parameter"] == "kappa" else row["parameter"]
    return f"{name} = {interval(row['value'], row['low'], row['high'])}"


def _finite(value: float) -> str:
    return fixed(value, 1) if math.isfinite(value) else "–"
