"""Checkpoints of a training run: the file format is `edt.files`; here, what two runs differ in."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edt.files import CheckpointError, digest, parsing, read, write

__all__ = [
    "CheckpointError",
    "checkpoint_folder",
    "differences",
    "digest",
    "make_writable",
    "parsing",
    "read",
    "write",
]


def checkpoint_folder(directory: Any) -> Path:
    """The directory meant by an argument ``checkpoint``; it need not exist.

    Raises:
        TypeError: not a path. ValueError: an empty one, or that of a file.
    """
    if not isinstance(directory, (str, os.PathLike)):
        raise TypeError(f"checkpoint must be the path of a directory, got {directory!r}")
    if not os.fspath(directory):
        raise ValueError("checkpoint must be the path of a directory, got ''")
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"checkpoint must be a directory, {folder} is a file")
    return folder


def make_writable(folder: Path, name: str = "") -> None:
    """Make the directory, and write to it before the work that is to be kept there.

    Args:
        folder: the directory.
        name: of the file in it that will be written.

    Raises:
        CheckpointError: it cannot be made or written to, or something that is no file has the name.
    """
    file = folder / name
    if name and file.exists() and not file.is_file():
        raise CheckpointError(f"{file}: is not a plain file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(f"checkpoint={str(folder)!r}: cannot write there: {reason}") from None


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
