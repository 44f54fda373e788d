"""Multi-start: many narrow networks against one wide one."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="multi-start",
    question="Train wide networks whole, and the tickets inside each alone: do they agree?",
    about="A wide network is cut into disjoint tickets; each is trained alone from its own initial "
    "weights, and all together as the wide network.",
    result="MultiStart",
    page="write_multi_report",
    flags=("task", "widths", "seeds", "teachers"),
    examples=(
        ("--widths 4..16:4 --seeds 200", ""),
        ("--net lenet5", "a convolutional network (see multi-start-net)"),
    ),
    nets="multi-start-net",
    quick={"teachers": 2, "seeds": 12, "widths": (4, 8, 12)},
)
#: Makes its specs.
multi_spec = STUDY.spec
