"""The symmetries of the activations, by name; see `edt.ensemble.symmetry`."""

from __future__ import annotations

from dataclasses import replace

from edt.ensemble import ACTIVATIONS
from edt.ensemble.symmetry import Reflection, Symmetry
from edt.landscape.layers import Layer

__all__ = ["SYMMETRIES", "Reflection", "Symmetry", "unit_symmetry"]

#: Symmetries of every activation; elu, selu and g have none.
SYMMETRIES: dict[str, Symmetry] = {
    name: activation.symmetry for name, activation in ACTIVATIONS.items()
}


def unit_symmetry(activation: str, following: Layer) -> Symmetry:
    """Symmetries of units that the given layer reads.

    A channel's maxima tell it from its mirror image, and margins of zeros from one that is larger
    by a constant.
    """
    found = SYMMETRIES[activation]
    if following.kinked:
        return replace(found, reflection=None, half_period=None)
    if following.margins and found.reflection is not None and found.reflection.offset != 0.0:
        return replace(found, reflection=None)
    return found
