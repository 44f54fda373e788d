"""The census: how many different minima each width has, and how many of them are bad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from edt.landscape import (
    Census,
    Core,
    Minima,
    basin_table,
    census,
    census_table,
    dominance_table,
    minimum_table,
    prediction_table,
)
from edt.runs.experiment import Part, Parts
from edt.show.words import ranges
from edt.studies.census.spec import CensusSpec
from edt.studies.common.spec_parts import StudentSpec
from edt.studies.common.students import StudentRun
from edt.tasks import Task
from edt.training.channels import ODD


@dataclass(repr=False)
class CensusRun(StudentRun):
    """Train students of many widths to the bottom and count the different minima they end in.

    Tables: ``students`` (one row a network: training and curvature), ``runs`` (the same networks
    sorted: level, function, core, minimum; see `edt.landscape.Census`), ``minima`` (one row a
    distinct minimum) and ``gaps`` (how far the tolerances are from a doubt).

    Example:
        >>> run_census(CensusSpec(widths=(2, 4), seeds=8)).table()  # doctest: +SKIP
    """

    kind: ClassVar[str] = "census"
    spec_type: ClassVar[type[StudentSpec]] = CensusSpec
    names: ClassVar[tuple[str, ...]] = ("students", "runs", "minima", "gaps")

    @classmethod
    def then(cls, spec: CensusSpec) -> list[Part]:
        """They are sorted."""
        tables = ("runs", "gaps")
        return [Part("sorted", "sort the minima", float(spec.networks), "sort", tables=tables)]

    @classmethod
    def headline(cls, spec: CensusSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.networks:,} students of widths {ranges(spec.widths)}"

    @classmethod
    def follow(
        cls, spec: CensusSpec, task: Task, students: pd.DataFrame, minima: Minima, parts: Parts
    ) -> dict[str, pd.DataFrame]:
        """Every minimum sorted."""

        def sort() -> dict[str, pd.DataFrame]:
            found = census(task, minima, spec.tolerances)
            runs = found.runs.drop(columns="widths").assign(seed=students["seed"].to_numpy())
            gaps = [
                {"of": name, "tolerance": getattr(spec, name), "joined": joined, "parted": parted}
                for name, (joined, parted) in found.gaps.items()
            ]
            return {"runs": runs, "gaps": pd.DataFrame(gaps)}

        (found,) = parts.run(sort, "sort")
        return {
            "runs": found["runs"],
            "minima": minimum_table(found["runs"]),
            "gaps": found["gaps"],
        }

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

    def pooled(self, table: pd.DataFrame | None = None) -> pd.DataFrame:
        """Of `table` (made anew if not given), one row a width: all targets together."""
        table = self.table() if table is None else table
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
        odd = self.spec.activation in ODD
        return prediction_table(self.tables["runs"], self.spec.teacher_width, odd=odd)

    def counting(self) -> pd.DataFrame | None:
        """The same numbers with one irreducible critical point of every width below r."""
        if not self.spec.realisable:
            return None
        odd = self.spec.activation in ODD
        return dominance_table(self.spec.teacher_width, self.spec.widths, odd=odd)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Shares and numbers per width, and the counting beside them."""
        names = ["width", "runs", "good", "bad", "open", "bad_share",
                 "bad_share_spread_low", "bad_share_spread_high", "distinct", "coverage", "chao1",
                 "chao1_low", "chao1_high"]  # fmt: skip
        found = {"census": self.pooled()[names]}
        prediction = self.prediction()
        if prediction is not None:
            found["counting_of_subspaces"] = prediction
        return found


#: Runs it, or what is left of it: `edt.runs.experiment.Experiment.run`.
run_census = CensusRun.run
