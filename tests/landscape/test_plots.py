"""Figures of the landscape experiments: they show what the tables say, whatever is in them."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

import edt
from edt.landscape import (
    census,
    escape_experiment,
    find_minima,
    index_along_path,
    safran_shamir,
)
from edt.plots import (
    DARK,
    plot_census,
    plot_escape,
    plot_paths,
    plot_spurious,
    png,
)


@pytest.fixture(scope="module")
def results():
    data = edt.tasks.teacher_student(2, 2, n=64, scale=2.0, seed=1)
    minima = find_minima(data, widths=[1, 2], seeds=range(3), steps=500, progress=False)
    counted = census(data, minima)
    escape = escape_experiment(
        data, minima, add=(1, 2), copies=1, random=1, descent_steps=3000, progress=False
    )
    return data, minima, counted, escape


def words(figure):
    """All text that is drawn."""
    return " ".join(
        text.get_text()
        for ax in figure.axes
        for text in [ax.title, *ax.texts, *(ax.legend_.get_texts() if ax.legend_ else [])]
    ) + " ".join(ax.get_title(loc="left") for ax in figure.axes)


def test_escape(results):
    *_, escape = results
    figure = plot_escape(escape)
    clear = escape.points["clear"]
    assert f"closed form right {clear.sum()} of {clear.sum()} times" in words(figure)
    if (escape.starts["destination"] == "good").any():
        assert "a good minimum" in words(figure)
    lengths = [patch.get_width() for patch in figure.axes[-1].patches]
    bars = escape.starts.groupby(["kind", "shares", "added"]).ngroups
    assert sum(lengths) == pytest.approx(bars)
    assert png(figure, dpi=40) == png(plot_escape(escape), dpi=40)


def test_escape_without_descent(results):
    data, minima, _, _ = results
    escape = escape_experiment(
        data, minima, add=(1,), shares=("equal",), copies=1, random=1, descent_steps=0,
        lbfgs_steps=2, newton_steps=1, progress=False,
    )  # fmt: skip
    told = words(plot_escape(escape, theme=DARK))
    assert "Where the ways down end" in told and "Steps to escape" not in told


def test_census(results):
    _, minima, counted, _ = results
    figure = plot_census(counted, 2)
    assert "minima among" in words(figure)
    line = figure.axes[0].lines[0]
    assert line.get_ydata().tolist() == counted.table()["bad_share"].tolist()
    data = results[0]
    spotless = minima.select(torch.arange(2))
    spotless.outcome = ["channel", "good"]
    bare = plot_census(census(data, spotless))
    assert "Where runs end" in words(bare) and len(bare.axes) == 1 < len(figure.axes)


def test_paths(results):
    data, minima, _, _ = results
    trained = edt.masked_train(
        data, minima.networks, optimizer="gd", steps=50, record_params=True, progress=False
    )
    path = index_along_path(data, trained)
    figure = plot_paths(path, [0, 4])
    assert "network 4" in words(figure)
    assert [len(ax.lines) for ax in figure.axes] == [0, 2, 2, 2]
    assert [len(ax.lines) for ax in plot_paths(path).axes] == [0, 4, 4, 4]


def test_spurious():
    found = safran_shamir([3, 4], (0, 1), starts=5, progress=False)
    figure = plot_spurious(found.table())
    assert "n = k + 1" in words(figure)
    some = pd.concat([found.table().assign(share=0.3, share_low=0.2, share_high=0.4)])
    assert plot_spurious(some).axes[0].get_ylim()[1] > 0.4
