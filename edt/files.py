"""Tensors and their JSON header in one safetensors file, written whole.

The header travels in the file's own metadata, so that one `os.replace` publishes both; a copy for
people lies beside it (`readable_copy`). SHA-256 sums of tensors and header are stored and
checked, because safetensors itself notices a truncated file but not a flipped bit. No pickle
anywhere. The package safetensors is imported when a file is written or read: networks and operators
need none.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from edt.errors import EdtError
from edt.limits import NotPlainError, refusal
from edt.locations import Folder, Location, Remote, place

__all__ = [
    "FORMAT",
    "CheckpointError",
    "digest",
    "encode",
    "expect",
    "parsing",
    "read",
    "readable_copy",
    "replace_at",
    "replace_file",
    "words",
    "write",
]

FORMAT = 1


class CheckpointError(EdtError, ValueError):
    """A checkpoint or result file that cannot be used; the message names the file."""


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in name order."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name}:{tensor.dtype}:{list(tensor.shape)};".encode())
        # As bytes, for numpy does not know every dtype of torch; cloned, for a tensor of at most
        # one element counts as contiguous whatever its strides, and may have none to view bytes by.
        flat = tensor.reshape(-1).clone(memory_format=torch.contiguous_format)
        sha.update(flat.view(torch.uint8).numpy().data)
    return sha.hexdigest()


def replace_file(path: Folder, data: bytes) -> None:
    """Write ``data`` to a temporary file in the same folder, sync it, and rename it to ``path``.

    A symbolic link stays one: the file it leads to is replaced. A new file gets the mode that the
    umask leaves, a replaced one keeps its own. Behind a URL: one put of the whole object. Stores of
    objects show it whole or not at all; on other file systems a reader may find a part of it, which
    its checksum gives away.

    Raises:
        OSError: the disk is full, say; names the file.
    """
    if isinstance(path, Remote):
        path.write_bytes(data)
        return
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        replace_at(folder, target.name, data, path)
    finally:
        os.close(folder)


def replace_at(folder: int, name: str, data: bytes, path: Path) -> None:
    """`replace_file` in a folder that is open already; a link of that name is replaced.

    Args:
        folder: handle of the folder.
        name: of the file in it.
        data: all of it.
        path: what errors call it.

    Raises:
        NotPlainError: a device, pipe, socket or folder is there; it is left alone.
        OSError: the disk is full, say.
    """
    mode = None
    with suppress(FileNotFoundError):
        before = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISREG(before):
            mode = stat.S_IMODE(before) & 0o777
        elif not stat.S_ISLNK(before):
            what = "is not a plain file and would be replaced by one"
            raise NotPlainError(errno.EINVAL, what, str(path))
    made = f".{name}.{secrets.token_hex(6)}.tmp"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(made, flags, 0o666, dir_fd=folder)
        with os.fdopen(handle, "wb") as file:
            if mode is not None:
                os.fchmod(handle, mode)
            file.write(data)
            file.flush()
            os.fsync(handle)
        os.replace(made, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(made, dir_fd=folder)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def encode(
    kind: str, tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any]
) -> tuple[bytes, bytes]:
    """Bytes of a safetensors file that holds tensors and header, and of its readable JSON copy.

    Args:
        kind: what the file holds; `read` insists on it.
        tensors: any dtypes and shapes.
        header: JSON-able.
    """
    flat = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    full = {**header, "format": FORMAT, "kind": kind, "sha256": digest(flat)}
    full["header_sha256"] = _header_digest(full)
    text = json.dumps(full, indent=1, sort_keys=True)
    from safetensors.torch import save

    return save(flat, metadata={"edt": text}), text.encode()


def write(
    path: Location,
    kind: str,
    tensors: Mapping[str, torch.Tensor],
    header: Mapping[str, Any],
) -> None:
    """Write tensors and header as one safetensors file plus a readable JSON copy of the header.

    The copy has the file's whole name and ``.json`` after it: ``run.safetensors.json``.

    Args:
        path: file to write, by convention ending in ``.safetensors``.
        kind, tensors, header: as in `encode`.

    Raises:
        ValueError: ``path`` ends in ``.json``, which the file is not.
    """
    file = place(path)
    if file.suffix == ".json":
        raise ValueError(f"path must not end in .json (the file is binary), got {str(path)!r}")
    data, text = encode(kind, tensors, header)
    replace_file(file, data)
    replace_file(readable_copy(file), text)


def readable_copy(file: Folder) -> Folder:
    """Where the readable copy of a file's header lies."""
    return file.parent / f"{file.name}.json"


