"""Sweeps: a spec in, shards of work out to processes or clusters, tables back."""

from __future__ import annotations

from edt.arguments import checked
from edt.runs.engines import ENGINES, SweepError
from edt.runs.store import Status
from edt.runs.sweeps.axes import AXES
from edt.runs.sweeps.plan import SweepPlan, make_plan
from edt.runs.sweeps.result import Sweep
from edt.runs.sweeps.run import sweep
from edt.runs.sweeps.spec import ANALYSIS, SpecError, SweepSpec, read_spec
from edt.tasks.task_tables import TASKS

__all__ = [
    "ANALYSIS",
    "AXES",
    "ENGINES",
    "TASKS",
    "SpecError",
    "Status",
    "Sweep",
    "SweepError",
    "SweepPlan",
    "SweepSpec",
    "make_plan",
    "read_spec",
    "sweep",
]

checked(__name__)
