"""Checkpoints: tensors and their JSON header in one safetensors file, written whole.

The header travels in the file's own metadata, so that one `os.replace` publishes both; a
`<name>.json` copy lies beside it for people. The SHA-256 of the tensors is stored and checked,
because safetensors itself notices a truncated file but not a flipped bit. No pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from edt.errors import EdtError

FORMAT = 1


class CheckpointError(EdtError, ValueError):
    """A checkpoint or result file that cannot be used; the message names the file."""


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in name order."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name}:{tensor.dtype}:{list(tensor.shape)};".encode())
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` to a temporary file in the same folder, sync it, and rename it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        if os.path.exists(name):
            os.unlink(name)
        raise


def write(
    path: str | os.PathLike[str],
    kind: str,
    tensors: Mapping[str, torch.Tensor],
    header: Mapping[str, Any],
) -> None:
    """Write tensors and header as one safetensors file plus a readable JSON copy.

    Args:
        path: file to write, by convention ending in ``.safetensors``.
        kind: what the file holds; `read` insists on it.
        tensors: any dtypes and shapes.
        header: JSON-able.
    """
    path = Path(path)
    flat = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    full = {"format": FORMAT, "kind": kind, "sha256": digest(flat), **header}
    text = json.dumps(full, indent=1, sort_keys=True)
    replace_file(path, save(flat, metadata={"edt": text}))
    replace_file(path.with_suffix(".json"), text.encode())


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a file written by `write`.

    Returns:
        (tensors, header)

    Raises:
        CheckpointError: missing, truncated, corrupted, or of another kind; names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        header = json.loads(metadata["edt"])
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: truncated, corrupted or not an edt file "
            f"({type(error).__name__}: {error}); delete it to start afresh"
        ) from None
    if not isinstance(header, dict) or header.get("kind") != kind:
        found = header.get("kind") if isinstance(header, dict) else header
        raise CheckpointError(f"{path}: holds {found!r}, expected {kind!r}")
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format {header.get('format')!r}, this version reads {FORMAT}"
        )
    if header.get("sha256") != digest(tensors):
        raise CheckpointError(
            f"{path}: corrupted (the checksum of its tensors does not match); "
            "delete it to start afresh"
        )
    return tensors, header


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
