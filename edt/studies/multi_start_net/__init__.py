"""Multi-start of networks of modules: a wide network against the narrow or sparse ones inside."""

from __future__ import annotations

from edt.studies.common.net_defaults import NETS
from edt.studies.study import Study

STUDY = Study(
    kind="multi-start-net",
    question="Train networks of torch modules whole, and the disjoint tickets inside each alone.",
    about="A network is cut into disjoint tickets: narrow networks of a share of its channels, or "
    "sparse ones of a share of its weights; each is trained alone from its own initial weights.",
    result="MultiStartNet",
    page="write_multi_net_report",
    flags=("net", "factor", "task", "folder", "parts", "cut", "seeds"),
    examples=(("--net resnet20", "on digits, in minutes"),),
    quick={"seeds": 4, "parts": (2,), "samples": 200},
    variants={
        "net": {name: {**own, "factor": 4 * own["factor"]} for name, own in NETS.items()}
        | {"resnet20": {**NETS["resnet20"], "factor": 0.25, "cut": "weights"}}
    },
    quick_variants={"net": {"": {"factor": 0.25, "steps": 20}}},
)
