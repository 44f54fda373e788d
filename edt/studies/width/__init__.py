"""Width sweep: what does width buy small networks?"""

from __future__ import annotations

from typing import Any

from edt.studies.study import Study

#: Fields that differ from the defaults, per task. On real data minima of tanh networks lie at
#: infinity (neurons become steps between samples); with `g` many are finite.
FULL: dict[str, dict[str, Any]] = {
    "teacher_student": {},
    "rosenbrock": {
        "widths": tuple(range(1, 9)),
        "teachers": 1,
        "samples": 441,
        "reference_width": 2,
        "good": 0.02,
        "lbfgs_rounds": 3,
        "split_widths": (2, 3, 4),
        "split_levels": 8,
    },
    "diabetes": {
        "widths": tuple(range(2, 11)),
        "teachers": 1,
        "activation": "g",
        "good": 0.02,
        "lbfgs_rounds": 3,
        "split_widths": (2, 3, 4),
        "split_levels": 8,
    },
}
#: What ``--quick`` changes on top; "": whatever the task.
QUICK: dict[str, dict[str, Any]] = {
    "": {
        "steps": 1000, "newton_steps": 30, "certify_steps": 120, "split_widths": (2, 3),
        "split_levels": 3, "escape_lbfgs_steps": 1000, "escape_newton_steps": 30,
    },
    "teacher_student": {
        "widths": (2, 3, 4, 6, 8), "seeds": 12, "teachers": 2, "samples": 128, "lbfgs_rounds": 5,
    },
    "rosenbrock": {"widths": (1, 2, 3, 4, 5), "seeds": 8, "samples": 121, "lbfgs_rounds": 1},
    "diabetes": {"widths": (2, 3, 4, 5, 6), "seeds": 8, "lbfgs_rounds": 1},
}  # fmt: skip

STUDY = Study(
    kind="width-sweep",
    folder="width",
    question="Success against width: intervals, effective tickets, and which law of width fits.",
    about="Students of every width and seed are trained, driven to the bottom and classified; "
    "lotteries, an escape-dimension model and logistic regressions are fitted to the counts and "
    "compared.",
    result="WidthSweep",
    page="write_report",
    flags=("task", "widths", "seeds", "activation", "teachers"),
    examples=(
        ("--task diabetes --widths 2..10 --seeds 200", ""),
        ("--activation softplus --set reference_width=3 --set teacher_width=3", ""),
        ("--net conv2 --task digits", "networks of modules (see width-net)"),
    ),
    nets="width-net",
    variants={"task": FULL},
    quick_variants={"task": QUICK},
    shows="print_sweep",
)
#: Makes its specs.
demo_spec = STUDY.spec
