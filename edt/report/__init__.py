"""Reports: one self-contained HTML page, with its figures as PNG and SVG files beside it."""

from __future__ import annotations

from edt.report.curves import write_lottery_report
from edt.report.multi import write_multi_report
from edt.report.perturb import write_perturb_report
from edt.report.width_sweep import write_report

__all__ = ["write_lottery_report", "write_multi_report", "write_perturb_report", "write_report"]
