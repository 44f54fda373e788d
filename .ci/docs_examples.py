"""Griffe extension for the site: our docstrings say ``Example:``, griffe's parser ``Examples:``."""

from __future__ import annotations

import re
from typing import Any

import griffe

HEADING = re.compile(r"(?m)^([ ]*)Example:$")


class ExampleSections(griffe.Extension):
    """Lets the parser see examples as examples, so that they are shown as code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = HEADING.sub(r"\1Examples:", obj.docstring.value)
