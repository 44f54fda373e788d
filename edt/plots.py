"""Figures, drawn from tables only. Each function returns a matplotlib `Figure`."""

from __future__ import annotations

from edt.plots.connection import plot_connection
from edt.plots.landscape import plot_census, plot_escape, plot_paths
from edt.plots.levels import plot_levels
from edt.plots.loss_levels import plot_loss_levels
from edt.plots.outcomes import plot_outcomes
from edt.plots.spectra import plot_spectrum
from edt.plots.splits import plot_splits
from edt.plots.spurious import plot_safran_shamir, plot_spurious
from edt.plots.style import DARK, LIGHT, THEMES, Theme, png, svg
from edt.plots.success import plot_success, plot_targets
from edt.plots.trajectories import plot_trajectories
from edt.plots.views import plot_line, plot_plane

__all__ = [
    "DARK",
    "LIGHT",
    "THEMES",
    "Theme",
    "plot_census",
    "plot_connection",
    "plot_escape",
    "plot_levels",
    "plot_line",
    "plot_loss_levels",
    "plot_outcomes",
    "plot_paths",
    "plot_plane",
    "plot_safran_shamir",
    "plot_spectrum",
    "plot_splits",
    "plot_spurious",
    "plot_success",
    "plot_targets",
    "plot_trajectories",
    "png",
    "svg",
]
