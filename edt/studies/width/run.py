"""The width sweep: targets x widths x seeds, trained, converged, classified, then split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pandas as pd

from edt.ensemble import Ensemble
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.runs.store import PartFiles
from edt.show.words import ranges
from edt.studies.common.labelled_runs import PART_COLUMNS, label_runs, run_part
from edt.studies.common.levels import level_table, outcome_table
from edt.studies.common.spec_parts import StudentSpec
from edt.studies.common.success_table import success_table
from edt.studies.common.targets import make_task
from edt.studies.width.spec import WidthSweepSpec
from edt.studies.width.splits import empty_splits, split_part, split_table
from edt.tasks import Task

if TYPE_CHECKING:
    from edt.success import Comparison

#: Stages.
TRAINING, SPLITTING = "train and converge", "split and escape"
#: Share of a (target, width)'s training cost that splitting its bad minima is worth, for the time
#: left; measured on the demo, where only narrow widths are split.
SPLIT_COST = 0.5


def part_name(target: int, width: int) -> str:
    """Name of the part that holds one (target, width)."""
    return f"target-{target:02d}-width-{width:04d}"


def training_plan(spec: StudentSpec) -> list[Part]:
    """One part a (target, width): train, converge."""
    return [
        Part(
            part_name(target, width),
            f"{_target(spec, target)}width {width}: train, converge",
            _cost(spec, width),
            TRAINING,
            (target, width),
            rows=spec.seeds,
            columns=PART_COLUMNS,
        )
        for target in range(spec.targets)
        for width in spec.widths
    ]


@dataclass(repr=False)
class WidthSweep(Experiment):
    """Students of every width and seed learn every target, and are taken to the bottom.

    Full-batch Adam in the kernel, then `edt.converge` for those that have not reached the good
    loss; each run is good, a bad minimum, or without a verdict. Then every neuron of the bad
    minima of the narrow widths is split. Tables ``runs`` and ``splits``.

    Example:
        >>> sweep = width_sweep(WidthSweepSpec(widths=(2, 4), seeds=8))  # doctest: +SKIP
        >>> sweep.success()  # doctest: +SKIP
    """

    kind: ClassVar[str] = "width-sweep"
    spec_type: ClassVar[type[Spec]] = WidthSweepSpec
    names: ClassVar[tuple[str, ...]] = ("runs", "splits")

    @staticmethod
    def plan(spec: WidthSweepSpec) -> list[Part]:
        """Training of every (target, width), then the splits of the narrow ones."""
        splits = [
            Part(
                part_name(target, width) + "-splits",
                f"{_target(spec, target)}width {width}: split, escape",
                SPLIT_COST * _cost(spec, width),
                SPLITTING,
                (target, width),
            )
            for target in range(spec.targets)
            for width in spec.split_widths
            if width in spec.widths
        ]
        return training_plan(spec) + splits

    @classmethod
    def headline(cls, spec: WidthSweepSpec) -> str:
        """What is about to run, in a line."""
        targets = f"{spec.targets} teachers x " if spec.targets > 1 else ""
        return (
            f"{spec.networks:,} networks[/]: {targets}widths {ranges(spec.widths)} x "
            f"{spec.seeds} seeds, {spec.activation}, float64[bold]"
        )

    @classmethod
    def data(cls, spec: WidthSweepSpec) -> Task:
        """What is learned."""
        return make_task(spec)

    @classmethod
    def measure(cls, spec: WidthSweepSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """Every run with its label, and the splits of the bad minima among them."""
        task = cls.data(spec)
        runs = label_runs(spec, task, parts.run(partial(run_part, spec, task), TRAINING))

        def split(target: int, width: int) -> pd.DataFrame:
            rows = runs[(runs["target"] == target) & (runs["width"] == width)]
            if not rows["outcome"].eq("bad").any():
                return empty_splits()
            return split_part(spec, task, rows, parts.networks(part_name(target, width)))

        splits = parts.table(split, SPLITTING, empty=empty_splits())
        return {"runs": runs, "splits": splits}

    @property
    def runs(self) -> pd.DataFrame:
        """One row a network; see `edt.studies.common.labelled_runs.COLUMNS`."""
        return self.tables["runs"]

    @property
    def splits(self) -> pd.DataFrame:
        """One row a split network; see `edt.studies.width.splits.COLUMNS`."""
        return self.tables["splits"]

    def summary(self) -> dict[str, pd.DataFrame]:
        """Success against width, and what splitting did."""
        found = {"success": self.success(), "outcomes": self.outcomes()}
        return {**found, "splits": self.escapes()} if len(self.splits) else found

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

    def models(self, draws: int = 0, success: pd.DataFrame | None = None) -> Comparison | None:
        """Laws of width fitted and compared: see `edt.success.compare`.

        Args:
            draws: resamples that say how sure the choice is (0: leave it out).
            success: what `success` gave, where it was called before.

        Returns:
            `edt.success.Comparison`; None where fewer than two widths are at least r.
        """
        from edt.studies.common.width_models import compare_models

        table = self.success() if success is None else success
        return compare_models(table, self.splits, self.spec.reference_width, draws)

    def networks(self, target: int, width: int) -> Ensemble:
        """The trained networks of one (target, width), in the order of ``runs``.

        Raises:
            ValueError: the sweep was run without a directory.
            CheckpointError: their file is missing or corrupted.
        """
        if self.path is None:
            raise ValueError("the networks are kept only by sweeps that have a directory")
        found: Ensemble = PartFiles(self.path).networks(part_name(target, width))
        return found

    def results(self) -> dict[str, pd.DataFrame]:
        """The tables that ``--json`` prints."""
        found = self.models()
        laws = {} if found is None else {"models": found.table, "tests": found.tests}
        return {
            "success": self.success(),
            **laws,
            "levels": self.levels(),
            "outcomes": self.outcomes(),
            "splits": self.escapes(),
        }

    def __repr__(self) -> str:
        good = int(self.runs["outcome"].eq("good").sum())
        return (
            f"WidthSweep({self.spec.task}: {len(self.runs)} networks, {good} good; "
            f"{len(self.splits)} splits)"
        )


#: Runs it, or what is left of it: `edt.runs.experiment.Experiment.run`.
width_sweep = WidthSweep.run


def _target(spec: StudentSpec, target: int) -> str:
    return f"teacher {target + 1}, " if spec.realisable else ""


def _cost(spec: StudentSpec, width: int) -> float:
    """Predicted cost of one part, up to a factor: overhead plus neurons."""
    return spec.seeds * (2.0 + width)
