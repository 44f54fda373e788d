"""Does width help more where a neuron opens more ways down? Teachers chosen by their number."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="escape-teachers",
    question="Does width help more where a neuron opens more ways down of bad minima?",
    about="Teachers are chosen by their escape dimensions a neuron, few and many, so that these "
    "differ at every width; success against width of other students says which of the two counts.",
    result="EscapeTeachersRun",
    page="write_escape_teachers_report",
    flags=("candidates", "widths", "seeds", "teachers"),
    quick={
        "candidates": 6, "pilots": 8, "teachers": 4, "minima": 1, "widths": (3, 4), "seeds": 6,
        "teacher_width": 3, "samples": 64, "steps": 600, "lbfgs_rounds": 2, "lbfgs_steps": 200,
        "newton_steps": 40, "certify_steps": 60,
    },
)  # fmt: skip
#: Makes its specs.
escape_teachers_spec = STUDY.spec
