"""The census: how many different minima each width has, and how many of them are bad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from edt.landscape import (
    Census,
    Core,
    Tolerances,
    basin_table,
    census,
    census_table,
    dominance_table,
    minimum_table,
    prediction_table,
)
from edt.places import Location
from edt.runs.experiment import Experiment, Part, Parts, run_experiment
from edt.studies.common.students import StudentSpec, train_students
from edt.studies.common.targets import make_task
from edt.studies.common.teachers import positive
from edt.studies.width.result import training_plan


@dataclass(frozen=True)
class CensusSpec(StudentSpec):
    """Students, and what counts as the same minimum.

    Attributes:
        level, function, parameters, reduction: as in `edt.landscape.Tolerances`.
    """

    level: float = 1e-6
    function: float = 1e-5
    parameters: float = 1e-3
    reduction: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("level", "function", "parameters", "reduction"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))

    @property
    def tolerances(self) -> Tolerances:
        """What counts as equal."""
        return Tolerances(self.level, self.function, self.parameters, self.reduction)


@dataclass(repr=False)
class CensusRun(Experiment):
    """A finished census.

    Tables: ``students`` (one row a network: training and curvature), ``runs`` (the same networks
    sorted: level, function, core, minimum; see `edt.landscape.Census`), ``minima`` (one row a
    distinct minimum) and ``gaps`` (how far the tolerances are from a doubt).
    """

    kind: ClassVar[str] = "census"
    spec_type: ClassVar[type[StudentSpec]] = CensusSpec
    names: ClassVar[tuple[str, ...]] = ("students", "runs", "minima", "gaps")

    @staticmethod
    def plan(spec: CensusSpec) -> list[Part]:
        """The students; then they are sorted."""
        return [
            *training_plan(spec.sweep),
            Part("sorted", "sort the minima", float(spec.networks), "sort"),
            Part("gaps", "gaps of the tolerances", 0.0, "gaps"),
        ]

    @property
    def census(self) -> Census:
        """The census as the library returns it, without the cores."""
        runs, gaps = self.tables["runs"], self.tables["gaps"]
        between = {
            str(row["of"]): (float(row["joined"]), float(row["parted"]))
            for row in gaps.to_dict("records")
        }
        cores: list[Core | None] = [None] * len(runs)
        return Census(runs, self.tables["minima"], cores, self.spec.tolerances, between)

    def table(self, conf: float = 0.95) -> pd.DataFrame:
        """Per target and width: see `edt.landscape.census_table`."""
        return census_table(self.tables["runs"], conf)

    def pooled(self, conf: float = 0.95) -> pd.DataFrame:
        """Of `table`, one row a width: all targets together."""
        table = self.table(conf)
        many = self.tables["runs"]["target"].nunique() > 1
        return table[table["target"] == -1].reset_index(drop=True) if many else table

    def basins(self, conf: float = 0.95) -> pd.DataFrame:
        """Share of starts that each minimum drew: see `edt.landscape.basin_table`."""
        return basin_table(self.tables["runs"], conf)

    def prediction(self) -> pd.DataFrame | None:
        """Numbers of subspaces beside the measured shares, fed with the bad minima that were met.

        None on real data, where no width is known to reach loss 0.
        """
        if not self.spec.realisable:
            return None
        return prediction_table(self.tables["runs"], self.spec.teacher_width)

    def counting(self) -> pd.DataFrame | None:
        """The same numbers with one irreducible critical point of every width below r."""
        if not self.spec.realisable:
            return None
        return dominance_table(self.spec.teacher_width, self.spec.widths)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Shares and numbers per width, and the counting beside them."""
        names = ["width", "runs", "good", "bad", "open", "bad_share", "bad_share_boot_low",
                 "bad_share_boot_high", "distinct", "coverage", "chao1", "chao1_high"]  # fmt: skip
        found = {"census": self.pooled()[names]}
        prediction = self.prediction()
        if prediction is not None:
            found["counting_of_subspaces"] = prediction
        return found


def run_census(
    spec: CensusSpec,
    directory: Location | None = None,
    *,
    fresh: bool = False,
    progress: bool = True,
) -> CensusRun:
    """Train students of many widths to the bottom and count the different minima they end in.

    Args:
        spec: what to run.
        directory: where to keep parts, networks and tables; None keeps them in memory only.
        fresh: delete an earlier edt run in the directory first.
        progress: show a progress bar on a terminal.

    Returns:
        `CensusRun`. Equal specs give equal tables, bit for bit, on any number of threads and with
        any interruptions.

    Raises:
        DirectoryError: the directory holds something else, or is in use.
        KeyboardInterrupt: Ctrl-C; finished parts are kept.

    Example:
        >>> run_census(CensusSpec(widths=(2, 4), seeds=8)).table()  # doctest: +SKIP
    """
    task = make_task(spec.sweep)

    def body(parts: Parts) -> dict[str, pd.DataFrame]:
        students, minima = train_students(spec, task, parts)
        found: list[Census] = []

        def once() -> Census:
            if not found:
                found.append(census(task, minima, spec.tolerances))
            return found[0]

        def sort() -> pd.DataFrame:
            runs = once().runs.drop(columns="widths")
            return runs.assign(seed=students["seed"].to_numpy())

        def gaps() -> pd.DataFrame:
            rows = once().gaps.items()
            return pd.DataFrame(
                [
                    {
                        "of": name,
                        "tolerance": getattr(spec, name),
                        "joined": joined,
                        "parted": parted,
                    }
                    for name, (joined, parted) in rows
                ]
            )

        (runs,), (between,) = parts.run(sort, "sort"), parts.run(gaps, "gaps")
        return {
            "students": students,
            "runs": runs,
            "minima": minimum_table(runs),
            "gaps": between,
        }

    return run_experiment(CensusRun, spec, directory, body, fresh=fresh, progress=progress)
