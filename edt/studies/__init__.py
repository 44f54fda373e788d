"""Experiments: a spec in, tables out. Plots and reports draw from the tables only."""

from __future__ import annotations

from edt.runs.experiment import Experiment, Spec
from edt.runs.store import DirectoryError
from edt.studies.census.run import CensusRun, CensusSpec, run_census
from edt.studies.common.levels import level_table, outcome_table
from edt.studies.common.success_table import ALL, pooled_tickets, success_table
from edt.studies.escape.run import EscapeRun, run_escape
from edt.studies.escape.spec import EscapeSpec
from edt.studies.export import export
from edt.studies.kinds import resume, status
from edt.studies.landscape_presets import census_spec, escape_spec
from edt.studies.loss_levels.run import LossLevels, LossLevelsSpec, run_loss_levels
from edt.studies.loss_levels.tables import loss_level_table
from edt.studies.lottery.run import Lottery, run_lottery
from edt.studies.lottery.spec import LotterySpec
from edt.studies.multi_start.run import MultiStart, run_multi_start
from edt.studies.multi_start.spec import MultiStartSpec
from edt.studies.perturb_rest.run import PerturbRest, run_perturb_rest
from edt.studies.perturb_rest.spec import PerturbRestSpec
from edt.studies.presets import demo_spec, lottery_spec, multi_spec, perturb_spec
from edt.studies.reference_presets import loss_levels_spec, safran_shamir_spec
from edt.studies.safran_shamir.run import (
    SafranShamirRun,
    SafranShamirSpec,
    run_safran_shamir,
    table_beside_published,
)
from edt.studies.width.run import WidthSweep, width_sweep
from edt.studies.width.spec import WidthSweepSpec, format_widths, parse_widths
from edt.studies.width.splits import split_table

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
    "export",
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
    "resume",
    "run_census",
    "run_escape",
    "run_loss_levels",
    "run_lottery",
    "run_multi_start",
    "run_perturb_rest",
    "run_safran_shamir",
    "safran_shamir_spec",
    "split_table",
    "status",
    "success_table",
    "table_beside_published",
    "width_sweep",
]
