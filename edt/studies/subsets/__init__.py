"""Every subset of r neurons of a wide network, trained alone from the weights it has inside."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="subsets",
    question="Train every subset of r neurons of wide networks alone: is the network a search over "
    "them?",
    about="Who wins, the network or some subset; whether networks with more winning subsets win "
    "more often, against permutations within teachers.",
    result="SubsetsRun",
    page="write_subsets_report",
    flags=("widths", "seeds", "teachers"),
    quick={
        "teachers": 2, "seeds": 6, "widths": (5, 6), "samples": 64, "steps": 1000,
        "lbfgs_rounds": 2, "lbfgs_steps": 300,
    },
)  # fmt: skip
#: Makes its specs.
subsets_spec = STUDY.spec
