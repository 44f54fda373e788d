"""Barriers between good ends, and how far bad ends must be pushed, against width."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="barriers",
    question="Do barriers between good ends fall with width, and do basins of bad ends shrink?",
    about="Loss barriers between pairs of good ends, as they are, aligned, and around a bend; how "
    "often ends that are pushed a given radius come back.",
    result="BarriersRun",
    page="write_barriers_report",
    flags=("widths", "seeds", "teachers"),
    quick={
        "teachers": 2, "seeds": 5, "widths": (4, 6), "samples": 48, "steps": 800, "lbfgs_rounds": 2,
        "newton_steps": 30, "certify_steps": 60, "pairs": 2, "ends": 1, "pushes": 2,
        "radii": (0.03, 0.3), "good": 1e-6,
    },
)  # fmt: skip
#: Makes its specs.
barriers_spec = STUDY.spec
