"""What every experiment shares: a spec with a name of its own, parts on disk, tables at the end."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pandas as pd

from edt.errors import unknown_choice
from edt.experiments.progress import tracker
from edt.experiments.store import DirectoryError, Store, read_marker, read_table, write_table
from edt.frames import Tabular

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
    path: Path | None = None

    def to_pandas(self) -> pd.DataFrame:
        """A copy of the main table, one row a run."""
        return self.tables[self.main].copy()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write every table as ``NAME.parquet``, each whole or not at all."""
        for name, table in self.tables.items():
            write_table(Path(path) / f"{name}.parquet", table)

    @classmethod
    def load(cls: type[E], path: str | os.PathLike[str]) -> E:
        """Read a finished experiment from its directory.

        Raises:
            DirectoryError: not the directory of such an experiment.
            CheckpointError: a table is missing (it is unfinished) or corrupted.
        """
        folder = Path(path)
        found = read_marker(folder)
        if found is None or found.get("kind") != cls.kind:
            raise DirectoryError(f"{folder} is not the directory of a {cls.kind} run")
        return cls(
            spec=cls.spec_type.from_dict(found["identity"]["spec"]),
            tables={name: read_table(folder / f"{name}.parquet") for name in cls.names},
            path=folder,
        )

    def summary(self) -> dict[str, pd.DataFrame]:
        """The tables that a person looks at first, by title."""
        return {}

    def __repr__(self) -> str:
        rows = ", ".join(f"{len(table):,} {name}" for name, table in self.tables.items())
        return f"{type(self).__name__}({rows})"


@dataclass(frozen=True)
class Part:
    """A piece of an experiment that is done whole or not at all.

    Attributes:
        name: of its file.
        text: what it does, for the progress bar.
        cost: predicted, in any unit.
        stage: what its time is booked under.
        run: makes its table.
    """

    name: str
    text: str
    cost: float
    stage: str
    run: Callable[[], pd.DataFrame]


class Parts:
    """Runs parts one after another, or reads them where they are done.

    Args:
        store: directory, or None to keep everything in memory.
        progress: show a progress bar on a terminal.
    """

    def __init__(self, store: Store | None, progress: bool) -> None:
        self.store = store
        self.progress = progress
        self.seconds: dict[str, float] = {}

    def run(self, parts: Sequence[Part]) -> list[pd.DataFrame]:
        """Tables of the parts, in order.

        Raises:
            KeyboardInterrupt: Ctrl-C; finished parts are kept.
        """
        tables = []
        with tracker(self.progress, sum(part.cost for part in parts)) as bar:
            for part in parts:
                bar.now(part.text)
                clock = time.monotonic()
                table = None if self.store is None else self.store.table(part.name)
                if table is None:
                    table = part.run()
                    if self.store is not None:
                        self.store.finish(part.name, table)
                    spent = self.seconds.get(part.stage, 0.0)
                    self.seconds[part.stage] = spent + time.monotonic() - clock
                tables.append(table)
                bar.done(part.cost)
        return tables


def run_experiment(
    result: type[Experiment],
    spec: Spec,
    directory: str | os.PathLike[str] | None,
    body: Callable[[Parts], dict[str, pd.DataFrame]],
    *,
    fresh: bool,
    progress: bool,
) -> Any:
    """Run an experiment, or what is left of it, in its directory.

    Args:
        result: what to return.
        spec: what to run; a directory is resumed only under the same spec and version.
        directory: where to keep parts and tables; None keeps them in memory only.
        body: runs the parts and makes the tables.
        fresh: delete an earlier edt run in the directory first.
        progress: show a progress bar on a terminal.

    Raises:
        DirectoryError: the directory holds something else, or is in use.
        KeyboardInterrupt: Ctrl-C; finished parts are kept.
    """
    from edt import __version__

    identity = {"spec": spec.to_dict(), "edt": __version__}
    context = (
        nullcontext() if directory is None else Store(directory, result.kind, identity, fresh=fresh)
    )
    with context as store:
        parts = Parts(store, progress)
        tables = body(parts)
        done = result(spec, tables, parts.seconds, store.path if store else None)
        if store is not None:
            done.save(store.path)
    return done
