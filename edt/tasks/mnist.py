"""MNIST and Fashion-MNIST from local folders of IDX files."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from edt.arguments import checked
from edt.ensemble.checks import check_dtype
from edt.errors import EdtError, unknown_choice
from edt.limits import insist, open_plain, refusal
from edt.scalars import flag, integer
from edt.tasks.real import classification
from edt.tasks.task import Task

__all__ = ["IdxError", "fashion_mnist", "mnist", "read_idx"]

_PREFIX = {"train": "train", "test": "t10k"}
#: Subfolders to look in: torchvision keeps the files in MNIST/raw or FashionMNIST/raw.
_FOLDERS = {"mnist": ("", "raw", "MNIST/raw"), "fashion_mnist": ("", "raw", "FashionMNIST/raw")}
_DTYPES = {
    0x08: ">u1",
    0x09: ">i1",
    0x0B: ">i2",
    0x0C: ">i4",
    0x0D: ">f4",
    0x0E: ">f8",
}


#: A byte that is packed stands for so many at most.
DEFLATE = 1032


class IdxError(EdtError, ValueError):
    """A file that is not a whole IDX file; the message names it."""


def mnist(
    folder: str | os.PathLike[str],
    split: str = "train",
    *,
    samples: int | None = None,
    loss: str = "cross_entropy",
    standardise: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Task:
    """MNIST from the four IDX files in a folder, as they are distributed; nothing is downloaded.

    Files are found as ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
    ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, with a dot before ``idx`` or a
    ``.gz`` at the end, in the folder itself, where torchvision puts them, or each in a folder of
    its own name (as Kaggle packs them).

    Args:
        folder: where the files are; ``~`` is understood.
        split: "train" or "test".
        samples: use only the first so many; default all.
        loss: as in `edt.tasks.digits`.
        standardise: shift and scale all pixels by the one mean and deviation of the training
            images (so the training files must be there for "test", too); otherwise 0..1.
        dtype: of the task.

    Returns:
        `Task` with x ``[N, 784]`` and 10 classes.

    Raises:
        TypeError, ValueError: an argument is wrong. FileNotFoundError: a file is missing; lists
            the names looked for. IdxError: a file is damaged.

    Reference: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, 1998.
    """
    return _task("mnist", folder, split, samples, loss, standardise, dtype)


def fashion_mnist(
    folder: str | os.PathLike[str],
    split: str = "train",
    *,
    samples: int | None = None,
    loss: str = "cross_entropy",
    standardise: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Task:
    """Fashion-MNIST: articles of clothing in the files and the format of `mnist`.

    Args:
        folder, split, samples, loss, standardise, dtype: as in `mnist`.

    Reference: H. Xiao, K. Rasul, R. Vollgraf, arXiv 1708.07747.
    """
    return _task("fashion_mnist", folder, split, samples, loss, standardise, dtype)


def _task(
    name: str,
    folder: str | os.PathLike[str],
    split: str,
    samples: int | None,
    loss: str,
    standardise: bool,
    dtype: torch.dtype,
) -> Task:
    if not isinstance(split, str) or split not in _PREFIX:
        raise unknown_choice("split", split, list(_PREFIX))
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder must be a path, got {folder!r}")
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"folder must be an existing folder, got {str(root)!r}")
    if samples is not None:
        samples = integer("samples", samples)
    standardise = flag("standardise", standardise)
    check_dtype(dtype)
    image_file = _find(name, root, _PREFIX[split], "images", 3)
    label_file = _find(name, root, _PREFIX[split], "labels", 1)
    train_file = _find(name, root, "train", "images", 3) if standardise else image_file
    # Their headers first: nothing is read where they do not fit each other.
    shape, label_shape = idx_shape(image_file), idx_shape(label_file)
    if len(label_shape) == 1 and len(shape) == 3 and label_shape[0] != shape[0]:
        raise IdxError(
            f"{label_file}: holds {label_shape[0]} labels, {image_file.name} {shape[0]} images"
        )
    kept = shape[0] if samples is None else min(samples, shape[0])
    insist(f"{image_file}: {name}", kept * math.prod(shape[1:]) * (2 * 8 + dtype.itemsize))
    images, labels = _pixels(image_file), read_idx(label_file)
    if labels.ndim != 1 or labels.dtype != np.uint8:
        raise IdxError(
            f"{label_file}: must hold labels as bytes [N], one per image, got {labels.dtype} "
            f"{list(labels.shape)}"
        )
    if labels.size and labels.max() > 9:
        raise IdxError(f"{label_file}: labels must be in 0..9, got {labels.max()}")
    if samples is not None and samples > labels.size:
        raise ValueError(f"samples must be at most {labels.size}, got {samples}")
    info: dict[str, object] = {"shape": (1, 28, 28)}
    x = torch.from_numpy(images[:samples].astype(np.float64) / 255.0)
    if standardise:
        reference = images if split == "train" else _pixels(train_file)
        # Bytes are counted exactly, whatever the order of summation.
        count = np.bincount(reference.reshape(-1), minlength=256).astype(np.float64)
        level = np.arange(256) / 255.0
        mean = math.fsum(count * level) / reference.size
        std = math.sqrt(math.fsum(count * (level - mean) ** 2) / reference.size) or 1.0
        x = (x - mean) / std
        info |= {"x_mean": mean, "x_std": std}
    y = torch.from_numpy(labels[:samples].astype(np.int64))
    return classification(name, x.to(dtype), y, 10, loss, info)


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Array from an IDX file, raw or gzipped.

    Raises:
        IdxError: not an IDX file, truncated, or with bytes left over.
    """
    path = Path(path)
    with _opened(path) as file:
        return _read_array(path, file)


