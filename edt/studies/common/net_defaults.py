"""Sizes of networks of `edt.nets` at which their studies take minutes; imports nothing heavy."""

from __future__ import annotations

from typing import Any

__all__ = ["NETS"]

#: Fields that a network sets: small networks, some of which learn in the steps they have.
NETS: dict[str, dict[str, Any]] = {
    name: {"factor": factor, "lr": rate, "steps": steps, "milestones": (steps // 2, 3 * steps // 4)}
    for name, factor, rate, steps in (
        ("lenet300", 0.05, 0.05, 200),
        ("lenet5", 0.25, 0.05, 200),
        ("conv2", 0.0625, 0.05, 200),
        ("conv4", 0.0625, 0.05, 200),
        ("conv6", 0.0625, 0.05, 200),
        ("resnet20", 0.125, 0.1, 150),
        ("vgg11", 0.0625, 0.1, 150),
        ("vgg16", 0.0625, 0.1, 150),
    )
}
