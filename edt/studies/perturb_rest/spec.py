"""What a perturb-rest experiment is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.errors import unknown_choice
from edt.lottery.perturbations import check_sizes
from edt.studies.common.teachers import TeacherSpec

TASKS = ("teacher-student",)
TICKETS = ("matched", "planted", "magnitude")


@dataclass(frozen=True)
class PerturbRestSpec(TeacherSpec):
    """Winning tickets, and many rests around each: does the ticket still win?

    Attributes:
        task: "teacher-student".
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

    task: str = "teacher-student"
    ticket: str = "matched"
    width: int = 8
    tickets: int = 20
    rests: int = 200
    change: str = "resample"
    sizes: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    candidates: int = 40
    random_rests: int = 40
    losers: int = 10
    loser_rests: int = 40
    bisections: int = 6
    radii: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    population: int = 24
    generations: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (("task", TASKS), ("ticket", TICKETS)):
            value = getattr(self, name)
            if value not in allowed:
                raise unknown_choice(name, value, list(allowed))
        object.__setattr__(self, "sizes", check_sizes(self.change, tuple(self.sizes), "change"))
        if list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError(f"sizes must be rising and distinct, got {list(self.sizes)}")
        radii = tuple(self.radii)
        object.__setattr__(self, "radii", check_sizes("noise", radii) if radii else ())
        if self.width <= self.teacher_width:
            raise ValueError(
                f"width must be above teacher_width ({self.teacher_width}) to leave a rest, got "
                f"{self.width}"
            )

    def _from_zero(self) -> tuple[str, ...]:
        return (
            *super()._from_zero(),
            "random_rests",
            "losers",
            "loser_rests",
            "bisections",
            "generations",
        )

    @property
    def trainings(self) -> int:
        """Perturbed networks around winning tickets."""
        return self.tickets * self.rests * len(self.sizes)
