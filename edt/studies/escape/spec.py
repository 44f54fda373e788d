"""What an escape experiment is."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from edt.errors import unknown_choice
from edt.landscape.grow import SHARES
from edt.studies.common.students import StudentSpec
from edt.studies.width.spec import check_widths


@dataclass(frozen=True)
class EscapeSpec(StudentSpec):
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

    widths: tuple[int, ...] = (2, 3, 4, 5, 6)
    minima: int = 3
    add: tuple[int, ...] = (1, 2, 4)
    shares: tuple[str, ...] = ("positive", "signed")
    copies: int = 1
    random: int = 4
    step: float = 1e-3
    descent_steps: int = 3000
    escape_lbfgs_steps: int = 2000
    escape_newton_steps: int = 100
    path_widths: tuple[int, ...] = (4, 8, 16)
    path_seeds: int = 4
    path_steps: int = 30_000
    path_lr: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths("add", self.add, least=1)
        check_widths("path_widths", self.path_widths, least=0)
        if not self.shares:
            raise ValueError("shares must hold at least one kind")
        for kind in self.shares:
            if kind not in SHARES:
                raise unknown_choice("shares", kind, SHARES)
        from_zero = ("random", "descent_steps", "escape_lbfgs_steps", "escape_newton_steps", "seed")
        students = {entry.name for entry in fields(StudentSpec)}
        own = [entry.name for entry in fields(self) if entry.name not in students]
        self.check_numbers(own, from_zero=from_zero)

    @property
    def path_records(self) -> list[int]:
        """Steps at which paths are looked at: 0, then about 20 for each factor of ten."""
        count = math.ceil(20 * math.log10(self.path_steps)) + 1
        grid = {round(10.0 ** (k / 20)) for k in range(count)}
        return sorted({0, self.path_steps} | {step for step in grid if step <= self.path_steps})
