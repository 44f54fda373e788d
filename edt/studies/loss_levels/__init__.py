"""Loss levels: how many distinct heights the ends of training have."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="loss-levels",
    question="Sort the final losses of small networks on the modified Rosenbrock target.",
    about="Figure 2 of arXiv 2506.14951: gradient flow from many starts at widths 1 to 5, without "
    "and with biases; certified minima, plateau saddles and channels to infinity, beside the "
    "reported shares.",
    result="LossLevels",
    page="write_loss_levels_report",
    flags=("widths", "starts", "points", "activation"),
    examples=(
        ("", "minutes; 1,240 networks on 961 points"),
        ("--full --out full", "the paper's 6,200 networks on 10,201 points; hours"),
    ),
    quick={
        "widths": (1, 2, 3),
        "starts": 2,
        "points": 11,
        "max_time": 1e3,
        "lbfgs_steps": 200,
        "newton_steps": 30,
        "certify_steps": 40,
    },
    full={"points": 101, "starts": 50},
    shows="print_levels",
)
#: Makes its specs.
loss_levels_spec = STUDY.spec
