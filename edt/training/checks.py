"""Argument checks shared by the training entry points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edt.ensemble.arrays import plain, reals
from edt.ensemble.init import check_seeds
from edt.errors import unknown_choice
from edt.ops.checks import task_index_of
from edt.scalars import number


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
    seeds = check_seeds(value, name)
    if isinstance(value, (int, np.integer)):
        seeds = seeds * networks
    if len(seeds) != networks:
        raise ValueError(f"{name} must have length {networks} (one per network), got {len(seeds)}")
    return torch.tensor([s - 2**64 if s >= 2**63 else s for s in seeds], dtype=torch.int64)
