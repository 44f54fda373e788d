"""Argument checks shared by ensembles and tasks; every message names argument, value and range."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edt.ensemble.arrays import as_tensor, plain
from edt.errors import ShapeError

__all__ = [
    "DTYPES",
    "check_dtype",
    "finite_networks",
    "network_indices",
]

#: Arithmetic the package works in.
DTYPES = (torch.float32, torch.float64)


def check_dtype(dtype: Any) -> None:
    """Insist on one of `DTYPES`.

    Raises:
        ValueError: anything else.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype!r}")


def finite_networks(theta: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """bool ``[B]`` on the CPU: all parameters of a network are finite (False: it diverged)."""
    wild = ~torch.isfinite(theta.detach().cpu())
    count = torch.nn.functional.pad(wild.cumsum(0), (1, 0))[offsets.cpu()]
    return count[1:] == count[:-1]


def network_indices(indices: Any, networks: int, name: str = "indices") -> np.ndarray:
    """Indices into B networks, int64 in 0..B-1, from integers in -B..B-1 or a bool mask ``[B]``.

    Raises:
        TypeError: neither. ShapeError: wrong shape. ValueError: none. IndexError: out of range.
    """
    if isinstance(indices, range):
        indices = list(indices)
    if isinstance(indices, torch.Tensor) or hasattr(indices, "__dlpack__"):
        indices = as_tensor(name, indices).cpu().numpy()
    if not isinstance(indices, (np.ndarray, list, tuple)):
        plain(name, indices)
        raise TypeError(f"{name} must be integers or a bool mask, got {indices!r}")
    if isinstance(indices, (list, tuple)):
        for item in indices:
            plain(name, item)
    index = np.asarray(indices)
    if index.ndim != 1:
        raise ShapeError(f"{name} must have one dimension, got shape {list(index.shape)}")
    if index.dtype == np.bool_:
        if index.size != networks:
            raise ShapeError(f"{name} (a bool mask) must have length {networks}, got {index.size}")
        index = np.flatnonzero(index)
    if index.size == 0:
        raise ValueError(f"{name} must choose at least one network, got none")
    if not np.issubdtype(index.dtype, np.integer):
        raise TypeError(f"{name} must be integers or a bool mask, got dtype {index.dtype}")
    index = index.astype(np.int64)
    bad = np.flatnonzero((index < -networks) | (index >= networks))
    if bad.size:
        k = int(bad[0])
        raise IndexError(f"{name}[{k}] must be in 0..{networks - 1}, got {int(index[k])}")
    return np.where(index < 0, index + networks, index)
