"""Pictures of the study of failures."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from edt.show.style import LIGHT, Theme, key_below, new_figure, percent_axis, styled, width_axis

#: Kinds of failed ends: column of the table, words, colour.
KINDS = {
    "minimum": ("certified minimum", "red"),
    "channel": ("channel to infinity", "purple"),
    "saturated": ("saturated units", "green"),
    "other": ("other", "soft"),
}
#: Ways to go on in words, with colours and markers.
WAYS = {
    "inside": ("split inside", "blue", "o"),
    "outside": ("split outside", "sky", "s"),
    "fresh": ("fresh neuron", "orange", "^"),
    "kick": ("kicked, no neuron", "soft", "D"),
}


def plot_failures(failures: pd.DataFrame, ways: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """What failed ends are against width (left); who gets away to a good end (right).

    Args:
        failures, ways: `edt.studies.failures.run.failure_table` and ``escape_rates``.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(2, size=(13.5, 5.6), width_ratios=[1.0, 1.0])
        left, right = axes[0]
        widths = failures["width"].to_numpy()
        base = np.zeros(len(widths))
        for name, (text, colour) in KINDS.items():
            share = (failures[name].fillna(0.0) * failures["rate"]).to_numpy(dtype=float)
            left.bar(widths, share, 0.8, bottom=base, color=getattr(theme, colour), label=text,
                     edgecolor=theme.paper)  # fmt: skip
            base = base + share
        width_axis(left, [int(width) for width in widths])
        percent_axis(left, "share of all runs")
        left.set_title("What failed runs are")
        key_below(left)
        labels = list(dict.fromkeys(ways["label"]))
        for k, (way, (text, colour, marker)) in enumerate(WAYS.items()):
            own = ways[ways["way"] == way]
            at = np.array([labels.index(label) for label in own["label"]]) + 0.16 * (k - 1.5)
            value = own["good"].to_numpy(dtype=float)
            error = [value - own["good_low"].to_numpy(), own["good_high"].to_numpy() - value]
            right.errorbar(at, value, np.clip(np.array(error, dtype=float), 0.0, None), fmt=marker,
                           color=getattr(theme, colour), label=text)  # fmt: skip
        right.set_xticks(range(len(labels)), labels)
        percent_axis(right, "ends from which some try reaches a good one")
        right.set_title("Does a neuron more open a way out?")
        key_below(right)
    return figure