def idx_shape(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """The shape that the header of an IDX file states, raw or gzipped.

    Raises:
        IdxError: not an IDX file, or one that is too short for its shape.
    """
    path = Path(path)
    with _opened(path) as file:
        return _header(path, file)[0]


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    with os.fdopen(open_plain(path), "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with gzip.GzipFile(fileobj=raw) if zipped else raw as file:
            try:
                yield file
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise IdxError(f"{path}: truncated or corrupted gzip file ({error})") from None


def _header(path: Path, file: BinaryIO | gzip.GzipFile) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype; the file's own size must allow them."""
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES or head[3] < 1:
        raise IdxError(f"{path}: not an IDX file (begins with {head.hex() or 'nothing'})")
    dtype, dims = np.dtype(_DTYPES[head[2]]), head[3]
    sides = file.read(4 * dims)
    if len(sides) < 4 * dims:
        raise IdxError(f"{path}: truncated in its header")
    shape = tuple(int(s) for s in np.frombuffer(sides, dtype=">u4"))
    wanted, size = math.prod(shape) * dtype.itemsize, path.stat().st_size
    zipped = isinstance(file, gzip.GzipFile)
    begun = 4 + 4 * dims
    if (size * DEFLATE if zipped else size - begun) < wanted:
        holds = f"at most {size * DEFLATE}" if zipped else size - begun
        raise IdxError(
            f"{path}: shape {list(shape)} needs {wanted} bytes of data, the file holds {holds}"
        )
    return shape, dtype


def _read_array(path: Path, file: BinaryIO | gzip.GzipFile) -> np.ndarray:
    """The array of an open file; no more is unpacked than its header asks for."""
    shape, dtype = _header(path, file)
    wanted = math.prod(shape) * dtype.itemsize
    reason = refusal(2 * wanted)
    if reason is not None:
        raise IdxError(f"{path}: shape {list(shape)} {reason}")
    data = file.read(wanted + 1)
    if len(data) != wanted:
        found = f"more than {wanted}" if len(data) > wanted else str(len(data))
        raise IdxError(
            f"{path}: shape {list(shape)} needs {wanted} bytes of data, the file holds {found}"
        )
    try:
        out = np.frombuffer(data, dtype=dtype).reshape(shape)
    except ValueError as error:  # more dimensions than numpy has; empty, but huge in the others
        raise IdxError(f"{path}: shape {list(shape)} cannot be held ({error})") from None
    return out.astype(dtype.newbyteorder("="))


def _pixels(path: Path) -> np.ndarray:
    images = read_idx(path)
    if images.ndim != 3 or images.dtype != np.uint8 or images.size == 0:
        raise IdxError(
            f"{path}: must hold images as bytes [N, rows, columns], got {images.dtype} "
            f"{list(images.shape)}"
        )
    return images.reshape(images.shape[0], -1)


def _find(kind: str, root: Path, prefix: str, what: str, dims: int) -> Path:
    names = [
        f"{prefix}-{what}{dot}idx{dims}-ubyte{end}" for dot in ("-", ".") for end in ("", ".gz")
    ]
    for folder in _FOLDERS[kind]:
        for name in names:
            for file in (root / folder / name, root / folder / name / name):
                if file.is_file():
                    return file
    raise FileNotFoundError(f"{root}: has none of {', '.join(names)}")


checked(__name__)
