"""Controls: is it neurons or dimensions that width buys?"""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="controls",
    question="More parameters without more tickets, and the other way round: which brings success?",
    about="Frozen neurons, neurons of which only the outputs train, factored weights and random "
    "subspaces, each from the same starts as ordinary networks.",
    result="Controls",
    page="write_controls_report",
    flags=("widths", "seeds", "teachers", "controls", "activation"),
    examples=(
        ("--widths 4..12:4 --seeds 200 --controls width,features,frozen", ""),
        ('--set "inners=(2, 16)" --set "margins=(0, 8)"', ""),
    ),
    quick={
        "teachers": 1,
        "widths": (4, 6),
        "seeds": 8,
        "samples": 64,
        "steps": 500,
        "lbfgs_rounds": 1,
        "lbfgs_steps": 250,
        "good": 1e-4,
        "inners": (2,),
        "margins": (4,),
    },
)
#: Makes its specs.
controls_spec = STUDY.spec
