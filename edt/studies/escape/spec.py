"""What an escape experiment is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from edt.landscape.grow import SHARES
from edt.runs.values import Budget, Count, FewWidths, Listed, OneOf, Positive, Widths
from edt.studies.common.spec_parts import Seeded, SplitBudget, StudentSpec


@dataclass(frozen=True)
class EscapeSpec(Seeded, SplitBudget, StudentSpec, widths=(2, 3, 4, 5, 6), escape_newton_steps=100):
    """Students whose bad minima are embedded and left, and students followed by descent.

    Attributes:
        minima: at most this many distinct bad minima per (target, width), the commonest first.
        add: neurons added.
        shares: output shares of the copies: "equal", "positive", "signed".
        copies: embeddings of each minimum for each of these.
        random: random starts from each point, besides both signs of every negative direction.
        step: length of the perturbations, as a share of ``|theta|``.
        descent_steps: of gradient descent from each start, to see how long an escape takes.
        escape_lbfgs_steps, escape_newton_steps: budget of the way to the bottom.
        path_widths: widths whose students are followed by plain gradient descent from their random
            start; empty for none.
        path_seeds: students per (target, path width).
        path_steps, path_lr: of that descent.
        seed: of embeddings and random directions.
    """

    minima: Count = 3
    add: Widths = (1, 2, 4)
    shares: Annotated[tuple[str, ...], Listed(OneOf(SHARES))] = ("positive", "signed")
    copies: Count = 1
    random: Budget = 4
    step: Positive = 1e-3
    descent_steps: Budget = 3000
    path_widths: FewWidths = (4, 8, 16)
    path_seeds: Count = 4
    path_steps: Count = 30_000
    path_lr: Positive = 0.05

    @property
    def path_records(self) -> list[int]:
        """Steps at which paths are looked at: 0, then about 20 for each factor of ten."""
        count = math.ceil(20 * math.log10(self.path_steps)) + 1
        grid = {round(10.0 ** (k / 20)) for k in range(count)}
        return sorted({0, self.path_steps} | {step for step in grid if step <= self.path_steps})
