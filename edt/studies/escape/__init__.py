"""Escape: how many directions lead out of a bad minimum once neurons are added."""

from __future__ import annotations

from edt.studies.census import DIABETES, QUICK
from edt.studies.study import Study

STUDY = Study(
    kind="escape",
    question="Embed bad minima into wider networks, leave along every way down, and see where they "
    "end.",
    about="Neurons of bad minima are copied, which keeps output, loss and criticality. How many "
    "ways down open, how many runs reach a good minimum, how far and how fast, against neurons "
    "added; and how many ways down are open along gradient descent's own paths.",
    result="EscapeRun",
    page="write_escape_report",
    flags=("task", "widths", "seeds", "teachers", "activation", "add"),
    examples=(
        ("--widths 2..5 --add 1,2,4,8 --out ways", ""),
        ("--activation softplus --set minima=6", ""),
    ),
    quick=QUICK,
    variants={
        "task": {
            "teacher_student": {},
            "diabetes": {"widths": (2, 3, 4), "path_lr": 0.02, **DIABETES},
        }
    },
    quick_variants={
        "task": {
            "": {
                "widths": (2, 3, 4),
                "seeds": 6,
                "minima": 1,
                "add": (1, 3),
                "shares": ("positive",),
                "random": 1,
                "descent_steps": 1000,
                "escape_lbfgs_steps": 1000,
                "escape_newton_steps": 30,
                "path_widths": (4, 8),
                "path_seeds": 2,
                "path_steps": 2000,
            }
        }
    },
)
#: Makes its specs.
escape_spec = STUDY.spec
