"""The symmetries of the activations, by name; see `edt.ensemble.symmetry`."""

from __future__ import annotations

from edt.ensemble import ACTIVATIONS
from edt.ensemble.symmetry import Reflection, Symmetry

__all__ = ["SYMMETRIES", "Reflection", "Symmetry"]

#: Symmetries of every activation; elu, selu and g have none.
SYMMETRIES: dict[str, Symmetry] = {
    name: activation.symmetry for name, activation in ACTIVATIONS.items()
}
