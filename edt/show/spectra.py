"""Spectra of Hessians, exact or estimated, on an axis that shows both signs and all decades."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from edt.curvature import Spectra, SpectralDensity
from edt.curvature.verdicts import arithmetic, inertia, zero_threshold
from edt.show.style import LIGHT, Theme, given_or_new, percent_axis, styled

#: Eigenvalues smaller than this share of the largest are drawn on the linear part of the axis.
LINEAR = 1e-6
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1, 2)))


def plot_spectrum(
    spectra: Sequence[torch.Tensor | SpectralDensity],
    labels: Sequence[str] | None = None,
    *,
    linear: float | None = None,
    dtype: torch.dtype | None = None,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Share of the eigenvalues at or below each value, a line a network; dots at the negative ones.

    What counts as negative or zero is the rule of `edt.count_directions`, for densities too:
    within ``eps_H`` of 0 a sign is rounding.

    Args:
        spectra: of each network its eigenvalues float64 ``[P_b]`` (from `edt.hessian_spectrum`) or
            their density (from `edt.spectral_density`, drawn without dots).
        labels: of the networks; default "network 0", "network 1", ...
        linear: the axis is linear from ``-linear`` to ``linear`` and logarithmic beyond; default:
            a millionth of the largest eigenvalue.
        dtype: arithmetic of the Hessians, which decides what is zero; default: what the spectra
            remember, else float64.
        ax: axes of yours; default a new figure.
        theme: colours.

    Raises:
        TypeError, ValueError: no spectrum, not as many labels as spectra, no eigenvalue in any of
            them, ``linear`` not positive, or other axes.
    """
    if not spectra:
        raise ValueError("spectra must hold at least one spectrum, got none")
    names = [f"network {b}" for b in range(len(spectra))] if labels is None else list(labels)
    if len(names) != len(spectra):
        raise ValueError(f"labels must be {len(spectra)}, one a spectrum, got {len(names)}")
    known = dtype or (spectra.dtype if isinstance(spectra, Spectra) else None)
    limits = [_threshold(spectrum, known) for spectrum in spectra]
    values = [_values(spectrum) for spectrum in spectra]
    if not any(own.size for own in values):
        raise ValueError("spectra must hold eigenvalues, no network has any")
    largest = max(float(np.abs(own).max()) for own in values if own.size)
    if linear is None:
        linear = LINEAR * largest or 1.0
    if not linear > 0.0:
        raise ValueError(f"linear must be > 0, got {linear}")
    colours = (theme.blue, theme.orange, theme.green, theme.red, theme.purple, theme.sky)
    with styled(theme):
        figure, (ax,) = given_or_new(ax, 1, (11.0, 5.6))
        for b, (spectrum, name) in enumerate(zip(spectra, names, strict=True)):
            colour, dash = colours[b % len(colours)], DASHES[b // len(colours) % len(DASHES)]
            if not values[b].size:
                # Frozen or pruned altogether: named, so that nobody looks for its line.
                ax.plot([], [], ls="none", label=f"{name}: no coordinates")
                continue
            label = f"{name}: {_signs(spectrum, limits[b])}"
            _steps(ax, spectrum, values[b], limits[b], label, colour, dash, theme)
        ax.axvline(0.0, color=theme.soft, lw=1.0, zorder=1)
        ax.set_xscale("symlog", linthresh=linear, linscale=0.4)
        _ticks(ax, linear, min(float(own.min()) for own in values if own.size), largest)
        percent_axis(ax, "share at or below")
        ax.set_xlabel("eigenvalue of the Hessian (logarithmic on both sides of 0)")
        ax.set_title("Spectrum: how much of it lies below 0, near 0, above")
        ax.legend(loc="best")
    return figure


def _values(spectrum: torch.Tensor | SpectralDensity) -> np.ndarray:
    nodes = spectrum.nodes.flatten() if isinstance(spectrum, SpectralDensity) else spectrum
    return np.sort(np.asarray(nodes.detach().cpu(), dtype=np.float64))


def _threshold(spectrum: torch.Tensor | SpectralDensity, dtype: torch.dtype | None) -> float:
    if isinstance(spectrum, SpectralDensity):
        return spectrum.threshold
    return zero_threshold(spectrum, dtype or arithmetic(spectrum))


def _signs(spectrum: torch.Tensor | SpectralDensity, limit: float) -> str:
    if isinstance(spectrum, SpectralDensity):
        below, within, _ = spectrum.signs()
        flat = f", {spectrum.size * within:.0f} zero" if round(spectrum.size * within) else ""
        return f"about {spectrum.size * below:.0f} of {spectrum.size} negative{flat}"
    negative, zero, _ = inertia(spectrum, limit)
    flat = f", {zero} zero" if zero else ""
    return f"{negative} of {spectrum.numel()} negative{flat}"


def _steps(
    ax: Axes,
    spectrum: torch.Tensor | SpectralDensity,
    values: np.ndarray,
    limit: float,
    label: str,
    colour: str,
    dash: object,
    theme: Theme,
) -> None:
    if isinstance(spectrum, SpectralDensity):
        share = spectrum.cdf(torch.from_numpy(values)).numpy()
    else:
        share = np.arange(1, values.size + 1) / values.size
    at, height = np.concatenate([values[:1], values]), np.concatenate([[0.0], share])
    ax.step(at, height, where="post", color=colour, ls=dash, lw=2.2, label=label, zorder=3)
    if not isinstance(spectrum, SpectralDensity):
        down = values < -limit
        ax.plot(values[down], share[down], marker="o", ms=7, mec=theme.paper, mew=0.8, ls="none",
                color=colour, zorder=4)  # fmt: skip


def _ticks(ax: Axes, linear: float, least: float, most: float) -> None:
    """Whole decades on both sides, at most about four a side, and 0."""
    first = int(np.ceil(np.log10(linear)))

    def decades(end: float) -> list[int]:
        last = int(np.floor(np.log10(end))) if end > linear else first - 1
        step = max(1, int(np.ceil((last - first + 1) / 4)))
        return list(range(last, first - 1, -step))

    ticks = {0.0: "0"}
    for sign, end in ((-1.0, -least), (1.0, most)):
        for k in decades(end):
            ticks[sign * 10.0**k] = f"${'-' if sign < 0 else ''}10^{{{k}}}$"
    places = sorted(ticks)
    ax.set_xticks(places, [ticks[place] for place in places])
    ax.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
