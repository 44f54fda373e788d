"""Perturb the rest: does a winning ticket win beside other neurons?"""

from __future__ import annotations

from typing import Any

from edt.studies.study import Study

#: Sizes that mean something for each kind of change, where none are given.
SIZES: dict[str, dict[str, Any]] = {
    "resample": {"sizes": (0.2, 0.4, 0.6, 0.8, 0.9, 1.0)},
    "replace": {"sizes": (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)},
    "rescale": {"sizes": (0.0, 0.25, 0.5, 2.0, 4.0, 8.0)},
    "flip": {"sizes": (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)},
    "permute": {"sizes": (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)},
    "zero": {"sizes": (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)},
}

STUDY = Study(
    kind="perturb-rest",
    question="Keep winning tickets, change everything around them, and see whether they still win.",
    about="Tickets are subnetworks that win alone. Each keeps its initial weights and its place "
    "while the rest of the network is changed in many ways; the whole network is trained; win rate "
    "against the size of the change, with intervals and controls.",
    result="PerturbRest",
    page="write_perturb_report",
    flags=("task", "ticket", "change", "sizes", "tickets", "rests", "teachers", "width"),
    examples=(
        ("--change flip --tickets 40 --out flips", ""),
        ("--net conv4", "a convolutional network (see perturb-rest-net)"),
    ),
    quick={
        "teachers": 2,
        "tickets": 4,
        "rests": 10,
        "candidates": 12,
        "random_rests": 5,
        "losers": 2,
        "loser_rests": 5,
        "sizes": (0.5, 1.0),
        "bisections": 3,
        "radii": (1.0,),
        "population": 8,
        "generations": 1,
    },
    variants={"change": SIZES},
    nets="perturb-rest-net",
)
#: Makes its specs.
perturb_spec = STUDY.spec
