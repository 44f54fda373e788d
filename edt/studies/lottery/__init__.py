"""Lottery: accuracy against sparsity by iterative magnitude pruning and its rivals."""

from __future__ import annotations

from typing import Any

from edt.studies.study import Study

QUICK: dict[str, Any] = {
    "task": "digits",
    "hidden": (30, 20),
    "seeds": 2,
    "rounds": 3,
    "steps": 200,
    "validate_every": 50,
}

STUDY = Study(
    kind="lottery",
    folder="lottery",
    question="Iterative magnitude pruning with rewinding, and its controls: accuracy against "
    "sparsity.",
    about="Networks are trained, their smallest weights pruned, the survivors set back to their "
    "initial values, again and again; beside them the same masks with other weights, and other "
    "masks.",
    result="Lottery",
    page="write_lottery_report",
    flags=("task", "folder", "rounds", "seeds", "methods", "steps", "rewind"),
    examples=(
        ("--quick", "seconds, to see that everything works"),
        ("--task digits --set rounds=8", ""),
    ),
    quick=QUICK,
)
#: Makes its specs.
lottery_spec = STUDY.spec
