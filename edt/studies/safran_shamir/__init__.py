"""Spurious minima over Gaussian inputs, beside the published counts."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="safran-shamir",
    question="Count spurious minima of relu students of orthonormal teachers, over all normal "
    "inputs.",
    about="The table of Safran and Shamir (2018): gradient descent with step 0.1 on the population "
    "loss in closed form, from many starts; ours beside the reported shares, with tests of the "
    "difference.",
    result="SafranShamirRun",
    page="write_safran_shamir_report",
    flags=("teachers", "extra", "starts"),
    examples=(
        ("--extra 0", "students as wide as their teachers, 15 cells"),
        ("--teachers 6..12 --extra 0,1 --starts 5000 --out more", ""),
    ),
    quick={"teachers": (6, 8, 10), "extra": (0, 1), "starts": 20},
    shows="print_table",
)
#: Makes its specs.
safran_shamir_spec = STUDY.spec
