"""The picture of a run: times by case and contender, growth, and the targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmarks import names
from benchmarks.figures import EDT, Figures, Series
from benchmarks.targets import Target, exponent
from edt.show.style import LIGHT, new_figure, png, styled

#: Contender -> (colour, marker). Markers alone tell the contenders of a panel apart.
LOOK: dict[str, tuple[str, str]] = {
    EDT: (LIGHT.ink, "D"),
    names.SCAN: (LIGHT.blue, "o"),
    names.SCAN_REWRITTEN: (LIGHT.sky, "v"),
    names.COMPILED: (LIGHT.green, "s"),
    names.BADDBMM: (LIGHT.orange, "P"),
    names.VMAP: (LIGHT.red, "X"),
    names.VMAP_PADDED: (LIGHT.purple, "^"),
    names.EAGER: (LIGHT.soft, "*"),
    names.JAX_FORWARD: (LIGHT.blue, "o"),
    names.JAX_REVERSE: (LIGHT.sky, "v"),
    names.TORCH_PRODUCTS: (LIGHT.red, "X"),
    names.TORCH_BY_NETWORK: (LIGHT.purple, "^"),
    **dict(
        zip(
            names.TORCH_CONVOLUTIONS,
            ((LIGHT.soft, "*"), (LIGHT.red, "X"), (LIGHT.orange, "P"), (LIGHT.green, "s")),
            strict=True,
        )
    ),
    names.JAX_HESSIAN: (LIGHT.green, "s"),
    names.JAX_HESSIAN_MAP: (LIGHT.orange, "P"),
    names.TORCH_HESSIAN: (LIGHT.purple, "^"),
    names.SCIPY: (LIGHT.soft, "*"),
}


def write_plot(
    path: Path, figures: Figures, targets: list[Target], machine: dict[str, Any]
) -> Path:
    """Write the PNG; returns the path."""
    compared = [case for case in figures.cases() if EDT in figures.of(case)]
    compared = [
        case for case in compared if len(figures.of(case)) > 1 and not names.is_sparse(case)
    ]
    convolutions = [names.convolution_case(s) for s in names.CONVOLUTION_SPARSITIES]
    training = [
        case
        for case in compared
        if names.is_training(case) or names.is_lenet(case) or case in convolutions
    ]
    curvature = [case for case in compared if case not in training and not names.is_one(case)]
    with styled(LIGHT):
        figure, axes = new_figure(2, 2, size=(17.0, 13.0))
        _cases(axes[0, 0], figures, training)
        axes[0, 0].set_title("One Adam step: 192 networks (workload W), 16 LeNets")
        _cases(axes[0, 1], figures, curvature)
        axes[0, 1].set_title("Second derivatives, and minima")
        _growth(axes[1, 0], figures.series)
        _targets(axes[1, 1], targets)
        smoke = "SMOKE RUN, figures mean nothing: " if machine["smoke"] else ""
        figure.suptitle(
            f"{smoke}edt and its peers on {machine['cpu']}, {machine['threads']} threads, "
            f"{machine['isa']}, {machine['date'][:10]}",
            x=0.01,
            ha="left",
            fontsize=17,
            fontweight="bold",
        )
        path.write_bytes(png(figure, dpi=100))
    return path


def _cases(ax: Axes, figures: Figures, cases: Sequence[str]) -> None:
    """One row a case; beside edt's mark, the factor to the nearest peer."""
    shown: dict[str, Any] = {}
    for row, case in enumerate(cases):
        found = figures.of(case)
        mine = found[EDT].seconds
        times = [m.seconds * 1e3 for m in found.values()]
        ax.plot([min(times), max(times)], [row, row], color=LIGHT.grid, linewidth=5, zorder=1)
        for m in found.values():
            colour, marker = LOOK[m.contender]
            (mark,) = ax.plot(
                m.seconds * 1e3,
                row,
                marker=marker,
                color=colour,
                markersize=14 if marker == "*" else 11,
                markeredgecolor=LIGHT.paper,
                linestyle="none",
                zorder=3 if m.contender == EDT else 2,
            )
            shown.setdefault(m.contender, mark)
        nearest = min(m.seconds for m in found.values() if m.contender != EDT) / mine
        ax.annotate(
            f"{nearest:.1f}x" if nearest < 10 else f"{nearest:,.0f}x",
            (mine * 1e3, row),
            xytext=(0, 12),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=13,
            fontweight="bold",
        )
    ax.set_xscale("log")
    ax.set_xlim(left=ax.get_xlim()[0] / 1.5)
    ax.set_yticks(range(len(cases)), cases)
    ax.set_ylim(len(cases) - 0.5, -0.6)
    ax.grid(False, axis="y")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.10g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("milliseconds (number: nearest peer / edt)")
    if shown:
        ax.legend(
            shown.values(),
            shown.keys(),
            loc="upper right",  # grows to the left, under the names of the cases
            bbox_to_anchor=(1.0, -0.15),
            ncols=2,
            columnspacing=1.2,
        )


def _growth(ax: Axes, series: Sequence[Series]) -> None:
    """Cost per network and per sample: flat where time is linear."""
    ax.set_title("Cost per network, per sample: flat is linear")
    sizes: list[int] = []
    for (colour, marker), one in zip(((LIGHT.blue, "o"), (LIGHT.red, "s")), series, strict=False):
        per_unit = [s / n for s, n in zip(one.seconds, one.sizes, strict=True)]
        relative = [cost / per_unit[-1] for cost in per_unit]
        label = f"{one.name}: time ~ size^{exponent(one):.3f}"
        ax.plot(one.sizes, relative, marker=marker, color=colour, markersize=9, label=label)
        sizes += one.sizes
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(base=10, numticks=12))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.10g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(0.0, max(2.5, *ax.get_ylim()))
    ax.axhline(1.0, color=LIGHT.soft, linewidth=1, linestyle="--", zorder=1)
    ax.set_xlabel("networks, or samples")
    ax.set_ylabel("time per unit / that at the largest size")
    if series:
        ax.legend(loc="upper right")


def _targets(ax: Axes, targets: Sequence[Target]) -> None:
    """Measured over target (the other way round for upper bounds): right of the line is met."""
    ax.set_title("Targets: right of the line is met")
    for row, target in enumerate(targets):
        reach = target.bound / target.value if target.at_most else target.value / target.bound
        # Far beyond its target is all one needs to know.
        reach = min(max(reach, 0.05), 20.0)
        colour = LIGHT.blue if target.met else LIGHT.red
        ax.plot([1.0, reach], [row, row], color=colour, linewidth=2.5, zorder=2)
        ax.plot(
            reach, row, marker="o" if target.met else "X", color=colour, markersize=10, zorder=3
        )
    ax.axvline(1.0, color=LIGHT.ink, linewidth=1.2, zorder=1)
    ax.set_xscale("log")
    ax.set_xlim(0.04, 25.0)
    ax.set_xticks([0.1, 1, 10], ["1/10", "target", "10x"])
    ax.xaxis.set_minor_locator(NullLocator())
    labels = [f"{t.name}: {t.value:,.3g} (target {t.bound:,.4g})" for t in targets]
    ax.set_yticks(range(len(targets)), labels, fontsize=10.5)
    ax.set_ylim(len(targets) - 0.4, -0.6)
    ax.grid(False, axis="y")
    ax.set_xlabel("measured / target\n(memory, exponents: target / measured)")
