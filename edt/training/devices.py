"""Where to train: the word a caller gave, made a device that can be used."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import torch

from edt.ensemble import ModuleEnsemble
from edt.ensemble.kinds import is_networks
from edt.errors import unknown_choice
from edt.objectives import CoreObjective, ModuleObjective
from edt.ops import cuda
from edt.tasks.given import moves

__all__ = ["seat", "training_device", "usable_device"]


def usable_device(device: Any, default: torch.device) -> torch.device:
    """The device meant by "auto" (the default), "cpu", "cuda", "cuda:1" or a `torch.device`.

    Raises:
        ValueError: not a device, or one that cannot be used here.
    """
    if isinstance(device, str) and device == "auto":
        return default
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise unknown_choice("device", str(device), ["auto", "cpu", "cuda"]) from None
    if chosen.type not in ("cpu", "cuda"):
        raise unknown_choice("device", str(device), ["auto", "cpu", "cuda"])
    if chosen.type == "cuda" and not cuda.usable():
        raise ValueError(
            f"device={str(device)!r} cannot be used here ({cuda.unusable()}); 'edt doctor' says "
            "more, device='cpu' works"
        )
    return chosen


@lru_cache
def _say_why() -> None:
    """Once: why a GPU that is there is not used."""
    if torch.cuda.is_available():
        warnings.warn(f"training on the CPU: {cuda.unusable()}", RuntimeWarning, stacklevel=4)


def training_device(device: Any, networks: Any, task: Any = None) -> torch.device:
    """Where first-order training runs: "auto" is a GPU if one can be used, the networks' if theirs
    is one; the CPU for a task whose losses are computed there only.

    Raises:
        ValueError: not a device, or one that cannot be used here.
    """
    if not moves(task):
        return usable_device(device, torch.device("cpu"))
    if isinstance(networks, ModuleEnsemble):
        return usable_device(device, networks.device)
    default = torch.device("cuda" if cuda.usable() else "cpu")
    if isinstance(device, str) and device == "auto" and default.type == "cpu":
        _say_why()
    if is_networks(networks) and networks.device.type == "cuda":
        default = networks.device
    return usable_device(device, default)


def seat(task: Any, networks: Any, device: torch.device) -> torch.device:
    """Where parameters and moments lie while steps are taken on a device: there, but for losses
    whose objective takes tensors of the CPU wherever it works.

    Args:
        task: on the device. networks: of its dtype.
    """
    objective = task.objective(networks.to(device=device), None)
    there = isinstance(objective, (CoreObjective, ModuleObjective))
    return device if there else torch.device("cpu")
