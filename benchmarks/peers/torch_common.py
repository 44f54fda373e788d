"""What the PyTorch peers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.workload import BETA1, BETA2, EPSILON, LEARNING_RATE

#: Any: torch types some of its functions only as "function".
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "softplus": torch.nn.functional.softplus,
    "tanh": torch.tanh,
    "relu": torch.relu,
}


def tensors(arrays: Mapping[str, np.ndarray], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Copies in the given dtype, on torch's default device."""
    return {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}


def adam(parameters: list[torch.Tensor]) -> torch.optim.Adam:
    """PyTorch's fastest Adam; on a GPU one that a CUDA graph can hold."""
    return torch.optim.Adam(
        parameters,
        lr=LEARNING_RATE,
        betas=(BETA1, BETA2),
        eps=EPSILON,
        fused=True,
        capturable=parameters[0].is_cuda,
    )
