"""Argument checks shared by the training entry points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edt.ensemble.arrays import plain, reals
from edt.ensemble.checks import whole as whole
from edt.errors import unknown_choice
from edt.ops.checks import task_index_of


def number(
    name: str,
    value: Any,
    least: float = 0.0,
    below: float = math.inf,
    *,
    strict: bool = False,
) -> float:
    """Return ``value`` as a finite float in ``[least, below)`` (``(least, below)`` if strict).

    Raises:
        TypeError: not a number. ValueError: outside the range or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    out = float(value)
    low = out > least if strict else out >= least
    if not (math.isfinite(out) and low and out < below):
        bound = f"{'>' if strict else '>='} {least:g}" + (
            f" and < {below:g}" if below < math.inf else ""
        )
        raise ValueError(f"{name} must be a finite number {bound}, got {value!r}")
    return out


def per_network(name: str, value: Any, networks: int) -> torch.Tensor:
    """Expand a number or a ``[B]`` sequence to a float64 tensor ``[B]`` of values >= 0.

    Raises:
        TypeError: not numbers. ValueError: wrong length, negative or not finite.
    """
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return torch.full((networks,), number(name, value), dtype=torch.float64)
    if isinstance(value, str) or not (
        isinstance(plain(name, value), Sequence) or hasattr(value, "__dlpack__")
    ):
        raise TypeError(f"{name} must be a number or one number per network, got {value!r}")
    out = reals(name, value).clone()
    if out.ndim == 0:
        out = out.expand(networks).clone()
    if tuple(out.shape) != (networks,):
        raise ValueError(
            f"{name} must be a number or have shape [{networks}] (one per network), "
            f"got shape {list(out.shape)}"
        )
    bad = torch.nonzero(~torch.isfinite(out) | (out < 0.0)).flatten()
    if bad.numel():
        b = int(bad[0])
        raise ValueError(f"{name}[{b}] must be a finite number >= 0, got {float(out[b])}")
    return out


def index_per_network(name: str, value: Any, networks: int, tasks: int) -> torch.Tensor:
    """``[B]`` int64 task index, a copy on the CPU; None gives zeros.

    Raises:
        TypeError: not integers. ValueError: wrong length or out of range.
    """
    if value is None:
        return torch.zeros(networks, dtype=torch.int64)
    plain(name, value)
    here = value.cpu() if isinstance(value, torch.Tensor) else value
    return task_index_of(here, networks, tasks, name).clone().contiguous()


def resume_word(resume: Any, checkpoint: Any) -> None:
    """Insist on "auto", True or False, and on a checkpoint for True.

    Raises:
        ValueError: anything else.
    """
    if not (isinstance(resume, bool) or resume == "auto"):
        raise unknown_choice("resume", str(resume), ["auto", "True", "False"])
    if resume is True and checkpoint is None:
        raise ValueError("resume=True needs checkpoint=..., the directory to resume from")


def seed_bits(name: str, value: Any, networks: int) -> torch.Tensor:
    """``[B]`` seeds in ``0..2**64 - 1`` as the bits of an int64 tensor (the core reads uint64).

    Raises:
        TypeError: not integers. ValueError: wrong length or out of range.
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        seeds = [int(value)] * networks
    elif isinstance(plain(name, value), (torch.Tensor, np.ndarray, Sequence)) and not isinstance(
        value, str
    ):
        items = value.tolist() if isinstance(value, (torch.Tensor, np.ndarray)) else list(value)
        if not isinstance(items, list) or any(
            isinstance(s, bool) or not isinstance(s, (int, np.integer)) for s in items
        ):
            raise TypeError(f"{name} must hold integers")
        seeds = [int(s) for s in items]
    else:
        raise TypeError(f"{name} must be an integer or one per network, got {value!r}")
    if len(seeds) != networks:
        raise ValueError(f"{name} must have length {networks} (one per network), got {len(seeds)}")
    for b, seed in enumerate(seeds):
        if not 0 <= seed < 2**64:
            raise ValueError(f"{name}[{b}] must be in 0..2**64-1, got {seed}")
    return torch.tensor([s - 2**64 if s >= 2**63 else s for s in seeds], dtype=torch.int64)
