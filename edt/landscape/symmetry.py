"""What an activation's own symmetries do to a neuron ``a sigma(w.x + b)``.

Reflection: ``sigma(z) = slope z + offset + sign sigma(-z)`` turns (w, b, a) into
(-w, -b, sign a), leaving ``slope a (w.x + b) + offset a`` behind. Odd and even activations leave
nothing; sigmoid leaves a constant, which a bias takes; softplus, relu, leaky_relu, gelu and silu
leave a linear function, so their neurons can be turned only in groups whose linear parts cancel.

Scaling: ``sigma(c z) = c^degree sigma(z)`` for c > 0 turns (w, b, a) into
(c w, c b, a / c^degree).

Shift: ``sigma(z + half_period) = -sigma(z)`` turns (w, b, a) into (w, b + half_period, -a).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Reflection:
    """``sigma(z) = slope z + offset + sign sigma(-z)``."""

    slope: float
    offset: float
    sign: int


@dataclass(frozen=True)
class Symmetry:
    """Symmetries of one activation.

    Attributes:
        reflection: see the top of this file; None where there is none.
        degree: of positive homogeneity; None where there is none.
        half_period: see the top; None for all but sin.
        mixing: whole groups of neurons can be mixed by linear maps (identity, square), so that
            single neurons mean nothing.
    """

    reflection: Reflection | None = None
    degree: int | None = None
    half_period: float | None = None
    mixing: bool = False

    @property
    def free(self) -> bool:
        """Whether single neurons can be reflected, with at most a constant left behind."""
        return self.reflection is not None and self.reflection.slope == 0.0


_ODD, _EVEN = Reflection(0.0, 0.0, -1), Reflection(0.0, 0.0, 1)
_RAMP = Reflection(1.0, 0.0, 1)

#: Symmetries of every activation; elu, selu and g have none.
SYMMETRIES: dict[str, Symmetry] = {
    "identity": Symmetry(_ODD, degree=1, mixing=True),
    "relu": Symmetry(_RAMP, degree=1),
    "leaky_relu": Symmetry(Reflection(1.01, 0.0, 1), degree=1),
    "tanh": Symmetry(_ODD),
    "sigmoid": Symmetry(Reflection(0.0, 1.0, -1)),
    "softplus": Symmetry(_RAMP),
    "gelu": Symmetry(_RAMP),
    "silu": Symmetry(_RAMP),
    "elu": Symmetry(),
    "selu": Symmetry(),
    "erf": Symmetry(_ODD),
    "sin": Symmetry(_ODD, half_period=math.pi),
    "square": Symmetry(_EVEN, degree=2, mixing=True),
    "cube": Symmetry(_ODD, degree=3),
    "g": Symmetry(),
}
