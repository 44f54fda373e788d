"""Figures, drawn from tables only. Each function returns a matplotlib `Figure`."""

from __future__ import annotations

from edt.arguments import checked
from edt.show.connection import plot_connection
from edt.show.landscape import plot_census, plot_escape, plot_paths
from edt.show.spectra import plot_spectrum
from edt.show.style import DARK, LIGHT, THEMES, Theme, png, svg
from edt.show.trajectories import plot_trajectories
from edt.show.views import plot_line, plot_plane
from edt.studies.loss_levels.panels import plot_loss_levels
from edt.studies.safran_shamir.panels import plot_safran_shamir, plot_spurious
from edt.studies.width.levels_panel import plot_levels
from edt.studies.width.outcomes_panel import plot_outcomes
from edt.studies.width.splits_panel import plot_splits
from edt.studies.width.success_panel import plot_success, plot_targets

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

checked(__name__)
