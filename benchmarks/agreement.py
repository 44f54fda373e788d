"""Every contender must compute the same numbers before its time counts."""

from __future__ import annotations

import numpy as np

#: Relative error of a loss after a few steps. Both sides round in every one of ~1e5 operations
#: behind a loss; the errors mostly average out, and Adam's division by sqrt(v) can magnify those
#: of tiny gradients. A wrong mask, target, mean or bias correction shows at 1e-3 and above.
LOSS_TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
#: Error of a derivative relative to the largest entry, float64.
DERIVATIVE_TOLERANCE = 1e-10


def check_losses(
    contender: str, dtype: str, before: np.ndarray, mine: np.ndarray, theirs: np.ndarray
) -> None:
    """Losses of all networks after the same steps agree, and differ from those before.

    Args:
        contender: for the message.
        dtype: of the arithmetic.
        before: edt's losses before the first step.
        mine, theirs: losses after the steps.
    """
    tolerance = LOSS_TOLERANCE[dtype]
    moved = float(np.abs(mine / before - 1).max())
    assert moved > 20 * tolerance, f"the steps moved losses by {moved:.1e}: too little to compare"
    error = float(np.abs(theirs / mine - 1).max())
    assert error <= tolerance, f"{contender}: losses differ from edt's by {error:.1e} (relative)"


def check_derivative(contender: str, mine: np.ndarray, theirs: np.ndarray) -> None:
    """Second derivatives agree."""
    assert mine.shape == theirs.shape, f"{contender}: shape {theirs.shape}, edt has {mine.shape}"
    error = float(np.abs(theirs - mine).max() / np.abs(mine).max())
    assert error <= DERIVATIVE_TOLERANCE, f"{contender}: differs from edt by {error:.1e} (relative)"
