"""How many neurons more until a bad minimum has a way to a good end."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="escape-count",
    question="How many neurons more until a bad minimum has a way to a good end?",
    about="Certified bad minima are given neuron after neuron; survival against neurons added, "
    "beside as many fresh starts at the same widths.",
    result="EscapeCountRun",
    page="write_escape_count_report",
    flags=("widths", "seeds", "teachers"),
    quick={
        "teachers": 2, "seeds": 6, "widths": (2, 3), "samples": 64, "steps": 800, "lbfgs_rounds": 4,
        "newton_steps": 40, "certify_steps": 120, "each": 1, "most": 2, "escape_steps": 40,
    },
)  # fmt: skip
#: Makes its specs.
escape_count_spec = STUDY.spec
