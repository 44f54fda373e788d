"""Which steps of a run are written into its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edt.ensemble.arrays import plain
from edt.scalars import integer

Record = None | str | int | Sequence[int]

#: Log-spaced records per factor of ten in the step.
PER_DECADE = 8


def record_steps(record: Any, steps: int) -> torch.Tensor:
    """Sorted, distinct steps to record, int64 ``[R]``, all in ``0..steps``.

    Args:
        record: "log" (0, then about 8 a decade, then the last), an integer k (every k-th and the
            last), a sequence of steps, or None (nothing).
        steps: number of optimiser steps; step ``steps`` is the state after the last update.

    Raises:
        ValueError: unknown name, k < 1, or a step outside ``0..steps``.
        TypeError: none of the above kinds.
    """
    if record is None:
        return torch.zeros(0, dtype=torch.int64)
    if isinstance(plain("record", record), str):
        if record != "log":
            raise ValueError(
                f"record must be 'log', an integer, a sequence of steps or None, got {record!r}"
            )
        top = np.log10(max(steps, 1))
        count = int(np.ceil(top * PER_DECADE)) + 1
        grid = np.rint(10.0 ** (np.arange(count) / PER_DECADE)).astype(np.int64)
        chosen = {0, steps} | {int(s) for s in grid if s <= steps}
    elif isinstance(record, bool):
        raise TypeError("record must be 'log', an integer, a sequence of steps or None, got a bool")
    elif isinstance(record, (int, np.integer)):
        chosen = set(range(0, steps + 1, integer("record", record))) | {steps}
    elif isinstance(record, (Sequence, np.ndarray, torch.Tensor)):
        values = np.asarray(record)
        if values.size and values.dtype.kind not in "iu":
            raise TypeError(f"record must hold integers, got dtype {values.dtype}")
        chosen = {int(s) for s in values.ravel()}
        bad = sorted(s for s in chosen if not 0 <= s <= steps)
        if bad:
            raise ValueError(f"record holds step {bad[0]}, allowed are 0..{steps}")
    else:
        raise TypeError(
            "record must be 'log', an integer, a sequence of steps or None, got "
            f"{type(record).__name__}"
        )
    return torch.tensor(sorted(chosen), dtype=torch.int64)
