"""Griffe extension for the site: docstrings as Markdown.

Docstrings are read in a terminal first. There ``Example:`` heads examples, a table has rules of
``=`` and rows that go on in the next line, and ``::`` announces what is set as it is; griffe and
Markdown want ``Examples:``, pipes, and an indent alone.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import griffe

HEADING = re.compile(r"(?m)^([ ]*)Example:$")
ANNOUNCED = re.compile(r"(?m)([^\s:]):: *$")
RULE = re.compile(r"^ *=+(?: +=+)+ *$")


class Docstrings(griffe.Extension):
    """Lets the parser see examples as examples, and Markdown see tables as tables."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """A docstring of ours, for griffe's parser and Markdown."""
    return ANNOUNCED.sub(r"\1:", HEADING.sub(r"\1Examples:", with_pipes(text)))


def with_pipes(text: str) -> str:
    """The text with every table of three rules written with pipes.

    Raises:
        ValueError: a table that has no end, or text across a column's edge.
    """
    lines = text.split("\n")
    out: list[str] = []
    at = 0
    while at < len(lines):
        if not RULE.match(lines[at]):
            out.append(lines[at])
            at += 1
            continue
        rules = [k for k in range(at, len(lines)) if lines[k].strip() == lines[at].strip()][:3]
        if len(rules) < 3:
            raise ValueError(f"a table without three rules: {lines[at + 1].strip()!r}")
        out += table(lines[at : rules[2] + 1])
        at = rules[2] + 1
    return "\n".join(out)


def table(lines: list[str]) -> list[str]:
    """One table, from its first rule to its last, with pipes."""
    starts = [match.start() for match in re.finditer(r"=+", lines[0])]
    head = next(k for k in range(1, len(lines)) if RULE.match(lines[k]))
    rows: list[list[str]] = []
    for line in [*lines[1:head], *lines[head + 1 : -1]]:
        found = cells(line, starts)
        # A row goes on where its first cell is empty.
        if rows and len(rows) > 1 and not found[0]:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], found, strict=True)]
        else:
            rows.append(found)
    indent = " " * starts[0]
    written = [indent + "| " + " | ".join(row) + " |" for row in rows]
    return [written[0], indent + "|" + " --- |" * len(starts), *written[1:]]


def cells(line: str, starts: list[int]) -> list[str]:
    """The cells of a line; pipes in them are escaped.

    Raises:
        ValueError: text across a column's edge.
    """
    for start in starts[1:]:
        if line[start - 1 : start].strip():
            raise ValueError(f"text across the edge of a column: {line.strip()!r}")
    edges = [*starts, max(len(line), starts[-1] + 1)]
    return [line[a:b].strip().replace("|", "\\|") for a, b in pairwise(edges)]
