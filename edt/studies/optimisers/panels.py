"""The figure of the study of optimisers."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import log_axis, percent_axis, size_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import line, points
from edt.show.marks import rule as law_line
from edt.show.panel import Panel
from edt.studies.common.contrast import STYLES

#: Words of the tables.
TERMS = Terms(
    headings={
        "targets": "teachers", "moved": "distance moved", "predicted": "steps, predicted",
        "steps": "steps, median",
    },
)  # fmt: skip


def optimisers(
    table: pd.DataFrame, times: pd.DataFrame, plateaus: pd.DataFrame | None = None
) -> list[Panel]:
    """Good runs by setting, a series a width; steps to leave saddles by batch size; plateaus.

    Args:
        table: of `edt.studies.optimisers.run.OptimisersRun.rates`.
        times: from `edt.studies.optimisers.run.time_table`.
        plateaus: table ``plateaus`` of the run.
    """
    found = []
    named = table.assign(
        rule=[name.partition(", start × ")[0] for name in table["setting"]],
        scale=[float(name.partition(", start × ")[2]) for name in table["setting"]],
    )
    for rule, part in named.groupby("rule", sort=False):
        traces = []
        for k, (width, subset) in enumerate(part.groupby("width")):
            colour, marker, dash = STYLES[k % len(STYLES)]
            hover = [
                lines(
                    f"{row['setting']}, width {row['width']}",
                    f"good: {share(row['good'], row['good_low'], row['good_high'])}",
                    f"certified bad: {share(row['bad'], row['bad_low'], row['bad_high'])}",
                    f"moved {row['moved']:.3g} times the norm of the start",
                )
                for row in rows(subset)
            ]
            traces.append(
                line(subset["scale"], subset["good"], f"width {width}", f"@{colour}", hover,
                     low=subset["good_low"], high=subset["good_high"], marker=marker, dash=dash)
            )  # fmt: skip
        name = str(rule)
        found.append(
            Panel(f"{name[:1].upper()}{name[1:]}: good at the bottom", traces,
                  size_axis(sorted(set(part["scale"])), "scale of the start"),
                  percent_axis("share of runs (95%, over teachers)"))
        )  # fmt: skip
    if len(times):
        # The median of runs most of which had not left when the steps were over is not known.
        gone = times["left"] > 0.5
        measured = [
            line(subset["batch"], subset["steps"], name, "@blue", [
                lines(f"batches of {row['batch']}: {said} {row['steps']:,.0f} steps",
                      f"{share(row['left'])} of the runs left; {row['saddles']} saddles")
                for row in rows(subset)
            ], hollow=hollow, joined=not hollow)
            for subset, name, said, hollow in (
                (times[gone], "measured (median)", "median", False),
                (times[~gone], "most had not left in so many", "most not left in", True),
            )
            if len(subset)
        ]  # fmt: skip
        predicted = line(times["batch"], times["predicted"], "curvature alone", "@orange", hover,
                         marker="s", dash="dash")  # fmt: skip
        found.append(
            Panel("Steps until a saddle is left", [*measured, predicted],
                  size_axis([float(b) for b in times["batch"]], "samples a step"),
                  log_axis("steps", [*measured, predicted]))
        )  # fmt: skip
    if plateaus is not None and plateaus["kappa"].notna().any():
        found.append(_plateaus(plateaus[plateaus["kappa"].notna()]))
    return found


def _plateaus(known: pd.DataFrame) -> Panel:
    marks = [
        points(subset["kappa"], subset["stay"], name, "@purple", [
            lines(f"teacher {row['target'] + 1}: {row['stay']:.3g} at curvature {row['kappa']:.3g}",
                  f"loss {row['loss']:.3g}, {row['index']} ways down")
            for row in rows(subset)
        ], hollow=hollow)
        for subset, name, hollow in (
            (known[known["left"]], "a plateau", False),
            (known[~known["left"]], "not left in so long", True),
        )
        if len(subset)
    ]  # fmt: skip
    ends = [float(known["kappa"].min()), float(known["kappa"].max())]
    middle = float((known["kappa"] * known["stay"]).median())
    law = law_line(ends, [middle / end for end in ends])
    return Panel("Plateaus of gradient flow (dashes: 1 / curvature)", [*marks, law],
                 log_axis("curvature of the way down", marks, along="x"),
                 log_axis("time spent", marks))  # fmt: skip
