"""Lottery: accuracy against sparsity by iterative magnitude pruning and its rivals."""

from __future__ import annotations

from typing import Any

from edt.studies.study import Study

#: What papers train such networks with, at a size that takes minutes on digits.
NETS: dict[str, dict[str, Any]] = {
    name: {
        "task": "digits", "factor": factor, "optimizer": "sgd", "momentum": 0.9, "lr": rate,
        "batch": 64, "steps": 400, "milestones": (200, 300), "warmup": warmup, "seeds": 3,
        "rounds": 8, "validate_every": 50, "share_hidden": 0.3, "share_out": 0.15,
    }
    for name, factor, rate, warmup in (
        ("lenet300", 0.25, 0.05, 0),
        ("lenet5", 0.5, 0.05, 0),
        ("conv2", 0.125, 0.05, 0),
        ("conv4", 0.125, 0.05, 0),
        ("conv6", 0.125, 0.05, 0),
        ("resnet20", 0.25, 0.1, 20),
        ("vgg11", 0.125, 0.1, 20),
        ("vgg16", 0.125, 0.1, 20),
    )
}  # fmt: skip

STUDY = Study(
    kind="lottery",
    question="Iterative magnitude pruning with rewinding, and its controls: accuracy against "
    "sparsity.",
    about="Networks are trained, their smallest weights pruned, the survivors set back to their "
    "initial values, again and again; beside them the same masks with other weights, and other "
    "masks.",
    result="Lottery",
    page="write_lottery_report",
    flags=("task", "folder", "rounds", "seeds", "methods", "steps", "rewind", "net", "factor"),
    examples=(
        ("--task digits --set rounds=8", ""),
        ("--net resnet20 --set rewind=20", "on digits, in minutes"),
        (
            "--net resnet20 --factor 1 --task cifar10 --folder DIR --set crop=4 --set flip=True",
            "hours",
        ),
    ),
    quick={
        "task": "digits",
        "hidden": (30, 20),
        "seeds": 2,
        "rounds": 3,
        "steps": 200,
        "validate_every": 50,
    },
    variants={"net": NETS},
    quick_variants={
        "net": {name: {"factor": 0.125, "steps": 30, "rounds": 2, "seeds": 2} for name in NETS}
    },
)
#: Makes its specs.
lottery_spec = STUDY.spec
