"""What studies share whose parts give rows of one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import pandas as pd

from edt.runs.experiment import Experiment, Part, Parts
from edt.studies.common.spec_parts import TeacherSpec
from edt.studies.common.targets import teacher_task


@dataclass(repr=False)
class OneTable(Experiment):
    """A study with the table ``runs``: the rows of its parts, one below the other.

    A subclass has a spec, a plan, and the function that gives the rows of a part.
    """

    names: ClassVar[tuple[str, ...]] = ("runs",)
    #: Of the spec, what is learned (unless that is None), and the part's key.
    rows: ClassVar[Callable[..., Any]]

    @classmethod
    def data(cls, spec: Any) -> Any:
        """What is learned: of studies of teachers and students these teachers."""
        return teacher_task(spec) if isinstance(spec, TeacherSpec) else None

    @classmethod
    def measure(cls, spec: Any, parts: Parts) -> dict[str, pd.DataFrame]:
        """The table."""
        task = cls.data(spec)
        given = (spec,) if task is None else (spec, task)
        return {"runs": parts.table(partial(cls.rows, *given))}


class _Widths(Protocol):
    @property
    def widths(self) -> Sequence[int]: ...


def targets_and_widths(
    name: str,
    spec: _Widths,
    targets: int,
    text: str,
    cost: Callable[[int], float],
    columns: Mapping[str, str] | None = None,
    stage: str = "",
) -> list[Part]:
    """One part a target and width, with these as its key.

    Args:
        name: that names of the parts begin with.
        spec: the widths.
        targets: how many there are.
        text: what each does.
        cost: of a width.
        columns: of the main table.
        stage: as of `Part`; "": the text.
    """
    return [
        Part(
            f"{name}-{target:02d}-width-{width:04d}",
            f"target {target + 1}, width {width}: {text}",
            float(cost(width)),
            stage or text,
            (target, width),
            columns=columns,
        )
        for target in range(targets)
        for width in spec.widths
    ]