def read(
    path: Location, kind: str, data: bytes | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a file written by `write`.

    Args:
        path: of the file.
        kind: what it must hold.
        data: its bytes, where they have been read already.

    Returns:
        (tensors, header)

    Raises:
        CheckpointError: missing, truncated, corrupted, or of another kind; names the file.
    """
    from safetensors import SafetensorError

    path = place(path)
    if data is None and not path.is_file():
        folder = isinstance(path, Path) and path.is_dir()
        raise CheckpointError(f"{path}: {'is a folder, not a file' if folder else 'no such file'}")
    try:
        metadata, tensors = _open(path, data)
        header = json.loads(metadata["edt"])
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: truncated, corrupted or not an edt file "
            f"({type(error).__name__}: {error}){_advice(kind)}"
        ) from None
    if not isinstance(header, dict) or header.get("kind") != kind:
        found = header.get("kind") if isinstance(header, dict) else header
        raise CheckpointError(f"{path}: holds {found!r}, expected {kind!r}")
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format {header.get('format')!r}, this version reads {FORMAT}"
        )
    with parsing(path):  # whatever JSON may hold: nested too deeply to be written again, say
        intact = header.get("header_sha256") == _header_digest(header)
    if header.get("sha256") != digest(tensors):
        raise CheckpointError(
            f"{path}: corrupted (the checksum of its tensors does not match){_advice(kind)}"
        )
    if not intact:
        raise CheckpointError(
            f"{path}: corrupted (the checksum of its header does not match){_advice(kind)}"
        )
    return tensors, header


def _advice(kind: str) -> str:
    """A checkpoint can be made again; what a person saved, perhaps not."""
    passing = kind.endswith(("-checkpoint", "-group"))
    return "; delete it to start afresh" if passing else ""


@contextmanager
def parsing(path: Location) -> Iterator[None]:
    """While the contents of a whole file are taken apart: what they lack or twist is its fault.

    Raises:
        CheckpointError: for any error that wrong contents can cause; names the file.
    """
    try:
        yield
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise CheckpointError(
            f"{path}: its contents make no sense ({type(e).__name__}: {e})"
        ) from None


def expect(
    tensors: Mapping[str, torch.Tensor],
    dtype: torch.dtype,
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Insist on tensors of a file; for use inside `parsing`.

    Raises:
        KeyError: one is missing. ValueError: another dtype or shape; names the tensor.
    """
    for name, shape in shapes.items():
        found = tensors[name]
        if found.dtype != dtype or tuple(found.shape) != shape:
            raise ValueError(
                f"{name} must be {dtype} of shape {list(shape)}, got {found.dtype} of shape "
                f"{list(found.shape)}"
            )


def words(header: Mapping[str, Any], name: str, count: int) -> list[str]:
    """A list of so many strings in a file's header; for use inside `parsing`.

    Raises:
        KeyError: missing. ValueError: something else.
    """
    found = header[name]
    if not (
        isinstance(found, list)
        and len(found) == count
        and all(isinstance(word, str) for word in found)
    ):
        raise ValueError(f"{name} must be a list of {count} strings, got {found!r:.60}")
    return list(found)


def _open(path: Folder, data: bytes | None) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Metadata and tensors of a safetensors file."""
    if data is None:
        # What comes over a wire is held beside what is made of it.
        size = 2 * (path.size() or 0) if isinstance(path, Remote) else path.stat().st_size
        reason = refusal(size)
        if reason is not None:
            raise ValueError(f"it {reason}")
    if data is None and isinstance(path, Remote):
        data = path.read_bytes()
    if data is not None:
        from safetensors.torch import load

        tensors = load(data)  # refuses a header that does not fit the bytes
        head = int.from_bytes(data[:8], "little")
        return json.loads(data[8 : 8 + head]).get("__metadata__", {}), tensors
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        names = file.keys()
        return file.metadata() or {}, {name: file.get_tensor(name).clone() for name in names}


def _header_digest(header: Mapping[str, Any]) -> str:
    content = {name: value for name, value in header.items() if name != "header_sha256"}
    # Through JSON and back first: tuples and integer keys then read the same before and after.
    text = json.dumps(json.loads(json.dumps(content)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
