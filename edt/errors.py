"""Exceptions of the package and the wording of its commonest messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["ChangedError", "EdtError", "ShapeError", "renamed", "unknown_choice"]

Given = ParamSpec("Given")
Result = TypeVar("Result")


class EdtError(Exception):
    """Base class of the package's own exceptions."""


class ChangedError(EdtError, RuntimeError):
    """Something was changed in place under what had been made from it."""


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


def renamed(**words: str) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """A function whose arguments have other names than in earlier versions: old ones say the new.

    Args:
        words: old name = new name.

    Example:
        >>> @renamed(colour="color")
        ... def paint(color):
        ...     return color
        >>> paint(colour="red")
        Traceback (most recent call last):
        TypeError: paint() takes color=, not colour=, since version 0.2
    """

    def decorate(function: Callable[Given, Result]) -> Callable[Given, Result]:
        @wraps(function)
        def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            for old in words.keys() & kwargs.keys():
                raise TypeError(
                    f"{function.__name__}() takes {words[old]}=, not {old}=, since version 0.2"
                )
            return function(*args, **kwargs)

        return call

    return decorate
