"""Imports point down only, and no files import each other in a circle.

A file may import from its own part of edt and from layers below. Imports inside functions count,
those for type checkers alone do not.

Usage: python .ci/layers.py [ROOT]
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

#: From the top; parts of one line stand side by side and do not know each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("plots", "estimators", "bench"),
    ("studies",),
    ("show",),
    ("runs",),
    ("lottery",),
    ("landscape",),
    ("success", "nets"),
    ("flow",),
    ("training",),
    ("curvature",),
    ("functional",),
    ("infinite",),
    ("tasks",),
    ("objectives",),
    ("ops",),
    ("ensemble",),
    ("stats", "frames", "files"),
    ("places", "limits", "plain", "scalars", "footer"),
