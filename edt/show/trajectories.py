"""Loss and gradient of every network along training or gradient flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from edt.ensemble import Ensemble
from edt.flow import FlowResult
from edt.show.style import LIGHT, Theme, given_or_new, styled
from edt.training import TrainResult

#: Widths told apart; more share the last colour.
TOLD = 6


def plot_trajectories(
    result: TrainResult | FlowResult,
    networks: Sequence[int] | None = None,
    *,
    ax: Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Loss (left) and largest gradient component (right) of every network, a colour a width.

    Args:
        result: of `edt.masked_train` (against steps) or `edt.gradient_flow` (against time), with a
            history.
        networks: which ones; default all.
        ax: two axes of yours; default a new figure.
        theme: colours.

    Raises:
        TypeError, ValueError: nothing was recorded, no network is chosen, there is no such network,
            or other axes.
    """
    history, clock = result.history, "time" if isinstance(result, FlowResult) else "step"
    if not history.sizes[clock]:
        raise ValueError("result has no history; record=None was asked for")
    B = int(history.sizes["network"])
    chosen = list(range(B)) if networks is None else [int(b) for b in networks]
    if not chosen or min(chosen) < 0 or max(chosen) >= B:
        raise ValueError(f"networks must be one or more of 0..{B - 1}, got {networks!r}")
    of_all = _widths(result)
    widths = [of_all[b] for b in chosen]
    distinct = sorted(set(widths), key=lambda width: [(isinstance(one, str), one) for one in width])
    colours = (theme.blue, theme.orange, theme.green, theme.red, theme.purple, theme.sky)
    style = {
        width: (colours[min(k, TOLD - 1)], ("-", (0, (5, 1.5)), (0, (1.5, 1)))[k % 3])
        for k, width in enumerate(distinct)
    }
    with styled(theme):
        figure, (left, right) = given_or_new(ax, 2, (13.5, 5.4))
        at = np.asarray(history[clock].values, dtype=np.float64)
        for one, name, word in (
            (left, "loss", "loss"),
            (right, "grad_norm", "largest component of the gradient"),
        ):
            values = np.asarray(history[name].values, dtype=np.float64)
            _lines(one, at, values[:, chosen], [style[width] for width in widths])
            one.set_yscale("log")
            one.set_xscale("symlog", linthresh=_first(at), linscale=0.6)
            one.set_xlim(0.0, float(at.max()) * 1.1 or 1.0)
            one.set_xlabel("optimiser steps" if clock == "step" else "time of the flow")
            one.set_ylabel(word)
        left.set_title(f"{len(chosen)} network{'s' if len(chosen) > 1 else ''} on the way")
        handles = [
            Line2D([], [], color=style[width][0], ls=style[width][1], lw=2.2,
                   label=f"width {'-'.join(map(str, width))} ({widths.count(width)})")
            for width in distinct[:TOLD]
        ]  # fmt: skip
        if len(distinct) > TOLD:
            handles[-1].set_label(f"{len(distinct) - TOLD + 1} larger widths")
        left.legend(handles=handles, loc="lower left")
    return figure


def _widths(result: TrainResult | FlowResult) -> list[tuple[float | str, ...]]:
    """What tells the networks apart: hidden neurons of chains, labels of modules."""
    networks = result.networks
    if isinstance(networks, Ensemble):
        return [tuple(row) for row in networks.layer_widths[:, 1:-1].tolist()]
    return [
        (label if isinstance(label, (int, float)) else str(label),) for label in networks.labels
    ]


def _first(at: np.ndarray) -> float:
    """The first positive step or time: linear below, where a logarithm has no 0."""
    return float(at[at > 0.0][0]) if (at > 0.0).any() else 1.0


def _lines(ax: Axes, at: np.ndarray, values: np.ndarray, style: Sequence[tuple[str, Any]]) -> None:
    """One thin line a network; what is 0 or not finite is left out."""
    alpha = float(np.clip(6.0 / values.shape[1] ** 0.5, 0.25, 0.9))
    for column, (colour, dash) in zip(values.T, style, strict=True):
        shown = np.isfinite(column) & (column > 0.0)
        ax.plot(at[shown], column[shown], color=colour, ls=dash, lw=1.3, alpha=alpha)
