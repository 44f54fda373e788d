"""CIFAR-10 and CIFAR-100 from local folders, in the python and the binary version."""

from __future__ import annotations

import io
import math
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edt.ensemble.checks import check_dtype
from edt.errors import EdtError, unknown_choice
from edt.limits import insist, read_plain, refusal
from edt.scalars import flag, integer
from edt.tasks.real import classification
from edt.tasks.task import Task

__all__ = ["CifarError", "cifar10", "cifar100"]

#: An image: three channels of 32 rows of 32 pixels.
SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
LABELS = ("fine", "coarse")


class CifarError(EdtError, ValueError):
    """A file that is not a whole file of CIFAR; the message names it."""


@dataclass(frozen=True)
class _Kind:
    """Where the files of one data set are, and what is in them."""

    name: str
    python: dict[str, list[str]]
    binary: dict[str, list[str]]
    folders: tuple[str, ...]
    classes: dict[str, int]
    keys: dict[str, bytes]
    #: Bytes of labels before an image, and which of them.
    offsets: dict[str, int]


_BATCHES = [f"data_batch_{k}" for k in range(1, 6)]
_TEN = _Kind(
    "cifar10",
    {"train": _BATCHES, "test": ["test_batch"]},
    {"train": [f"{name}.bin" for name in _BATCHES], "test": ["test_batch.bin"]},
    ("", "cifar-10-batches-py", "cifar-10-batches-bin"),
    {"fine": 10},
    {"fine": b"labels"},
    {"fine": 0},
)
_HUNDRED = _Kind(
    "cifar100",
    {"train": ["train"], "test": ["test"]},
    {"train": ["train.bin"], "test": ["test.bin"]},
    ("", "cifar-100-python", "cifar-100-binary"),
    {"fine": 100, "coarse": 20},
    {"fine": b"fine_labels", "coarse": b"coarse_labels"},
    {"coarse": 0, "fine": 1},
)


