"""Are the signs of the Hessian's eigenvalues independent coin tosses?"""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="signs",
    question="Do the signs of Hessian eigenvalues at critical points behave as independent coin "
    "tosses?",
    about="Share of minima among critical points of one loss level against (1 - alpha)^P, and the "
    "spread of the index against the binomial one.",
    result="SignsRun",
    page="write_signs_report",
    flags=("widths", "seeds", "teachers"),
    quick={
        "teachers": 2, "seeds": 6, "widths": (2, 3), "samples": 64, "stops": (30, 300),
        "newton_steps": 60,
    },
)  # fmt: skip
#: Makes its specs.
signs_spec = STUDY.spec
