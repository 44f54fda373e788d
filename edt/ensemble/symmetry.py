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

    @property
    def parity(self) -> str:
        """``"odd"``, ``"even"`` or ``""``: ``sigma(-z) = -sigma(z)``, ``sigma(z)`` or neither."""
        odd, even = Reflection(0.0, 0.0, -1), Reflection(0.0, 0.0, 1)
        return "odd" if self.reflection == odd else "even" if self.reflection == even else ""
