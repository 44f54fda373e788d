"""XOR: the smallest problem with bad minima."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="xor",
    question="Exclusive or against width, beside the figures it is known for.",
    about="2-m-1 relu networks, full-batch gradient descent, 12,000 steps; success rates and "
    "effective tickets beside the reference, with a test of the difference at each width.",
    result="Xor",
    page="write_xor_report",
    flags=("widths", "seeds"),
    examples=(
        ("", "12,000 tiny networks, under a minute on two cores"),
        ("--widths 2..12 --seeds 5000 --out xor-large", ""),
        ("--set \"starts=('he',)\"", "one start only"),
    ),
    quick={"widths": (2, 3, 4, 6), "seeds": 100},
    shows="print_xor",
)
#: Makes its specs.
xor_spec = STUDY.spec
