"""What a width sweep is: every number that its tables depend on, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edt.limits import integer_list
from edt.runs.values import Budget, Count, FewWidths, Positive
from edt.studies.common.spec_parts import FirstSeed, SplitBudget, StudentSpec


@dataclass(frozen=True)
class WidthSweepSpec(
    SplitBudget,
    FirstSeed,
    StudentSpec,
    widths=tuple(range(2, 17)),
    seeds=100,
    teachers=3,
    d_in=2,
    samples=256,
    steps=3000,
    lr=0.01,
    lbfgs_steps=1000,
    newton_steps=60,
):
    """A width sweep: targets x widths x seeds, trained and converged, then split.

    Two equal specs give the same tables, bit for bit, on any number of threads and with any
    interruptions. The fields are the command line's options and are written beside the results.

    Attributes:
        task: "teacher_student" (students learn random teacher networks: loss 0 is possible),
            "rosenbrock" (the modified Rosenbrock function on a square grid: it is not) or
            "diabetes" (scikit-learn's 442 patients, inputs and target standardised: nor is it); or
            data of your own, as `edt.SweepSpec` takes them: a file, "module:function" or an
            `edt.Task`.
        seeds: networks per (target, width); seed s gives the same start whatever else is run.
        teacher_width: hidden neurons of each teacher.
        reference_width: r, the width whose success rate is the price of one lottery ticket.
        samples: of teachers; for "rosenbrock" the square of the grid's points per axis.
        init: initialisation scheme of `edt.Ensemble.init`; init_scale multiplies it.
        fixed_scale: start every student at the scale the scheme gives to width r, so that any r
            neurons of a wide student are distributed like a student of width r. That is what the
            lottery presumes; schemes shrink with width otherwise.
        split_widths: widths whose bad minima are split.
        split_levels: at most this many loss levels per (target, width), the commonest first.
        mus: output shares (mu, 1 - mu) of the two copies.
    """

    reference_width: Count = 4
    init_scale: Positive = 1.0
    fixed_scale: bool = True
    split_widths: FewWidths = (2, 3, 4, 5, 6)
    split_levels: Budget = 12
    mus: tuple[float, ...] = (0.5, 1.5)

    def check(self) -> None:
        super().check()
        for mu in self.mus:
            if not math.isfinite(mu) or mu in (0.0, 1.0):
                raise ValueError(f"mus must be finite and neither 0 nor 1, got {mu}")


def parse_widths(text: str) -> tuple[int, ...]:
    """Widths from text: ``"2..16"`` or ``"2-16"``, ``"2,3,4,8"``, ``"2..6,8,12"``, ``"2..16:2"``.

    Raises:
        ValueError: not of that form; the message shows it.

    Example:
        >>> parse_widths("2..4,8")
        (2, 3, 4, 8)
    """
    return integer_list(
        text, "widths", "2..16, 2,3,4,8 or 2..16:2", "rising and at least 1", least=1
    )


def format_widths(widths: Sequence[int]) -> str:
    """Short text of a rising list of widths; the inverse of `parse_widths`.

    Example:
        >>> format_widths((2, 3, 4, 8))
        '2..4,8'
    """
    parts: list[str] = []
    run: list[int] = []
    for width in [*widths, None]:
        if width is not None and (not run or width == run[-1] + 1):
            run.append(width)
            continue
        if len(run) > 2:
            parts.append(f"{run[0]}..{run[-1]}")
        else:
            parts += [str(w) for w in run]
        run = [] if width is None else [width]
    return ",".join(parts)
