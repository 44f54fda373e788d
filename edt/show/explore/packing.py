"""Arrays in a page: bytes of float64 in base64, exact to the last bit."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch


def packed(values: torch.Tensor) -> str:
    """Bytes of the values as little-endian float64, in base64."""
    flat = values.detach().to("cpu", torch.float64).reshape(-1).numpy().astype("<f8")
    return base64.b64encode(flat.tobytes()).decode("ascii")


def unpacked(text: str) -> np.ndarray[Any, Any]:
    """The values of `packed`."""
    return np.frombuffer(base64.b64decode(text), "<f8")
