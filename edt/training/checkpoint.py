"""Checkpoints of a training run: the file format is `edt.files`; here, what two runs differ in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edt.files import CheckpointError, digest, parsing, read, write

__all__ = [
    "CheckpointError",
    "differences",
    "digest",
    "parsing",
    "read",
    "write",
]


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Readable list of the specification's fields that differ."""
    out = []
    for name in sorted(set(stored) | set(wanted)):
        if stored.get(name) != wanted.get(name):
            out.append(f"{name}: {_brief(stored.get(name))} there, {_brief(wanted.get(name))} here")
    return out


def _brief(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
