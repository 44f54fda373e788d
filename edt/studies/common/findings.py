"""`Finding`: a sentence a page prints, made by a test on numbers, and which way it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edt.show.answer import Answer, Tile
from edt.show.words import listed

__all__ = [
    "CLAIMS",
    "Finding",
    "answer_of",
    "bullets_of",
    "claims_of",
    "together",
    "together_text",
    "verdict_of",
]

#: Claims as the end of a sentence: the four, and those of single studies.
CLAIMS = {
    "a": "winning tickets fail when the rest is changed",
    "b": "wide networks are no multi-start over the subnetworks inside",
    "c": "width adds ways out of bad ends",
    "d": "bad minima become rare with width",
    "saddles": "small batches leave saddles sooner",
    "plateaus": "plateaus of gradient flow are the longer, the flatter their way down",
    "barriers": "barriers between good ends fall with width",
}
#: What a table is called whose intervals the findings are told from.
JOINT = "with intervals that hold together"
#: Two-sided level below which something is said to be so.
LEVEL = 0.05


@dataclass(frozen=True)
class Finding:
    """What one test says about a claim.

    Attributes:
        claim: of `CLAIMS`.
        speaks: "for", "against", or "silent" where the data do not decide.
        text: the sentence, with effect size, interval and null.
        effect: the size of what was found with its interval, as a tile of the page.
    """

    claim: str
    speaks: str
    text: str
    effect: Tile


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


def claims_of(findings: Sequence[Finding]) -> str:
    """What the findings are tests of, as the end of a sentence."""
    return listed([CLAIMS[claim] for claim in dict.fromkeys(found.claim for found in findings)])


def bullets_of(findings: Sequence[Finding]) -> list[str]:
    """The sentences, each after the way it speaks."""
    return [f"<b>{finding.speaks.capitalize()}.</b> {finding.text}" for finding in findings]


def answer_of(findings: Sequence[Finding], runs: int) -> Answer:
    """The first sentence that decides something (or the first), its size, and that of another one:
    of one that speaks the other way, where there is one.

    Args:
        findings: of the page.
        runs: how many runs the tables hold.
    """
    if not findings:
        tiles = [("none", "of the tests could be made"), (f"{runs:,}", "runs in the tables")]
        return Answer("So few runs decide nothing.", tiles)
    decided = [finding for finding in findings if finding.speaks != "silent"]
    first = (decided or findings)[0]
    others = [finding for finding in findings if finding.effect != first.effect]
    others.sort(key=lambda finding: (finding.speaks == "silent", finding.speaks == first.speaks))
    ways = [finding.speaks for finding in findings]
    tiles = [first.effect, *[finding.effect for finding in others[:1]]]
    tiles.append((f"{ways.count('for')} of {len(ways)}", f"tests speak for the claim that "
                  f"{claims_of(findings)}, {ways.count('against') or 'none'} against"))  # fmt: skip
    return Answer(first.text if decided else f"Not decided: {_lowered(first.text)}", tiles)


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
