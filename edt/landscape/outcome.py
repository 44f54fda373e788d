"""Good, bad, or not a minimum at all: one word for where a run ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

#: Every outcome, best first.
OUTCOMES = ("good", "bad", "saddle", "channel", "unconverged", "diverged")


def outcomes(loss: Any, threshold: Any, verdict: Sequence[str], status: Sequence[str]) -> list[str]:
    """Outcome of each run.

    "good": loss at or below the threshold, whatever else; it needs no convergence, the loss only
    falls. "diverged", "channel", "saddle", "unconverged": as `edt.converge` says. "bad": a
    converged minimum (or flat minimum) above the threshold.

    Args:
        loss: float ``[B]``.
        threshold: number or ``[B]``.
        verdict, status: ``[B]``, as in `edt.training.ConvergeResult`.

    Returns:
        list of ``[B]`` words from `OUTCOMES`.

    Raises:
        ValueError: lengths differ.
    """
    height = torch.as_tensor(loss, dtype=torch.float64).flatten()
    limit = torch.as_tensor(threshold, dtype=torch.float64).expand(height.shape)
    if not len(verdict) == len(status) == height.numel():
        raise ValueError(
            f"loss, verdict and status must have the same length, got {height.numel()}, "
            f"{len(verdict)} and {len(status)}"
        )
    good = (height <= limit).tolist()
    return [_word(g, v, s) for g, v, s in zip(good, verdict, status, strict=True)]


def _word(good: bool, verdict: str, status: str) -> str:
    if good:
        return "good"
    if status in ("diverged", "channel"):
        return status
    if verdict in ("saddle", "unconverged"):
        return verdict
    return "bad"
