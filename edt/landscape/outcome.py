"""Good, bad, or not a minimum at all: one word for where a run ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edt.ensemble.arrays import reals
from edt.landscape.labels import CERTIFIED

#: Every outcome, best first.
OUTCOMES = (
    "good", "bad", "channel", "saturated", "drifting", "saddle", "unconverged", "diverged",
)  # fmt: skip
#: Label of a run that was not certified (`edt.landscape.certify`): good, or not looked at.
UNCERTIFIED = "uncertified"

#: Labels that are counted under another outcome; towards an infimum at infinity are two.
OTHER_WORDS = {"undecided": "unconverged", "separable": "channel"}


def outcomes(
    loss: Any,
    threshold: Any,
    verdict: Sequence[str],
    status: Sequence[str],
    label: Sequence[str] | None = None,
) -> list[str]:
    """Outcome of each run.

    "good": loss at or below the threshold, whatever else; it needs no convergence, the loss only
    falls. "bad": a certified minimum (or flat minimum) above the threshold. "channel", "saturated",
    "drifting", "saddle": the certified label; "unconverged": "undecided". "diverged": as
    `edt.converge` says. "separable" counts as "channel": both fall towards an infimum at infinity.
    Without a label the word of `edt.converge` has to do: a channel whose gradient slipped under the
    tolerance then counts as "bad".

    Args:
        loss: float ``[B]``.
        threshold: number or ``[B]``.
        verdict, status: ``[B]``, as in `edt.training.ConvergeResult`.
        label: ``[B]`` of `edt.landscape.LABELS`, or `UNCERTIFIED`.

    Returns:
        list of ``[B]`` words from `OUTCOMES`.

    Raises:
        ValueError: lengths differ.
    """
    height = reals("loss", loss).flatten()
    limit = reals("threshold", threshold).expand(height.shape)
    words = [UNCERTIFIED] * height.numel() if label is None else label
    if not len(verdict) == len(status) == len(words) == height.numel():
        raise ValueError(
            f"loss, verdict, status and label must have the same length, got {height.numel()}, "
            f"{len(verdict)}, {len(status)} and {len(words)}"
        )
    good = (height <= limit).tolist()
    return [_word(*each) for each in zip(good, verdict, status, words, strict=True)]


def _word(good: bool, verdict: str, status: str, label: str) -> str:
    if good:
        return "good"
    if status == "diverged":
        return status
    if label != UNCERTIFIED:
        return OTHER_WORDS.get(label, "bad" if label in CERTIFIED else label)
    if status == "channel" or verdict == "separable":
        return "channel"
    if verdict in ("saddle", "unconverged"):
        return verdict
    return "bad"
