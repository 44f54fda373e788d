"""Studies: a question, a spec, tables, figures and a page each, in a folder of its own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

#: Where each public name lives; it is imported when first used.
_HOME: dict[str, str] = {
    "ALL": "edt.studies.common.success_table",
    "CensusRun": "edt.studies.census.run",
    "CensusSpec": "edt.studies.census.run",
    "DirectoryError": "edt.runs.store",
    "EscapeRun": "edt.studies.escape.run",
    "EscapeSpec": "edt.studies.escape.spec",
    "Experiment": "edt.runs.experiment",
    "LossLevels": "edt.studies.loss_levels.run",
    "LossLevelsSpec": "edt.studies.loss_levels.run",
    "Lottery": "edt.studies.lottery.run",
    "LotterySpec": "edt.studies.lottery.spec",
    "MultiStart": "edt.studies.multi_start.run",
    "MultiStartSpec": "edt.studies.multi_start.spec",
    "PerturbRest": "edt.studies.perturb_rest.run",
    "PerturbRestSpec": "edt.studies.perturb_rest.spec",
    "STUDIES": "edt.studies.registry",
    "SafranShamirRun": "edt.studies.safran_shamir.run",
    "SafranShamirSpec": "edt.studies.safran_shamir.run",
    "Spec": "edt.runs.experiment",
    "Study": "edt.studies.study",
    "WidthSweep": "edt.studies.width.run",
    "WidthSweepSpec": "edt.studies.width.spec",
    "census_spec": "edt.studies.census",
    "controls_spec": "edt.studies.controls",
    "demo_spec": "edt.studies.width",
    "escape_spec": "edt.studies.escape",
    "export": "edt.studies.exports",
    "format_widths": "edt.studies.width.spec",
    "level_table": "edt.studies.common.levels",
    "loss_level_table": "edt.studies.loss_levels.tables",
    "loss_levels_spec": "edt.studies.loss_levels",
    "lottery_spec": "edt.studies.lottery",
    "multi_spec": "edt.studies.multi_start",
    "outcome_table": "edt.studies.common.levels",
    "parse_widths": "edt.studies.width.spec",
    "perturb_spec": "edt.studies.perturb_rest",
    "pooled_tickets": "edt.studies.common.success_table",
    "report_on": "edt.studies.reporting",
    "resume": "edt.studies.kinds",
    "run_census": "edt.studies.census.run",
    "run_escape": "edt.studies.escape.run",
    "run_loss_levels": "edt.studies.loss_levels.run",
    "run_lottery": "edt.studies.lottery.run",
    "run_multi_start": "edt.studies.multi_start.run",
    "run_perturb_rest": "edt.studies.perturb_rest.run",
    "run_safran_shamir": "edt.studies.safran_shamir.run",
    "safran_shamir_spec": "edt.studies.safran_shamir",
    "split_table": "edt.studies.width.splits",
    "status": "edt.studies.kinds",
    "success_table": "edt.studies.common.success_table",
    "table_beside_published": "edt.studies.safran_shamir.run",
    "width_sweep": "edt.studies.width.run",
    "xor_spec": "edt.studies.xor",
}

if TYPE_CHECKING:
    from edt.runs.experiment import Experiment, Spec
    from edt.runs.store import DirectoryError
    from edt.studies.census import census_spec
    from edt.studies.census.run import CensusRun, run_census
    from edt.studies.census.spec import CensusSpec
    from edt.studies.common.levels import level_table, outcome_table
    from edt.studies.common.success_table import ALL, pooled_tickets, success_table
    from edt.studies.controls import controls_spec
    from edt.studies.escape import escape_spec
    from edt.studies.escape.run import EscapeRun, run_escape
    from edt.studies.escape.spec import EscapeSpec
    from edt.studies.exports import export
    from edt.studies.kinds import resume, status
    from edt.studies.loss_levels import loss_levels_spec
    from edt.studies.loss_levels.run import LossLevels, run_loss_levels
    from edt.studies.loss_levels.spec import LossLevelsSpec
    from edt.studies.loss_levels.tables import loss_level_table
    from edt.studies.lottery import lottery_spec
    from edt.studies.lottery.run import Lottery, run_lottery
    from edt.studies.lottery.spec import LotterySpec
    from edt.studies.multi_start import multi_spec
    from edt.studies.multi_start.run import MultiStart, run_multi_start
    from edt.studies.multi_start.spec import MultiStartSpec
    from edt.studies.perturb_rest import perturb_spec
    from edt.studies.perturb_rest.run import PerturbRest, run_perturb_rest
    from edt.studies.perturb_rest.spec import PerturbRestSpec
    from edt.studies.registry import STUDIES
    from edt.studies.reporting import report_on
    from edt.studies.safran_shamir import safran_shamir_spec
    from edt.studies.safran_shamir.run import (
        SafranShamirRun,
        run_safran_shamir,
        table_beside_published,
    )
    from edt.studies.safran_shamir.spec import SafranShamirSpec
    from edt.studies.study import Study
    from edt.studies.width import demo_spec
    from edt.studies.width.run import WidthSweep, width_sweep
    from edt.studies.width.spec import WidthSweepSpec, format_widths, parse_widths
    from edt.studies.width.splits import split_table
    from edt.studies.xor import xor_spec

__all__ = [
    "ALL",
    "STUDIES",
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
    "Study",
    "WidthSweep",
    "WidthSweepSpec",
    "census_spec",
    "controls_spec",
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
    "report_on",
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
    "xor_spec",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from edt.arguments import checked

        globals()[name] = getattr(import_module(_HOME[name]), name)
        checked(__name__, [name])
        return globals()[name]
    raise AttributeError(f"module 'edt.studies' has no attribute {name!r}")
