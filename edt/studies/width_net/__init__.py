"""Width of networks of modules: how many fit the data, against what tickets would predict."""

from __future__ import annotations

from edt.studies.common.net_defaults import NETS
from edt.studies.study import Study

STUDY = Study(
    kind="width-net",
    question="Do networks of torch modules fit their data more often with width than tickets would "
    "explain?",
    about="Networks of several widths are trained from many starts; those that fit the training "
    "data are counted beside what disjoint and overlapping narrow networks would give.",
    result="WidthNet",
    page="write_width_net_report",
    flags=("net", "factors", "task", "folder", "seeds"),
    examples=(("--net lenet5", "another network, in minutes"),),
    quick={"seeds": 6, "samples": 200, "factors": (0.03125, 0.0625), "fits": 0.8},
    variants={
        "net": {
            name: {
                "lr": own["lr"], "steps": 2 * own["steps"],
                "milestones": (own["steps"], 3 * own["steps"] // 2),
                "factors": tuple(own["factor"] * times for times in (0.5, 0.75, 1.0, 1.5, 2.0)),
            }
            for name, own in NETS.items()
        }
    },
    quick_variants={"net": {"": {"steps": 40, "milestones": (20,)}}},
)  # fmt: skip
