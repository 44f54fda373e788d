"""What failed runs are, and whether one neuron more opens a way out of them."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="failures",
    question="What failed runs are against width, and whether a neuron more opens a way out of "
    "them.",
    about="Certified minima, channels, saturated units; each goes on with a neuron split or "
    "added, beside as many kicks without one.",
    result="FailuresRun",
    page="write_failures_report",
    flags=("widths", "seeds", "teachers"),
    quick={
        "teachers": 2, "seeds": 4, "widths": (2, 4), "samples": 64, "steps": 800, "lbfgs_rounds": 4,
        "newton_steps": 40, "certify_steps": 120, "each": 1, "escape_steps": 40,
    },
)  # fmt: skip
#: Makes its specs.
failures_spec = STUDY.spec
