"""Perturb the rest of convolutional and residual networks: does the ticket still win?"""

from __future__ import annotations

from edt.studies.common.net_defaults import NETS
from edt.studies.study import Study

STUDY = Study(
    kind="perturb-rest-net",
    question="Keep winning tickets of networks of torch modules, change the rest: do they win?",
    about="Magnitude tickets of dense networks that win, and win alone, keep their initial weights "
    "while the rest is drawn again; beside them as many other weights of the same network, and "
    "fresh weights under the same mask, with the same rests.",
    result="PerturbRestNet",
    page="write_perturb_net_report",
    flags=("net", "factor", "task", "folder", "tickets", "rests", "change", "sizes"),
    examples=(
        ("--net resnet20", "on digits, in minutes"),
        ("--net conv4 --factor 1 --task cifar10 --folder DIR", "hours"),
    ),
    quick={"candidates": 6, "tickets": 2, "rests": 2, "rounds": 1, "samples": 200},
    variants={"net": NETS},
    quick_variants={"net": {"": {"factor": 0.125, "steps": 20}}},
)
