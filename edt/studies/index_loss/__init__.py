"""The index of critical points against their loss, by width."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="index-loss",
    question="Critical points of every index: do those of higher loss have more ways down?",
    about="Newton's method from many moments of training, kicked; the distinct critical points "
    "that it finds, their loss and their index, against permutations within teachers.",
    result="IndexLossRun",
    page="write_index_loss_report",
    flags=("widths", "seeds", "teachers"),
    quick={
        "teachers": 2, "seeds": 4, "widths": (2, 3), "samples": 64, "stops": (30, 300),
        "newton_steps": 60,
    },
)  # fmt: skip
#: Makes its specs.
index_loss_spec = STUDY.spec
