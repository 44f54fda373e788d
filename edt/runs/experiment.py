"""What every experiment shares: a spec with a name of its own, parts on disk, tables at the end."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeVar

import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.errors import unknown_choice
from edt.frames import Tabular
from edt.places import Folder, Location, place
from edt.runs.progress import Tracker, tracker
from edt.runs.store import (
    MARKER,
    DirectoryError,
    PartFiles,
    Store,
    note_start,
    read_marker,
    read_whole,
    write_whole,
)

S = TypeVar("S", bound="Spec")
E = TypeVar("E", bound="Experiment")


@dataclass(frozen=True)
class Spec:
    """Every number an experiment's tables depend on, and nothing else.

    Subclasses are frozen dataclasses whose fields are numbers, strings or tuples of them.
    """

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields; tuples become lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
        """The inverse of `to_dict`; what is left out takes its default.

        Raises:
            ValueError: an unknown field, or a value out of range.
        """
        names = [entry.name for entry in fields(cls)]
        for name in values:
            if name not in names:
                raise unknown_choice("field", name, names)
        return cls(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in values.items()
            }
        )

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name this spec: SHA-256 of its canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Part:
    """A piece of an experiment that is done whole or not at all.

    Attributes:
        name: of its files.
        text: what it does, for the progress bar.
        cost: predicted, in any unit that all parts of the experiment share.
        stage: what it belongs to; its time is booked under it.
        key: arguments of the function that computes it.
    """

    name: str
    text: str
    cost: float
    stage: str
    key: tuple[Any, ...] = ()


@dataclass(repr=False)
class Experiment(Tabular):
    """A finished experiment: its spec and its tables.

    Attributes:
        spec: what was run.
        tables: one row a run, or a ticket; what else there is follows from them.
        seconds: wall-clock time of each stage of this process (not part of the result).
        path: directory that holds it, or None.
    """

    kind: ClassVar[str] = ""
    spec_type: ClassVar[type[Spec]] = Spec
    names: ClassVar[tuple[str, ...]] = ()
    main: ClassVar[str] = "runs"

    spec: Any
    tables: dict[str, pd.DataFrame]
    seconds: dict[str, float] = field(default_factory=dict)
    path: Folder | None = None

    def to_pandas(self) -> pd.DataFrame:
        """A copy of the main table, one row a run."""
        return self.tables[self.main].copy()

    @staticmethod
    def plan(spec: Any) -> list[Part]:
        """Every part of the experiment, in order: a function of the spec alone."""
        raise NotImplementedError

    @classmethod
    def load(cls: type[E], path: Location) -> E:
        """Read a finished experiment from its directory.

        Raises:
            DirectoryError: not the directory of such an experiment.
            CheckpointError: a table is missing (it is unfinished) or corrupted.
        """
        folder = place(path)
        spec = cls.spec_of(folder)
        return cls(
            spec=spec,
            tables={name: read_whole(folder, name) for name in cls.table_names(spec)},
            path=folder,
        )

    @classmethod
    def table_names(cls, spec: Any) -> tuple[str, ...]:
        """Names of the tables of a finished run."""
        return cls.names

    @staticmethod
    def trainings(spec: Any) -> int | None:
        """Runs of a sweep; None for experiments, whose parts are not alike."""
        return None

    @classmethod
    def spec_of(cls, folder: Folder) -> Any:
        """The spec of the run in a directory.

        Raises:
            DirectoryError: not the directory of such an experiment, or its spec is not valid.
        """
        found = read_marker(folder)
        if found is None or found.get("kind") != cls.kind:
            raise DirectoryError(f"{folder} is not the directory of a {cls.kind} run")
        try:
            return cls.spec_type.from_dict(found["identity"]["spec"])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise DirectoryError(f"{folder / MARKER}: not a valid spec ({error})") from None

    def summary(self) -> dict[str, pd.DataFrame]:
        """The tables that a person looks at first, by title."""
        return {}

    def __repr__(self) -> str:
        rows = ", ".join(f"{len(table):,} {name}" for name, table in self.tables.items())
        return f"{type(self).__name__}({rows})"


#: What computes a part: its table, with its networks where they are kept.
Made = pd.DataFrame | tuple[pd.DataFrame, Ensemble]


class Parts:
    """Runs the parts of a plan one after another, or reads them where they are done.

    Args:
        plan: every part.
        folder: directory of the run, or None to keep everything in memory.
        bar: shows progress.
        digest: of the spec; parts of another run count as not done.
    """

    def __init__(
        self, plan: list[Part], folder: Folder | None, bar: Tracker, digest: str = ""
    ) -> None:
        self.left = {part.name: part for part in plan}
        self.files = None if folder is None else PartFiles(folder)
        self.seconds: dict[str, float] = {}
        self._bar, self._digest = bar, digest
        self._networks: dict[str, Ensemble] = {}

    def run(self, work: Callable[..., Made], *stages: str) -> list[pd.DataFrame]:
        """Tables of the parts of some stages, in the order of the plan.

        Args:
            work: called with the key of each part that is not done.
            stages: which ones; none given: all.

        Raises:
            KeyboardInterrupt: Ctrl-C; finished parts are kept.
        """
        chosen = [part for part in self.left.values() if not stages or part.stage in stages]
        return [self._one(part, work) for part in chosen]

    def networks(self, name: str) -> Ensemble:
        """Networks of a part that is done."""
        return self._networks[name] if self.files is None else self.files.networks(name)

    def _one(self, part: Part, work: Callable[..., Made]) -> pd.DataFrame:
        del self.left[part.name]
        self._bar.now(part.text)
        if self.files is not None and self.files.whole(part.name, self._digest) is not None:
            table = self.files.table(part.name)
        else:
            clock = time.monotonic()
            table = self._make(part, work)
            spent = self.seconds.get(part.stage, 0.0)
            self.seconds[part.stage] = spent + time.monotonic() - clock
        self._bar.done(part.cost)
        return table

    def _make(self, part: Part, work: Callable[..., Made]) -> pd.DataFrame:
        if self.files is not None:
            self.files.discard(part.name)
        clock = time.monotonic()
        try:
            made = work(*part.key)
            table, networks = made if isinstance(made, tuple) else (made, None)
            if self.files is not None:
                self.files.write(
                    part.name,
                    {"": table},
                    networks,
                    cost=part.cost,
                    seconds=time.monotonic() - clock,
                    threads=torch.get_num_threads(),
                    spec=self._digest,
                )
            elif networks is not None:
                self._networks[part.name] = networks
        except Exception as error:
            if self.files is not None:
                self.files.fail(part.name, error)
            raise
        return table


def run_experiment(
    result: type[E],
    spec: Spec,
    directory: Location | None,
    body: Callable[[Parts], dict[str, pd.DataFrame]],
    *,
    fresh: bool,
    progress: bool,
) -> E:
    """Run an experiment, or what is left of it, in its directory.

    Args:
        result: what to return.
        spec: what to run; a directory is resumed only under the same spec and version.
        directory: where to keep parts and tables; None keeps them in memory only.
        body: runs all parts of the plan and makes the tables.
        fresh: delete an earlier edt run in the directory first.
        progress: show a progress bar on a terminal.

    Raises:
        DirectoryError: the directory holds something else, or is in use.
        KeyboardInterrupt: Ctrl-C; finished parts are kept.
    """
    from edt import __version__

    plan = result.plan(spec)
    identity = {"spec": spec.to_dict(), "edt": __version__}
    context = (
        nullcontext() if directory is None else Store(directory, result.kind, identity, fresh=fresh)
    )
    with context as store, tracker(progress, sum(part.cost for part in plan)) as bar:
        folder = None if store is None else store.path
        if folder is not None:
            note_start(folder, 1, "local", {})
        parts = Parts(plan, folder, bar, spec.digest)
        tables = body(parts)
        if parts.left:
            raise RuntimeError(f"parts of the plan were not run: {list(parts.left)}")
        done = result(spec, tables, parts.seconds, folder)
        if folder is not None and store is not None:
            store.check()
            facts = {"spec_digest": spec.digest, "kind": result.kind}
            write_whole(folder, tables, [part.name for part in plan], facts)
    return done
