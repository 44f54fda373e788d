"""What a perturb-rest experiment is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from edt.lottery.perturbations import check_sizes
from edt.runs.values import Budget, Count, OneOf
from edt.studies.common.spec_parts import Changes, FromTeachers, TeacherSpec

TICKETS = ("matched", "planted", "magnitude")


@dataclass(frozen=True)
class PerturbRestSpec(Changes, FromTeachers, TeacherSpec, sizes=(0.25, 0.5, 0.75, 1.0)):
    """Winning tickets, and many rests around each: does the ticket still win?

    Attributes:
        ticket: how tickets are found. "matched": the r neurons of a winning student that end as
            the teacher's. "planted": a student of width r that wins, set into a wider one.
            "magnitude": what iterative magnitude pruning with rewinding leaves of a winning
            student, the sparsest that still wins.
        width: m, hidden neurons of the students.
        tickets: winning tickets, shared out among the teachers.
        rests: changed rests per ticket and size.
        change: kind of change, see `edt.lottery.perturb_rest`. "resample" keeps the scale of the
            rest: at size 1 it is a fresh draw; "noise" also makes it larger.
        sizes: of the change.
        candidates: students trained per teacher to find tickets among.
        random_rests: rests per ticket and size around as many parameters of the same network
            chosen at random, the control.
        losers: tickets of losing students, for the converse: does another rest make them win?
        loser_rests: rests per losing ticket and size.
        bisections: halvings in the search for the smallest change that makes a ticket fail.
        radii: radii of the ball, relative to the rest, in which adversarial rests are sought;
            empty: none are sought.
        population, generations: of the evolutionary search for adversarial rests.
    """

    ticket: Annotated[str, OneOf(TICKETS)] = "matched"
    width: Count = 8
    tickets: Count = 20
    rests: Count = 200
    candidates: Count = 40
    random_rests: Budget = 40
    losers: Budget = 10
    loser_rests: Budget = 40
    bisections: Budget = 6
    radii: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    population: Count = 24
    generations: Budget = 4

    def check(self) -> None:
        super().check()
        radii = tuple(self.radii)
        object.__setattr__(self, "radii", check_sizes("noise", radii) if radii else ())
        if self.width <= self.teacher_width:
            raise ValueError(
                f"width must be above teacher_width ({self.teacher_width}) to leave a rest, got "
                f"{self.width}"
            )

    @property
    def trainings(self) -> int:
        """Perturbed networks around winning tickets."""
        return self.tickets * self.rests * len(self.sizes)
