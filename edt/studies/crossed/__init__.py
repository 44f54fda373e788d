"""Tickets crossed with rests: the same surroundings around every ticket and every control."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="crossed",
    question="Put the same rests around winning tickets and around controls: whose is the outcome?",
    about="Win rates of tickets, random neurons, losing tickets and fresh neurons among the same "
    "rests, and the shares of ticket and rest in the variance, against permutations.",
    result="CrossedRun",
    page="write_crossed_report",
    flags=("teachers", "tickets", "rests"),
    quick={
        "teachers": 2, "candidates": 12, "tickets": 2, "rests": 6, "samples": 64, "steps": 1000,
        "lbfgs_rounds": 2, "lbfgs_steps": 300,
    },
)  # fmt: skip
#: Makes its specs.
crossed_spec = STUDY.spec
