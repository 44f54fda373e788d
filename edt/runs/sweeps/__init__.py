"""Sweeps: a spec in, shards of work out to processes or clusters, tables back."""

from __future__ import annotations

from edt.store import Status
from edt.sweeps.axes import AXES
from edt.sweeps.engines import ENGINES, SweepError
from edt.sweeps.export import export
from edt.sweeps.kinds import resume, status
from edt.sweeps.plan import Plan, make_plan
from edt.sweeps.result import Sweep
from edt.sweeps.run import sweep
from edt.sweeps.spec import ANALYSIS, TASKS, SpecError, SweepSpec, read_spec

__all__ = [
    "ANALYSIS",
    "AXES",
    "ENGINES",
    "TASKS",
    "Plan",
    "SpecError",
    "Status",
    "Sweep",
    "SweepError",
    "SweepSpec",
    "export",
    "make_plan",
    "read_spec",
    "resume",
    "status",
    "sweep",
]
