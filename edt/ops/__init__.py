"""Operators over ensembles: the road into the compiled core, and its plain PyTorch twin."""

from __future__ import annotations

from edt.ops import library as library  # registers the operators
from edt.ops.activations import ACTIVATION_CODES, ACTIVATION_FUNCTIONS

__all__ = ["ACTIVATION_CODES", "ACTIVATION_FUNCTIONS"]
