"""Reports: one self-contained HTML page, with its figures as PNG, SVG and PDF files beside it."""

from __future__ import annotations

from edt.report.census import write_census_report
from edt.report.controls import write_controls_report
from edt.report.curves import write_lottery_report
from edt.report.escape import write_escape_report
from edt.report.loss_levels import write_loss_levels_report
from edt.report.multi import write_multi_report
from edt.report.perturb import write_perturb_report
from edt.report.safran_shamir import write_safran_shamir_report
from edt.report.sweep import write_sweep_report
from edt.report.width_sweep import write_report
from edt.report.write import report_on
from edt.report.xor import write_xor_report

__all__ = [
    "report_on",
    "write_census_report",
    "write_controls_report",
    "write_escape_report",
    "write_loss_levels_report",
    "write_lottery_report",
    "write_multi_report",
    "write_perturb_report",
    "write_report",
    "write_safran_shamir_report",
    "write_sweep_report",
    "write_xor_report",
]
