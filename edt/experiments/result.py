"""What a width sweep returns: two tables, and the tables that follow from them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from edt.ensemble import Ensemble
from edt.experiments.levels import level_table, outcome_table
from edt.experiments.lottery import success_table
from edt.experiments.spec import WidthSweepSpec
from edt.experiments.splits import split_table
from edt.experiments.store import PARTS, DirectoryError, read_marker, read_table, write_table
from edt.experiments.width_models import compare_models
from edt.frames import Tabular
from edt.success import Comparison

KIND = "width-sweep"
RUNS = "runs.parquet"
SPLITS = "splits.parquet"


def part_name(target: int, width: int) -> str:
    """Name of the part that holds one (target, width)."""
    return f"target-{target:02d}-width-{width:04d}"


@dataclass
class WidthSweep(Tabular):
    """A finished width sweep.

    Attributes:
        spec: what was run.
        runs: one row a network; see `edt.experiments.runs.COLUMNS`.
        splits: one row a split network; see `edt.experiments.splits.COLUMNS`.
        seconds: wall-clock time of each stage of this process (not part of the result).
        path: directory that holds it, or None.
    """

    spec: WidthSweepSpec
    runs: pd.DataFrame
    splits: pd.DataFrame
    seconds: dict[str, float] = field(default_factory=dict)
    path: Path | None = None

    def to_pandas(self) -> pd.DataFrame:
        """A copy of ``runs``."""
        return self.runs.copy()

    def success(self, conf: float = 0.95) -> pd.DataFrame:
        """Success rates, lottery predictions, effective tickets: see `success_table`."""
        return success_table(self.runs, self.spec.reference_width, conf)

    def levels(self) -> pd.DataFrame:
        """Distinct loss levels of bad minima per (target, width): see `level_table`."""
        return level_table(self.runs)

    def outcomes(self) -> pd.DataFrame:
        """Runs of each outcome per width: see `outcome_table`."""
        return outcome_table(self.runs)

    def escapes(self) -> pd.DataFrame:
        """What splitting did, per width and share mu: see `split_table`."""
        return split_table(self.splits)

    def models(self, draws: int = 0) -> Comparison | None:
        """Laws of width fitted and compared: see `edt.success.compare`.

        Args:
            draws: resamples that say how sure the choice is (0: leave it out).

        Returns:
            `edt.success.Comparison`; None where fewer than two widths are at least r.
        """
        return compare_models(self.success(), self.splits, self.spec.reference_width, draws)

    def networks(self, target: int, width: int) -> Ensemble:
        """The trained networks of one (target, width), in the order of ``runs``.

        Raises:
            ValueError: the sweep was run without a directory.
            CheckpointError: their file is missing or corrupted.
        """
        if self.path is None:
            raise ValueError("the networks are kept only by sweeps that have a directory")
        return Ensemble.load(self.path / PARTS / f"{part_name(target, width)}.safetensors")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``runs.parquet`` and ``splits.parquet`` (each whole or not at all)."""
        write_table(Path(path) / RUNS, self.runs)
        write_table(Path(path) / SPLITS, self.splits)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WidthSweep:
        """Read a finished sweep from its directory.

        Raises:
            DirectoryError: not the directory of a width sweep.
            CheckpointError: a table is missing (the sweep is unfinished) or corrupted.
        """
        folder = Path(path)
        found = read_marker(folder)
        if found is None or found.get("kind") != KIND:
            raise DirectoryError(f"{folder} is not the directory of a width sweep")
        return cls(
            spec=WidthSweepSpec.from_dict(found["identity"]["spec"]),
            runs=read_table(folder / RUNS),
            splits=read_table(folder / SPLITS),
            path=folder,
        )

    def __repr__(self) -> str:
        good = int(self.runs["outcome"].eq("good").sum())
        return (
            f"WidthSweep({self.spec.task}: {len(self.runs)} networks, {good} good; "
            f"{len(self.splits)} splits)"
        )
