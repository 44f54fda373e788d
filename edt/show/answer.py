"""What a reader of a page takes away after ten seconds: one sentence, and two or three numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edt.show.words import between, number, percent, points, span

#: A number in large type, and what it is.
Tile = tuple[str, str]


@dataclass(frozen=True)
class Answer:
    """The second sentence of a page's lead, and the tiles below it.

    `edt.show.html.page` asks for one, so that no page can forget it.

    Attributes:
        text: the answer to the page's question, with its interval.
        tiles: two or three numbers with what they are, from `rate_tile` where they are shares.

    Raises:
        ValueError: no sentence, or not two or three tiles.
    """

    text: str
    tiles: Sequence[Tile]

    def __post_init__(self) -> None:
        if not self.text.endswith((".", "?")):
            raise ValueError(f"text must be a sentence, got {self.text!r}")
        if not 2 <= len(self.tiles) <= 3:
            raise ValueError(f"tiles must be two or three, got {len(self.tiles)}")


def rate_tile(value: float, low: float, high: float, of: str) -> Tile:
    """A share with its interval.

    Example:
        >>> rate_tile(0.5, 0.25, 0.75, "of runs succeed")
        ('50%', 'of runs succeed (95%: 25–75%)')
    """
    return percent(value), of if math.isnan(low) else f"{of} (95%: {span(low, high)})"


def points_tile(value: float, low: float, high: float, of: str) -> Tile:
    """A difference of shares with its interval.

    Example:
        >>> points_tile(-0.5, -0.75, -0.25, "from width 2 to 8")
        ('−50 points', 'from width 2 to 8 (95%: −75 to −25)')
    """
    size, _, around = points(value, low, high).partition(" (")
    return size, f"{of} (95%: {around}" if around else of


def number_tile(value: float, low: float, high: float, of: str) -> Tile:
    """Any other number with its interval.

    Example:
        >>> number_tile(1.52, 1.1, 2.04, "times as fast")
        ('1.5', 'times as fast (95%: 1.1–2)')
    """
    return number(value), of if math.isnan(low) else f"{of} (95%: {between(low, high)})"


def rate(value: float, low: float, high: float) -> str:
    """A share with its interval in a sentence: ``50% (25–75%)``."""
    return percent(value) if math.isnan(low) else f"{percent(value)} ({span(low, high)})"
