"""Public plots draw on axes that a caller gives, what they draw on their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import edt
from edt.landscape import connect, loss_line, loss_plane
from edt.plots import (
    plot_connection,
    plot_line,
    plot_plane,
    plot_spectrum,
    plot_trajectories,
)


@pytest.fixture(scope="module")
def made():
    """A task and two networks."""
    x = torch.linspace(-1.0, 1.0, 8, dtype=torch.float64)[:, None]
    return edt.Task(x, x * x), edt.Ensemble.init([2, 3], [0], d_in=1, d_out=1)


#: What is drawn, of what, and on how many axes.
PLOTS = {
    "spectrum": (plot_spectrum, lambda t, n: edt.hessian_spectrum(t, n), 1),
    "trajectories": (
        plot_trajectories,
        lambda t, n: edt.masked_train(t, n, steps=20, lr=0.01, progress=False),
        2,
    ),
    "connection": (
        plot_connection,
        lambda t, n: connect(t, n, n, align=False, curve=None, points=3, progress=False),
        2,
    ),
    "line": (plot_line, lambda t, n: loss_line(t, n, at=[-1.0, 0.0, 1.0], progress=False), 1),
    "plane": (plot_plane, lambda t, n: loss_plane(t, n, points=3, progress=False), 2),
}


def lines(axes):
    """Every line's points, and every contour's."""
    points = [line.get_xydata() for ax in axes for line in ax.lines]
    paths = [path.vertices for ax in axes for c in ax.collections for path in c.get_paths()]
    return [np.asarray(one, dtype=np.float64) for one in (*points, *paths)]


@pytest.mark.parametrize("name", PLOTS)
def test_axes_of_yours_get_what_a_figure_of_its_own_gets(made, name):
    plot, make, count = PLOTS[name]
    result = make(*made)
    own = plot(result)
    assert own._repr_png_()[:4] == b"\x89PNG"  # shows itself in a notebook
    figure = Figure()
    mine = list(figure.subplots(1, count + 1, squeeze=False)[0])
    given = plot(result, ax=mine[0] if count == 1 else mine[:count])
    assert given is figure and not mine[-1].has_data()
    drawn, wanted = lines(mine[:count]), lines(own.axes[:count])
    assert len(drawn) == len(wanted) > 0
    for a, b in zip(drawn, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    words = "ax must be a matplotlib.Axes" if count == 1 else f"ax must be {count} axes"
    with pytest.raises((TypeError, ValueError), match=words):
        plot(result, ax=mine)
    with pytest.raises(TypeError, match=r"ax must be (a )?matplotlib\.?( axes|Axes)"):
        plot(result, ax=[3] * count)
