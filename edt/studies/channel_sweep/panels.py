"""The figure of the study of channels."""

from __future__ import annotations

import pandas as pd

from edt.arguments import checked
from edt.show.axes import percent_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import line
from edt.show.panel import Panel, axis

#: Readouts in words, with colour, marker and dash.
READOUTS = {
    "mean": ("mean over positions", "blue", "o", "solid"),
    "positions": ("every position", "orange", "^", "dash"),
}
#: Words of the tables.
TERMS = Terms(
    headings={
        "readout": "read out", "width": "channels", "targets": "teachers", "share": "first share",
        "strict": "with a way down", "index": "ways down", "rank": "rank of P",
        "agree": "index as predicted", "clear": "of those beyond doubt", "left": "loss left",
        "n_eff": "effective tickets",
    },
    cells={"readout": {name: look[0] for name, look in READOUTS.items()}, "width": {"0": "all"}},
)  # fmt: skip


def channel_sweep(success: pd.DataFrame, ways: pd.DataFrame) -> list[Panel]:
    """Success against channels; ways down that half a channel opens at bad minima.

    Args:
        success, ways: `edt.studies.channel_sweep.run.success` and ``ways``.
    """
    left, right = [], []
    half = ways[(ways["share"] == ways["share"].min()) & (ways["width"] > 0)]
    for readout, (text, colour, marker, dash) in READOUTS.items():
        subset = success[success["readout"] == readout]
        hover = [
            lines(f"{row['width']} channels, {text}",
                  f"wins: {share(row['rate'], row['rate_low'], row['rate_high'])}",
                  f"{row['runs']:,} runs, {row['targets']} teachers")
            for row in rows(subset)
        ]  # fmt: skip
        left.append(
            line(subset["width"], subset["rate"], text, f"@{colour}", hover,
                 low=subset["rate_low"], high=subset["rate_high"], marker=marker, dash=dash)
        )  # fmt: skip
        each = half[half["readout"] == readout]
        hover = [
            lines(f"{row['width']} channels, {text}",
                  f"{row['index']:.1f} ways down, {row['splits']} splits",
                  f"rank of P {row['rank']:.1f}")
            for row in rows(each)
        ]  # fmt: skip
        right.append(
            line(each["width"], each["index"], text, f"@{colour}", hover,
                 low=each["index_low"].fillna(each["index"]),
                 high=each["index_high"].fillna(each["index"]), marker=marker, dash=dash)
        )  # fmt: skip
    across = width_axis(
        sorted({int(width) for width in success["width"]}), "channels of the student"
    )
    return [
        Panel("Success against channels", left, across,
              percent_axis("networks that win (95%, over teachers)")),
        Panel("After one channel of a bad minimum is split", right, across,
              axis("ways down (mean, 95% over teachers)", rangemode="tozero")),
    ]  # fmt: skip


checked(__name__)
