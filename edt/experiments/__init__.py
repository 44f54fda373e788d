"""Experiments: a spec in, tables out. Plots and reports draw from the tables only."""

from __future__ import annotations

from edt.experiments.levels import level_table, outcome_table
from edt.experiments.lottery import ALL, pooled_tickets, success_table
from edt.experiments.presets import demo_spec
from edt.experiments.result import WidthSweep
from edt.experiments.spec import WidthSweepSpec, format_widths, parse_widths
from edt.experiments.splits import split_table
from edt.experiments.store import DirectoryError
from edt.experiments.sweep import width_sweep

__all__ = [
    "ALL",
    "DirectoryError",
    "WidthSweep",
    "WidthSweepSpec",
    "demo_spec",
    "format_widths",
    "level_table",
    "outcome_table",
    "parse_widths",
    "pooled_tickets",
    "split_table",
    "success_table",
    "width_sweep",
]
