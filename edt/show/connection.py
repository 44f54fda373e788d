"""Mode connectivity: losses along paths, and the barriers of all pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.landscape import Connection
from edt.show.style import LIGHT, Theme, given_or_new, key_below, styled

#: What each kind of path is.
PATHS = {
    "unaligned": "straight, neurons as found",
    "straight": "straight, neurons aligned",
    "bent": "bent, neurons aligned",
}
#: Decades of barriers shown below the highest.
DECADES = 10.0


def plot_connection(
    connection: Connection,
    pair: int | None = None,
    *,
    ax: Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Loss along the paths of one pair (left), barriers of all pairs (right).

    Args:
        connection: from `edt.landscape.connect`.
        pair: which pair to show; default the one with the highest straight barrier.
        ax: two axes of yours; default a new figure.
        theme: colours.

    Raises:
        TypeError, ValueError: other axes.
    """
    b = int(connection.barrier_straight.argmax()) if pair is None else int(pair)
    kinds = [kind for kind in PATHS if getattr(connection, kind) is not None]
    styles = {"unaligned": (theme.orange, ":", "^"), "straight": (theme.blue, "--", "s"),
              "bent": (theme.green, "-", "o")}  # fmt: skip
    with styled(theme):
        figure, (left, right) = given_or_new(ax, 2, (13.5, 6.0), width_ratios=[1.15, 1.0])
        for kind in kinds:
            colour, dashes, _ = styles[kind]
            left.plot(connection.t, getattr(connection, kind)[:, b], color=colour, ls=dashes,
                      lw=2.6, label=PATHS[kind])  # fmt: skip
        shown = np.concatenate([getattr(connection, kind)[:, b].numpy() for kind in kinds])
        positive = shown[np.isfinite(shown) & (shown > 0.0)]
        if positive.size and positive.max() > 30.0 * positive.min():
            left.set_yscale("log")
            left.set_ylim(bottom=max(0.5 * positive.min(), positive.max() * 10.0**-DECADES))
        left.set_xlabel("position on the path, from the first network to the second")
        left.set_ylabel("loss")
        left.set_title(f"Pair {b}")
        _barriers(right, connection, kinds, styles, theme)
        handles, words = left.get_legend_handles_labels()
        key_below(figure, left, handles, words, ax is not None)
    return figure


def _barriers(
    ax: Axes,
    connection: Connection,
    kinds: list[str],
    styles: dict[str, tuple[str, str, str]],
    theme: Theme,
) -> None:
    """A column of points a kind of path; one thin line a pair."""
    heights = np.stack([getattr(connection, f"barrier_{kind}").numpy() for kind in kinds])
    top = float(np.nanmax(heights)) if np.isfinite(heights).any() else 1.0
    top = top if top > 0.0 else 1.0
    floor = top * 10.0**-DECADES
    held = np.clip(np.nan_to_num(heights, nan=top), floor, None)
    for place, kind in enumerate(kinds):
        colour, _, marker = styles[kind]
        ax.plot(np.full(held.shape[1], place), held[place], ls="none", marker=marker, ms=8,
                color=colour, alpha=0.75, mew=0, zorder=3)  # fmt: skip
    for column in held.T:
        ax.plot(range(len(kinds)), column, color=theme.soft, lw=0.8, alpha=0.5, zorder=2)
    ax.set_yscale("log")
    ax.set_ylim(0.4 * floor, 4.0 * top)
    if bool((heights <= floor).any()):
        ax.axhline(floor, color=theme.soft, lw=1.0, ls=(0, (4, 3)), zorder=1)
        ax.annotate("none, or less than shown", (0.0, floor), xytext=(4, 5), fontsize=11,
                    xycoords=("axes fraction", "data"), textcoords="offset points",
                    color=theme.soft)  # fmt: skip
    words = {"unaligned": "as found", "straight": "aligned", "bent": "aligned\nand bent"}
    ax.set_xticks(range(len(kinds)), [words[kind] for kind in kinds])
    ax.set_xlim(-0.5, len(kinds) - 0.5)
    ax.grid(False, axis="x")
    ax.set_ylabel("barrier (loss)")
    pairs = heights.shape[1]
    ax.set_title(f"Barriers of {pairs} pair{'s' if pairs > 1 else ''}")
