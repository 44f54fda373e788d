"""Runs of an experiment that end in a channel to infinity rather than at a minimum."""

from __future__ import annotations

from collections.abc import Sequence

from edt.training.channels import CLOSE, closest_opponents

__all__ = ["closest_opponents", "with_channels"]


def with_channels(outcomes: Sequence[str], closeness: Sequence[float]) -> list[str]:
    """Outcomes in which an unconverged run with a pair as close as `CLOSE` is in a "channel".

    Args:
        outcomes: ``[B]`` words, as in `edt.landscape.outcomes`.
        closeness: ``[B]``, from `edt.training.channels.closest_opponents`.
    """
    return [
        "channel" if word == "unconverged" and near <= CLOSE else word
        for word, near in zip(outcomes, closeness, strict=True)
    ]
