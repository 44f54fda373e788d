"""The still picture of the explorable: one minimum, before and after a neuron is split.

It stands in where scripts do not run, and where a browser computes other numbers than edt.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.ensemble import Ensemble
from edt.functional import loss
from edt.landscape import split
from edt.landscape.views.directions import eigen_directions
from edt.show.explore.packing import unpacked
from edt.show.style import Powers, Theme, new_figure, styled, themed_svg
from edt.tasks import Task

ALT = (
    "Three diagrams: the inputs with the error of a network of few neurons, a line for each; the "
    "losses of the bad minima of each width; the loss along the lowest direction, a bowl before a "
    "neuron is split and a hill after."
)
CAPTION = (
    "Left: what the network gets wrong (orange: too high, blue: too low), its neurons as lines. "
    "Middle: losses of the bad minima of each width. Right: the loss along the lowest direction, "
    "before and after one neuron is split."
)
SPAN = 3.2


def picture(data: Mapping[str, Any], alt: str) -> str:
    """The picture as HTML, light or dark as the page is."""
    drawn = base64.b64encode(themed_svg(lambda theme: _draw(data, theme))).decode("ascii")
    return f'<img src="data:image/svg+xml;base64,{drawn}" alt="{alt}">'


def _draw(data: Mapping[str, Any], theme: Theme) -> Figure:
    teacher = data["teachers"][0]
    # The commonest minimum shows most.
    minimum = max(teacher["minima"], key=lambda one: one["runs"])
    with styled(theme):
        figure, axes = new_figure(3, 1, (12.0, 4.0))
        _inputs(axes[0, 0], theme, unpacked(teacher["theta"]), unpacked(minimum["theta"]))
        _levels(axes[0, 1], theme, teacher)
        _profile(axes[0, 2], theme, data, teacher, minimum)
    return figure


def output(theta: np.ndarray[Any, Any], x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Outputs of a network in flat order on inputs ``[..., 2]``."""
    m = (theta.size - 1) // 4
    hidden = np.tanh(x @ theta[: 2 * m].reshape(m, 2).T + theta[2 * m : 3 * m])
    out: np.ndarray[Any, Any] = hidden @ theta[3 * m : 4 * m] + theta[4 * m]
    return out


def _inputs(ax: Axes, theme: Theme, teacher: Any, theta: Any) -> None:
    side = np.linspace(-SPAN, SPAN, 36)
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    wrong = output(theta, grid) - output(teacher, grid)
    # Two colours of the theme, thinner towards zero: mixed ones would have no name to be themed by.
    bands = np.linspace(-1.0, 1.0, 12)
    colours = [
        (theme.orange if middle > 0.0 else theme.blue, round(abs(float(middle)), 2))
        for middle in (bands[1:] + bands[:-1]) / 2
    ]
    bands *= float(np.abs(wrong).max())
    # Nothing between the fifth and the sixth, where the error is about zero.
    ax.contourf(side, side, wrong, bands[:6], colors=colours[:5])
    ax.contourf(side, side, wrong, bands[6:], colors=colours[6:])
    m = (theta.size - 1) // 4
    for w, b in zip(theta[: 2 * m].reshape(m, 2), theta[2 * m : 3 * m], strict=True):
        foot = -b * w / (w @ w)
        if np.abs(foot).max() < SPAN:
            ax.axline((foot[0], foot[1]), (foot[0] - w[1], foot[1] + w[0]), color=theme.ink, lw=1.5)
    ax.set(xlim=(-SPAN, SPAN), ylim=(-SPAN, SPAN), title="What it gets wrong")
    ax.set(xlabel="first input", ylabel="second input")
    ax.grid(False)


def _levels(ax: Axes, theme: Theme, teacher: Mapping[str, Any]) -> None:
    for width, height, runs in teacher["levels"]:
        ax.plot([width - 0.3, width + 0.3], [height] * 2, color=theme.blue, lw=1 + runs**0.5 / 2)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(Powers())
    ax.yaxis.set_minor_formatter(Powers())
    ax.set(xlabel="hidden neurons", ylabel="loss", title="Where starts get stuck")
    ax.grid(False, axis="x")


def _profile(
    ax: Axes, theme: Theme, data: Mapping[str, Any], teacher: Mapping[str, Any], minimum: Any
) -> None:
    x = torch.from_numpy(unpacked(data["x"]).reshape(-1, 2).copy())
    task = Task(x, torch.from_numpy(unpacked(teacher["y"]).reshape(-1, 1).copy()))
    theta = torch.from_numpy(unpacked(minimum["theta"]).copy())
    narrow = Ensemble([(theta.numel() - 1) // 4], 2, 1, theta=theta)
    inside = [
        [end["ways"] for end in split["ends"] if 0 < end["share"] < 1]
        for split in minimum["splits"]
    ]
    most = max(range(len(inside)), key=lambda j: max(inside[j], default=0))
    wide = split(narrow, neuron=most, mu=0.5).networks
    steps = torch.linspace(-1, 1, 81, dtype=torch.float64)
    for name, networks, colour, dash in (
        (f"{int(narrow.layer_widths[0, 1])} neurons", narrow, theme.blue, "--"),
        ("one of them split", wide, theme.orange, "-"),
    ):
        (way,), _ = eigen_directions(task, networks, 1)
        losses = [
            float(loss(networks.with_theta(networks.theta + s * way), task)[0]) for s in steps
        ]
        ax.plot(steps.numpy(), losses, dash, color=colour, label=name)
    ax.set(xlabel="along the lowest direction", ylabel="loss", title="Before and after a split")
    ax.legend(loc="upper center")
