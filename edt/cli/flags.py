"""Options of a study's command, from the fields of its spec and its docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import fields
from inspect import cleandoc
from typing import Annotated, Any

import typer

from edt.limits import integer_list
from edt.runs.spec import Spec
from edt.runs.values import kinds_of


def field_texts(spec: type[Spec]) -> dict[str, str]:
    """What the docstring says of each field, under "Attributes:"; base classes speak first.

    Example:
        >>> from edt.studies.xor.spec import XorSpec
        >>> field_texts(XorSpec)["seeds"]
        'networks a width and start.'
    """
    found: dict[str, str] = {}
    for part in reversed(spec.__mro__):
        _, _, listed = cleandoc(part.__doc__ or "").partition("Attributes:\n")
        for entry in re.split(r"\n    (?=\S)", "\n" + listed)[1:]:
            for clause in re.split(r";\s+(?=[a-z_]+ )", entry) if ": " not in entry else [entry]:
                names, colon, text = " ".join(clause.split()).partition(": ")
                if colon:
                    found |= dict.fromkeys(names.split(", "), text)
    return found


def option(spec: type[Spec], name: str) -> tuple[Any, Callable[[Any], Any]]:
    """The annotation of a field's option, and what makes the field of what was given."""
    entry = next(entry for entry in fields(spec) if entry.name == name)
    kind, flag = kinds_of(spec, name)[0], "--" + name.replace("_", "-")
    text = field_texts(spec).get(name, name).partition(". ")[0].rstrip(".")
    text = text[:1].upper() + text[1:] + "." + _default(entry.default)
    word: type[Any] = {"int": int, "float": float, "bool": bool}.get(kind, str)
    metavar = "LIST" if "tuple" in kind else _METAVARS.get(kind)
    reader = next((found for inner, found in _READERS.items() if inner in kind), None)

    def read(value: Any) -> Any:
        return value if reader is None else reader(value, flag)

    declared = f"{flag}/--no-{flag[2:]}" if kind == "bool" else flag
    return Annotated[word | None, typer.Option(declared, help=text, metavar=metavar)], read


_METAVARS = {"int": "N", "float": "X", "str": "NAME", "Any": "NAME"}


def _default(value: Any) -> str:
    if isinstance(value, bool) or value in ((), ""):
        return ""
    if isinstance(value, tuple) and all(isinstance(one, int) for one in value):
        from edt.studies.width.spec import format_widths

        value = format_widths(value)
    elif isinstance(value, tuple):
        value = ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in value)
    return f" [dim]\\[{value}][/dim]"


def integers(text: str, flag: str) -> tuple[int, ...]:
    """Whole numbers from ``"2..6,8"``, ``"2-6"`` or ``"4..16:4"``, rising.

    Raises:
        ValueError: not of that form; the message names the option.

    Example:
        >>> integers("0..2,5", "--extra"), integers("4..16:4", "--widths")
        ((0, 1, 2, 5), (4, 8, 12, 16))
    """
    return integer_list(text, flag, "2..6,8 or 4..16:4", "rising")


def numbers(text: str, flag: str) -> tuple[float, ...]:
    """Numbers from ``"0.5,1,2"``.

    Raises:
        ValueError: not numbers.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{flag} must look like 0.5,1,2, got {text!r}") from None


def words(text: str, flag: str) -> tuple[str, ...]:
    """Words between commas."""
    return tuple(text.replace(" ", "").split(","))


_READERS: dict[str, Callable[[str, str], tuple[Any, ...]]] = {
    "tuple[int": integers,
    "tuple[float": numbers,
    "tuple[str": words,
}


def settings(given: list[str] | None) -> dict[str, Any]:
    """Fields from ``name=value`` words; values are Python literals, or else text.

    Raises:
        ValueError: a word without ``=``.

    Example:
        >>> settings(["width=6", "sizes=(0.5, 1.0)", "change=noise"])
        {'width': 6, 'sizes': (0.5, 1.0), 'change': 'noise'}
    """
    out: dict[str, Any] = {}
    for word in given or []:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise ValueError(f"--set must look like FIELD=VALUE, got {word!r}")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        out[name.strip().replace("-", "_")] = list(value) if isinstance(value, list) else value
    return out
