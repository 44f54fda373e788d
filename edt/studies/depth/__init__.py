"""Success and labels of deeper students."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="depth",
    question="Do bad minima become rare with width at depth 2 and 3 as well?",
    about="Students of one, two and three hidden layers learn teachers of their own depth; every "
    "end that is not good is certified.",
    result="DepthRun",
    page="write_depth_report",
    flags=("depths", "widths", "seeds", "teachers"),
    quick={
        "teachers": 2, "seeds": 4, "depths": (1, 2), "widths": (2, 4), "samples": 48, "steps": 400,
        "lbfgs_rounds": 1, "lbfgs_steps": 200, "newton_steps": 20, "certify_steps": 40,
        "good": 1e-4,
    },
)  # fmt: skip
#: Makes its specs.
depth_spec = STUDY.spec
