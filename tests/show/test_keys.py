"""Keys and labels of figures: they hide no data and no title, whatever the data are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edt.landscape import dominance_table
from edt.show.landscape import plot_escape
from edt.show.render import draw
from edt.studies import success_table
from edt.studies.census.panels import counting
from edt.studies.width.success_panel import plot_success


def drawn(figure):
    figure.canvas.draw()
    return figure


@pytest.mark.parametrize("good", [(0, 1, 2), (8, 8, 8), (0, 7, 8)])
def test_the_key_of_success_lies_beside_the_data(good):
    rows = [
        (0, width, "good" if k < wins else "bad")
        for width, wins in zip((4, 5, 6), good, strict=True)
        for k in range(8)
    ]
    runs = pd.DataFrame(rows, columns=["target", "width", "outcome"])
    left = drawn(plot_success(success_table(runs, 4), 4)).axes[0]
    box = left.get_legend().get_window_extent()
    assert box.height > 0 and not box.overlaps(left.get_window_extent())


@pytest.mark.parametrize("widths", [[2, 3, 4, 5, 6, 8], range(2, 5), [4, 30]])
def test_labels_of_counts_stay_below_the_title(widths):
    table = dominance_table(4, widths, {2: 4, 3: 9, 4: 3})  # lines that end side by side at 8
    pooled = pd.DataFrame({"width": list(widths), "bad": 1, "runs": 2, "bad_share": 0.5,
                           "bad_share_spread_low": 0.4, "bad_share_spread_high": 0.6})  # fmt: skip
    left, right = drawn(draw(counting(table, pooled))).axes
    title = left._left_title.get_window_extent()
    assert not any(text.get_window_extent().overlaps(title) for text in left.texts)
    assert title.x1 < right.get_window_extent().x0


class Points:
    """What `plot_escape` needs of an escape, with unequal minima: wide intervals."""

    def __init__(self):
        index = [2, 12, 2, 3]
        self.points = pd.DataFrame({"added": [1, 1, 1, 1], "shares": "positive", "clear": True,
                                    "source": range(4), "n_neg": index,
                                    "predicted_neg": index})  # fmt: skip
        self.starts = pd.DataFrame({"point": [0], "added": [1], "shares": "positive",
                                    "kind": "negative", "destination": "good",
                                    "escape_steps": [np.nan], "linear_steps": [2.0],
                                    "descent_status": "budget"})  # fmt: skip


def test_intervals_of_escape_dimensions_fit_below_the_key():
    first = drawn(plot_escape(Points())).axes[0]
    bars = [held.lines[2][0] for held in first.containers]
    ends = [segment[:, 1].max() for held in bars for segment in held.get_segments()]
    assert 0 < max(ends) <= first.get_ylim()[1]
    assert first.get_legend().get_window_extent().y1 < first.get_window_extent().y0
