"""Noisy targets, targets out of reach, and real data, with train and test error."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="targets",
    question="Do bad minima become rare with width where loss 0 is out of reach, and what becomes "
    "of the test error?",
    about="Teachers without and with noise, a function that no student can be, and diabetes data; "
    "ends certified, train and test loss.",
    result="TargetsRun",
    page="write_targets_report",
    flags=("targets", "widths", "seeds", "teachers"),
    quick={
        "teachers": 2, "seeds": 4, "targets": ("clean", "noisy", "diabetes"), "widths": (2, 4),
        "samples": 49, "steps": 400, "lbfgs_rounds": 1, "lbfgs_steps": 200, "newton_steps": 20,
        "certify_steps": 40,
    },
)  # fmt: skip
#: Makes its specs.
targets_spec = STUDY.spec
