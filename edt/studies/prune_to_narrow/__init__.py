"""Does the win of a wide network rest on r of its neurons?"""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="prune-to-narrow",
    question="Cut a wide winner down to r of its trained neurons: is what is left good, or a "
    "narrow bad minimum?",
    about="The neurons that play the teacher's, the r strongest, r at random, and the same neurons "
    "from their start, each trained on to the bottom and certified.",
    result="PruneRun",
    page="write_prune_report",
    flags=("widths", "seeds", "teachers"),
    quick={
        "teachers": 2, "seeds": 6, "widths": (5, 6), "samples": 64, "steps": 1000,
        "lbfgs_rounds": 2, "lbfgs_steps": 300, "newton_steps": 40, "certify_steps": 120,
        "good": 1e-4,
    },
)  # fmt: skip
#: Makes its specs.
prune_to_narrow_spec = STUDY.spec
