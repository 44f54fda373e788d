"""Exceptions of the package and the wording of its commonest messages."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

__all__ = ["EdtError", "ShapeError", "unknown_choice"]


class EdtError(Exception):
    """Base class of the package's own exceptions."""


class ShapeError(EdtError, ValueError):
    """A tensor of the wrong shape or length; the message names it, its shape and the one wanted."""


def unknown_choice(name: str, given: object, allowed: Sequence[str]) -> ValueError:
    """The error for a value outside a fixed set of names; the caller raises it.

    Args:
        name: the argument.
        given: what was passed.
        allowed: the names that are allowed, in the order to show them.

    Returns:
        `ValueError` that lists the allowed names and suggests the nearest one, if one is near.

    Example:
        >>> str(unknown_choice("optimizer", "adamm", ["gd", "adam"]))
        "optimizer must be one of 'gd', 'adam', got 'adamm'; did you mean 'adam'?"
    """
    text = str(given)
    listed = ", ".join(repr(choice) for choice in allowed)
    near = get_close_matches(text.lower(), [choice.lower() for choice in allowed], n=1)
    hint = ""
    if near:
        meant = next(choice for choice in allowed if choice.lower() == near[0])
        hint = f"; did you mean {meant!r}?"
    return ValueError(f"{name} must be one of {listed}, got {text!r}{hint}")
