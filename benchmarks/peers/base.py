"""What a peer is."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Training(Protocol):
    """Full-batch Adam on all networks of W."""

    def advance(self, steps: int) -> None:
        """Take optimiser steps and return when they are done."""

    def losses(self) -> np.ndarray:
        """Loss of every network at the current parameters, in the ensemble's order."""