def cifar10(
    folder: str | os.PathLike[str],
    split: str = "train",
    *,
    samples: int | None = None,
    loss: str = "cross_entropy",
    standardise: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Task:
    """CIFAR-10 from its batches in a folder, python or binary version; nothing is downloaded.

    Files are looked for in the folder itself, in ``cifar-10-batches-py`` (as torchvision keeps
    them) and in ``cifar-10-batches-bin``. Pickled batches are read without running anything: only
    numbers, names and arrays are taken.

    Args:
        folder: where the files are; ``~`` is understood.
        split: "train" or "test".
        samples: use only the first so many; default all.
        loss: as in `edt.tasks.digits`.
        standardise: shift and scale each channel by its mean and deviation over the training
            images (which must be there for "test", too); otherwise 0..1.
        dtype: of the task.

    Returns:
        `Task` with x ``[N, 3072]`` (channel by channel, row by row) and 10 classes;
        ``info["shape"]`` is (3, 32, 32), for `edt.ModuleEnsemble`'s ``input_shape``.

    Raises:
        TypeError, ValueError: an argument is wrong. FileNotFoundError: a file is missing; lists
            the names looked for. CifarError: a file is damaged.

    Reference: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    return _task(_TEN, "fine", folder, split, samples, loss, standardise, dtype)


def cifar100(
    folder: str | os.PathLike[str],
    split: str = "train",
    *,
    labels: str = "fine",
    samples: int | None = None,
    loss: str = "cross_entropy",
    standardise: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Task:
    """CIFAR-100 from its files in a folder; see `cifar10`.

    Args:
        labels: "fine" (100 classes) or "coarse" (20).
        folder, split, samples, loss, standardise, dtype: as in `cifar10`; the folders are
            ``cifar-100-python`` and ``cifar-100-binary``.
    """
    if labels not in LABELS:
        raise unknown_choice("labels", str(labels), LABELS)
    return _task(_HUNDRED, labels, folder, split, samples, loss, standardise, dtype)


def _task(
    kind: _Kind,
    labels: str,
    folder: Any,
    split: Any,
    samples: Any,
    loss: str,
    standardise: bool,
    dtype: torch.dtype,
) -> Task:
    if not isinstance(split, str) or split not in kind.python:
        raise unknown_choice("split", str(split), list(kind.python))
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder must be a path, got {folder!r}")
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"folder must be an existing folder, got {str(root)!r}")
    if samples is not None:
        samples = integer("samples", samples)
    standardise = flag("standardise", standardise)
    check_dtype(dtype)
    images, classes = _read(kind, root, split, labels)
    if samples is not None and samples > classes.size:
        raise ValueError(f"samples must be at most {classes.size}, got {samples}")
    kept = classes.size if samples is None else samples
    insist(f"{root}: {kind.name}", kept * _PIXELS * (2 * 8 + dtype.itemsize))
    info: dict[str, Any] = {"shape": SHAPE}
    x = images[:samples].reshape(-1, 3, 1024).astype(np.float64) / 255.0
    if standardise:
        train = images if split == "train" else _read(kind, root, "train", labels)[0]
        mean, std = _moments(train)
        x = (x - mean[:, None]) / std[:, None]
        info |= {"x_mean": mean.tolist(), "x_std": std.tolist()}
    values = torch.from_numpy(x.reshape(-1, _PIXELS)).to(dtype)
    y = torch.from_numpy(classes[:samples].astype(np.int64))
    return classification(kind.name, values, y, kind.classes[labels], loss, info)


def _moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel; bytes are counted exactly, in whatever order."""
    level = np.arange(256) / 255.0
    mean, std = np.empty(3), np.empty(3)
    channels = images.reshape(-1, 3, 1024)
    for c in range(3):
        count = np.bincount(channels[:, c].reshape(-1), minlength=256).astype(np.float64)
        mean[c] = math.fsum(count * level) / count.sum()
        std[c] = math.sqrt(math.fsum(count * (level - mean[c]) ** 2) / count.sum()) or 1.0
    return mean, std


def _read(kind: _Kind, root: Path, split: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """(images uint8 ``[N, 3072]``, labels)."""
    versions: list[tuple[list[str], Callable[..., tuple[np.ndarray, np.ndarray]]]] = [
        (kind.python[split], _pickled),
        (kind.binary[split], _binary),
    ]
    for names, read in versions:
        for place in kind.folders:
            files = [root / place / name for name in names]
            if files[0].is_file():
                missing = [file for file in files if not file.is_file()]
                if missing:
                    raise FileNotFoundError(f"{missing[0]} is missing beside {files[0].name}")
                # Its images as bytes, twice: by file and together.
                reason = refusal(2 * sum(file.stat().st_size for file in files))
                if reason is not None:
                    raise CifarError(f"{files[0].parent}: it {reason}")
                parts = [read(kind, file, labels) for file in files]
                images = np.concatenate([part[0] for part in parts])
                return images, np.concatenate([part[1] for part in parts])
    wanted = ", ".join(names[0] for names, _ in versions)
    places = ", ".join(place or "the folder itself" for place in kind.folders)
    raise FileNotFoundError(f"{root}: has none of {wanted} (looked in {places})")


def _binary(kind: _Kind, path: Path, labels: str) -> tuple[np.ndarray, np.ndarray]:
    head = len(kind.offsets)
    size = path.stat().st_size
    if size == 0 or size % (head + _PIXELS):
        raise CifarError(f"{path}: must hold records of {head + _PIXELS} bytes, has {size} bytes")
    data = np.frombuffer(read_plain(path), dtype=np.uint8)
    rows = data.reshape(-1, head + _PIXELS)
    return rows[:, head:], _checked(kind, path, labels, rows[:, kind.offsets[labels]])


def _pickled(kind: _Kind, path: Path, labels: str) -> tuple[np.ndarray, np.ndarray]:
    data = read_plain(path)
    try:
        found = _Numbers(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # whatever a damaged pickle makes the reader raise
        words = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise CifarError(f"{path}: not a batch of CIFAR ({words:.200})") from None
    if not isinstance(found, dict):
        raise CifarError(f"{path}: must hold a dictionary, has {type(found).__name__}")
    named = {k if isinstance(k, bytes) else str(k).encode(): value for k, value in found.items()}
    images, classes = named.get(b"data"), named.get(kind.keys[labels])
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or (images.ndim != 2 or images.shape[1] != _PIXELS or images.shape[0] < 1)
        or images.nbytes > len(data)  # of which nothing was stored
    ):
        raise CifarError(f"{path}: its data must be uint8 [N, {_PIXELS}]")
    if not isinstance(classes, list) or len(classes) != images.shape[0]:
        raise CifarError(f"{path}: must hold one of {kind.keys[labels].decode()} an image")
    if not all(type(label) is int and 0 <= label < kind.classes[labels] for label in classes):
        raise CifarError(f"{path}: labels must be integers in 0..{kind.classes[labels] - 1}")
    return images, np.asarray(classes)


def _checked(kind: _Kind, path: Path, labels: str, classes: np.ndarray) -> np.ndarray:
    most = kind.classes[labels]
    if classes.dtype.kind not in "iu" or int(classes.min()) < 0 or int(classes.max()) >= most:
        raise CifarError(f"{path}: labels must be integers in 0..{most - 1}")
    return classes


#: What pickles of arrays name; nothing else is looked up, so nothing else can run.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


#: What batches are written with. Python's own reader makes a list as long as any index asks for
#: (LONG_BINPUT), and some structures take for ever to be compared (as keys, in sets).
_OPCODES = (
    pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE,
    pickle.NEWFALSE, pickle.INT, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG,
    pickle.LONG1, pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.UNICODE,
    pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINBYTES, pickle.SHORT_BINBYTES,
    pickle.BINBYTES8, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.LIST,
    pickle.EMPTY_DICT, pickle.DICT, pickle.SETITEM, pickle.SETITEMS, pickle.EMPTY_TUPLE,
    pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.GET, pickle.BINGET,
    pickle.LONG_BINGET, pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE,
    pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.REDUCE, pickle.BUILD,
)  # fmt: skip


class _Names(dict[Any, Any]):
    """A dictionary of a batch; other keys than names are not even compared."""

    def __setitem__(self, name: Any, value: Any) -> None:
        if not isinstance(name, (str, bytes)):
            raise pickle.UnpicklingError(f"a key is {type(name).__name__}, not a name")
        super().__setitem__(name, value)


class _Numbers(pickle._Unpickler):  # in Python: its memory follows what is there
    """Reads pickles of numbers, names and arrays only."""

    dispatch = {  # noqa: RUF012
        code[0]: pickle._Unpickler.dispatch[code[0]] for code in _OPCODES
    }

    def load_empty_dictionary(self) -> None:
        self.append(_Names())  # type: ignore[attr-defined]

    def load_dict(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        found = _Names()
        for k in range(0, len(items), 2):
            found[items[k]] = items[k + 1]
        self.append(found)  # type: ignore[attr-defined]

    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dictionary  # type: ignore[assignment]
    dispatch[pickle.DICT[0]] = load_dict  # type: ignore[assignment]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"names {module}.{name}, which no batch needs")
        if name == "_reconstruct":
            return np.array([]).__reduce__()[0]
        if name == "encode":
            return _latin1
        return super().find_class(module, name)


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 pickles bytes for Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes must be kept as latin1")
    return text.encode("latin1")
