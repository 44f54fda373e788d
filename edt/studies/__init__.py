"""Experiments: a spec in, tables out. Plots and reports draw from the tables only."""

from __future__ import annotations

from edt.experiments.base import Experiment, Spec
from edt.experiments.census_run import CensusRun, CensusSpec, run_census
from edt.experiments.escape_run import EscapeRun, run_escape
from edt.experiments.escape_spec import EscapeSpec
from edt.experiments.landscape_presets import census_spec, escape_spec
from edt.experiments.levels import level_table, outcome_table
from edt.experiments.loss_level_tables import loss_level_table
from edt.experiments.loss_levels import LossLevels, LossLevelsSpec, run_loss_levels
from edt.experiments.lottery import ALL, pooled_tickets, success_table
from edt.experiments.lottery_curve import Lottery, run_lottery
from edt.experiments.lottery_spec import LotterySpec
from edt.experiments.multi_spec import MultiStartSpec
from edt.experiments.multi_start import MultiStart, run_multi_start
from edt.experiments.perturb_rest import PerturbRest, run_perturb_rest
from edt.experiments.perturb_spec import PerturbRestSpec
from edt.experiments.presets import demo_spec, lottery_spec, multi_spec, perturb_spec
from edt.experiments.reference_presets import loss_levels_spec, safran_shamir_spec
from edt.experiments.result import WidthSweep
from edt.experiments.safran_shamir import (
    SafranShamirRun,
    SafranShamirSpec,
    run_safran_shamir,
    table_beside_published,
)
from edt.experiments.spec import WidthSweepSpec, format_widths, parse_widths
from edt.experiments.splits import split_table
from edt.experiments.sweep import width_sweep
from edt.store import DirectoryError

__all__ = [
    "ALL",
    "CensusRun",
    "CensusSpec",
    "DirectoryError",
    "EscapeRun",
    "EscapeSpec",
    "Experiment",
    "LossLevels",
    "LossLevelsSpec",
    "Lottery",
    "LotterySpec",
    "MultiStart",
    "MultiStartSpec",
    "PerturbRest",
    "PerturbRestSpec",
    "SafranShamirRun",
    "SafranShamirSpec",
    "Spec",
    "WidthSweep",
    "WidthSweepSpec",
    "census_spec",
    "demo_spec",
    "escape_spec",
    "format_widths",
    "level_table",
    "loss_level_table",
    "loss_levels_spec",
    "lottery_spec",
    "multi_spec",
    "outcome_table",
    "parse_widths",
    "perturb_spec",
    "pooled_tickets",
    "run_census",
    "run_escape",
    "run_loss_levels",
    "run_lottery",
    "run_multi_start",
    "run_perturb_rest",
    "run_safran_shamir",
    "safran_shamir_spec",
    "split_table",
    "success_table",
    "table_beside_published",
    "width_sweep",
]
