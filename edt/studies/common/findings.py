"""`Finding`: a sentence a page prints, made by a test on numbers, and which way it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edt.show.answer import Answer

__all__ = ["Finding", "answer_of", "bullets_of", "together", "together_text", "verdict_of"]

#: Two-sided level below which something is said to be so.
LEVEL = 0.05


@dataclass(frozen=True)
class Finding:
    """What one test says about a claim.

    Attributes:
        claim: letter of the claim, "a" to "d".
        speaks: "for", "against", or "silent" where the data do not decide.
        text: the sentence, with effect size, interval and null.
    """

    claim: str
    speaks: str
    text: str


def together(tests: int) -> float:
    """Coverage of each of so many intervals with which all of them hold at once at 95%.

    A page that looks in several places speaks in one of them by chance more often than one that
    looks once (Bonferroni's bound).
    """
    return 1.0 - LEVEL / max(1, tests)


def together_text(tests: int) -> str:
    """What the method says of them."""
    if tests <= 1:
        return "one, at 95%"
    return f"{tests} that hold together at 95%: each at {100 * together(tests):.3g}%"


def verdict_of(findings: Sequence[Finding]) -> str:
    """What findings about one claim come to: supported, contradicted, mixed or undecided."""
    words = {finding.speaks for finding in findings}
    if {"for", "against"} <= words:
        return "mixed"
    if "for" in words:
        return "supported"
    return "contradicted" if "against" in words else "undecided"


def bullets_of(findings: Sequence[Finding]) -> list[str]:
    """The sentences, each after the way it speaks."""
    return [f"<b>{finding.speaks.capitalize()}.</b> {finding.text}" for finding in findings]


def answer_of(findings: Sequence[Finding]) -> Answer:
    """The first sentence that decides something, and how many tests speak which way."""
    decided = [finding for finding in findings if finding.speaks != "silent"]
    text = decided[0].text if decided else "The data decide nothing."
    counts = {way: sum(found.speaks == way for found in findings) for way in ("for", "against")}
    total = len(findings)
    tiles = [
        (f"{counts['for']} of {total}", "tests speak for the claim"),
        (f"{counts['against']} of {total}", "speak against it; the others decide nothing"),
    ]
    return Answer(text, tiles)
