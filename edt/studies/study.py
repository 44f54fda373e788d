"""A study's record: what the command, the report, resume and export need to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edt.runs.experiment import Experiment
    from edt.show.columns import Terms

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """What there is to know of a study without importing it.

    Attributes:
        kind: its name: of its command, and in the directories of its runs.
        question: what it asks, in a sentence: the first line of the command's help.
        about: how it is answered.
        result: its `Experiment`, a class in ``run.py``.
        page: the function in ``page.py`` that writes the report.
        flags: fields of the spec that are options of the command; ``--set`` reaches the others.
        examples: command lines besides ``--quick``, and what they are for.
        quick, full: fields that ``--quick`` and ``--full`` set; empty: there is no such flag.
        variants: field to its values to fields that such a value sets, over those of ``quick``.
        quick_variants: what ``--quick`` sets over those, by the same; "" is any value.
        shows: the function in ``terminal.py`` that prints a result; "": its summary is printed.
        nets: kind of the study of networks of modules that ``--net`` asks for instead; "": none.
        folder: its folder in `edt.studies`; "": that of its kind.
    """

    kind: str
    question: str
    about: str
    result: str
    page: str
    flags: tuple[str, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    quick: Values = field(default_factory=dict)
    full: Values = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Values]] = field(default_factory=dict)
    quick_variants: Mapping[str, Mapping[str, Values]] = field(default_factory=dict)
    shows: str = ""
    nets: str = ""
    folder: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.folder or self.kind.replace("-", "_"))

    def of(self, module: str, name: str) -> Any:
        """Something in a file of the study's folder."""
        return getattr(import_module(f"edt.studies.{self.folder}.{module}"), name)

    @property
    def terms(self) -> Terms:
        """Words for what its tables hold: ``TERMS`` of its ``panels.py``, if there is one."""
        from edt.show.columns import Terms

        panels = import_module(f"edt.studies.{self.folder}.panels")
        return getattr(panels, "TERMS", Terms())

    @property
    def experiment(self) -> type[Experiment]:
        """What its directories are read as, and what runs it."""
        found: type[Experiment] = self.of("run", self.result)
        return found

    def spec(
        self, task: Any = None, *, quick: bool = False, full: bool = False, **changes: Any
    ) -> Any:
        """The spec of ``edt run``.

        Args:
            task: of studies that have several: a name, or data of one's own.
            quick: seconds instead of minutes; the numbers are then too few to mean much.
            full: hours, where the study has such a size.
            changes: fields to set; those that are None are left alone.

        Raises:
            ValueError, TypeError: unknown task or field, or a value out of range.
        """
        from edt.tasks.task_tables import named  # heavy

        if quick and full:
            raise ValueError("--quick and --full exclude each other")
        made = self.experiment.spec_type
        given = {name: value for name, value in changes.items() if value is not None}
        if task is not None:
            given["task"] = named(task)
        chosen = {"task": getattr(made, "task", None), **given}
        values: dict[str, Any] = dict(self.quick if quick else self.full if full else {})
        for layer in (self.variants, self.quick_variants if quick else {}):
            for name, cases in layer.items():
                found = {**cases.get("", {}), **cases.get(_case(chosen.get(name)), {})}
                values |= found
                if found.get("teachers") == 1 and given.get("teachers", 1) != 1:
                    raise ValueError("teachers is for teacher_student, not for other tasks")
        return made.from_dict({**values, **given})


def _case(value: Any) -> str:
    """Which case of ``variants`` a value is; data of one's own start as other real data do."""
    from edt.tasks.task_tables import as_table  # heavy

    if value is None or (isinstance(value, str) and "name" in as_table(value)):
        return str(value)
    return "diabetes"
