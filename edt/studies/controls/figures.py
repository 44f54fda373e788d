"""Pictures of the controls: dimension on one axis, neurons that learn on the other."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.show.style import LIGHT, Theme, new_figure, percent_axis, styled

#: Control to (text, colour of the theme, marker).
LOOKS = {
    "width": ("ordinary networks", "blue", "o"),
    "features": ("extra neurons: only outputs train", "orange", "s"),
    "frozen": ("extra neurons: frozen", "red", "v"),
    "factored": ("factored weights, r neurons", "green", "D"),
    "rotated": ("rotated parameters, all of them", "sky", "P"),
    "subspace": ("random subspace", "purple", "^"),
}


def plot_controls(rates: pd.DataFrame, r: int, *, theme: Theme = LIGHT) -> Figure:
    """Success against trained parameters (left) and against neurons that learn (right).

    Args:
        rates: from `edt.studies.controls.run.rate_table`.
        r: neurons of the teacher.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(2, size=(13.4, 6.4), sharey=True)
        left, right = axes[0]
        present = [name for name in LOOKS if (rates["control"] == name).any()]
        for k, name in enumerate(present):
            rows = rates[rates["control"] == name]
            shift = k - (len(present) - 1) / 2
            dimension = rows["dimension"].to_numpy(dtype=float)
            _points(left, dimension * 1.012**shift, rows, name, theme)
            _points(right, rows["learning"].to_numpy(dtype=float) + 0.1 * shift, rows, name, theme)
        left.set_xscale("log")
        low, high = float(rates["dimension"].min()), float(rates["dimension"].max())
        ticks = [t for t in (5, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 400, 800, 1600)
                 if 0.9 * low <= t <= 1.1 * high]  # fmt: skip
        if len(ticks) < 3:
            found = sorted({int(d) for d in rates["dimension"]})
            ticks = sorted({found[0], found[len(found) // 2], found[-1]})
        left.set_xticks(ticks, [str(t) for t in ticks])
        left.minorticks_off()
        left.set_xlabel("trained parameters")
        left.set_title("Same success for the same dimension?")
        neurons = sorted({int(m) for m in rates["learning"]})
        right.set_xticks(neurons)
        right.set_xlabel(f"neurons whose input weights learn (teacher: {r})")
        right.set_title("Or for the same number of neurons?")
        percent_axis(left, "runs that reach zero loss (95% Wilson)")
        for ax in (left, right):
            ax.grid(False, axis="x")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _points(
    ax: Axes, x: np.ndarray[tuple[int], np.dtype[np.float64]], rows: pd.DataFrame, name: str,
    theme: Theme,
) -> None:  # fmt: skip
    text, colour, marker = LOOKS[name]
    rate = rows["rate"].to_numpy(dtype=float)
    errors = np.clip(np.stack([rate - rows["rate_low"], rows["rate_high"] - rate]), 0.0, None)
    ax.errorbar(
        x, rate, yerr=errors, color=getattr(theme, colour), marker=marker, ms=8.5,
        mec=theme.paper, mew=1.0, lw=2.2 if name == "width" else 0.0, elinewidth=1.6, capsize=0,
        label=text, zorder=4 if name == "width" else 5,
    )  # fmt: skip
