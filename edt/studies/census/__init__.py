"""Census: which minima a width has, and how many of each."""

from __future__ import annotations

from typing import Any

from edt.studies.study import Study

#: On real data minima of tanh networks lie at infinity (neurons become steps between samples); with
#: `g` many are finite. Good is relative to the best loss of width r or less.
DIABETES: dict[str, Any] = {
    "teachers": 1, "activation": "g", "good": 0.02, "lr": 0.01, "steps": 3000, "lbfgs_rounds": 12,
}  # fmt: skip
QUICK: dict[str, Any] = {
    "seeds": 10, "teachers": 2, "samples": 128, "steps": 1000, "lbfgs_rounds": 8,
    "newton_steps": 40,
}  # fmt: skip

STUDY = Study(
    kind="census",
    question="Count the different minima of every width, and how many of them are bad.",
    about="Students of every width are trained to the bottom; minima that differ only by the order "
    "of neurons, the activation's symmetries or neurons to spare are one. Shares of bad minima, "
    "how many are unseen, and what counting critical subspaces predicts.",
    result="CensusRun",
    page="write_census_report",
    flags=("task", "widths", "seeds", "teachers", "activation"),
    examples=(
        ("--widths 4..16 --seeds 31", "2,015 students"),
        ("--task diabetes --out real", ""),
        ("--activation softplus --set teachers=10", ""),
    ),
    quick=QUICK,
    variants={
        "task": {"teacher_student": {}, "diabetes": {"widths": (2, 3, 4, 5, 6, 7, 8), **DIABETES}}
    },
    quick_variants={"task": {"": {"widths": (2, 3, 4, 5, 6, 8)}}},
)
#: Makes its specs.
census_spec = STUDY.spec
