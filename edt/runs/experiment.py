"""A kind of run: its plan, its parts, and the tables they give, on any engine."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, TypeVar

import pandas as pd
import torch

from edt.errors import EdtError, unknown_choice
from edt.files import CheckpointError
from edt.frames import Tabular
from edt.locations import Folder, Location, Remote, place
from edt.runs.custom_data import keep_data, stored_spec
from edt.runs.engines import ENGINES, Engine, make_engine
from edt.runs.engines.base import Job, cores
from edt.runs.parts import MOST_PARTS, Part, Parts, at_most
from edt.runs.progress import tracker
from edt.runs.resume import RESTORED, as_before
from edt.runs.spec import Spec
from edt.runs.store import (
    MARKER,
    DirectoryError,
    Manifest,
    Store,
    Wanted,
    note_start,
    read_finished,
    read_finished_table,
    read_marker,
    write_finished,
)
from edt.runs.trust import insist_confirmed, signature
from edt.scalars import integer, number

__all__ = ["Experiment", "Part", "Parts", "Spec"]

E = TypeVar("E", bound="Experiment")

#: Seconds that a worker process takes to start, and the work of how many such times makes it worth
#: that: starting then costs less than 5%.
START, WORTH = 1.5, 20.0


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
    #: Whether costs of parts are seconds of one thread, and parts do not wait for each other:
    #: workers then start by themselves where they are worth it, and one failure stops no other.
    alike: ClassVar[bool] = False
    #: Whether the plan depends on the data, not on the spec alone.
    plan_reads: ClassVar[bool] = False
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
    def planned(cls, spec: Any) -> list[Part]:
        """`plan`, refused where a spec, which may be a stranger's, makes it endless.

        Raises:
            TooLargeError: it has more parts than one plan may have.
        """
        with at_most(MOST_PARTS):
            return cls.plan(spec)

    @classmethod
    def measure(cls, spec: Any, parts: Parts) -> dict[str, pd.DataFrame]:
        """The tables, from the parts: `Parts.run` computes or reads those of each stage.

        It must be a function of spec and parts' tables alone: another process goes through it
        again to compute a part of a later stage.
        """
        raise NotImplementedError

    @classmethod
    def data(cls, spec: Any) -> Any:
        """What is learned; made once before anything is written, so that errors leave no trace."""
        return None

    @classmethod
    def job(cls, spec: Any, part: Part) -> Job:
        """What another process needs to compute a part."""
        return Job(
            name=part.name,
            digest=spec.digest,
            cost=part.cost,
            work="edt.runs.parts:compute_part",
            arguments={
                "result": f"{cls.__module__}:{cls.__name__}",
                "spec": spec.to_dict(),
                "name": part.name,
            },
        )

    @classmethod
    def wanted(cls, spec: Any, part: Part) -> Wanted:
        """What a finished part must have."""
        return Wanted(part.tables or ("",), part.rows)

    @classmethod
    def run(
        cls: type[E],
        spec: Any,
        directory: Location | None = None,
        *,
        engine: str = "local",
        workers: int | None = None,
        fresh: bool = False,
        progress: bool = True,
        **options: Any,
    ) -> E:
        """Run it, or what is left of it in its directory.

        Equal specs give equal tables, bit for bit, with every engine, any number of workers and
        threads, and any interruptions.

        Args:
            spec: what to run; a directory is resumed only under the same spec and version.
            directory: where parts, networks and tables are kept: a path or an fsspec URL (what a
                URL cannot promise is in `edt.runs.store`); None: in memory only.
            engine: "local", "ray" or "slurm" (`edt.runs.engines`); those need a directory that
                every node sees.
            workers: processes or jobs at once, this one included where the engine is local. None:
                one a thread of torch where each has half a minute of work left (predicted for a
                sweep, of others after their first part), else this process alone.
            fresh: delete an earlier edt run in the directory first.
            progress: show a progress bar on a terminal.
            options: of the engine: ``address``, ``cpus``, ``gpus`` (ray); ``cluster``, ``cpus``,
                ``minutes``, ``options`` (slurm).

        Raises:
            ValueError, TypeError: a spec of another kind; an engine that is unknown, or cannot
                work there.
            DirectoryError: the directory holds something else, or is in use.
            SweepError: parts failed on an engine; the others are kept, and a further call tries
                again.
            OSError: the disk is full, say; finished parts are kept.
            KeyboardInterrupt: Ctrl-C; finished parts are kept.
        """
        from edt import __version__

        if not isinstance(spec, cls.spec_type):
            raise TypeError(
                f"spec must be a {cls.spec_type.__name__}, got {type(spec).__name__} {spec!r:.60}"
            )
        if directory is None and (engine != "local" or workers not in (None, 0, 1)):
            raise ValueError(f"{workers or ''} workers of the engine {engine!r} need a directory "
                             "that all of them see")  # fmt: skip
        folder = None if directory is None else place(directory)
        crew = Crew(cls.alike, folder, engine, workers, options, signature(spec))
        plan = cls.planned(spec)
        spec.check_data()
        cls.data(spec)
        identity = {"spec": spec.to_dict(), "edt": __version__}
        context = (
            nullcontext() if folder is None else Store(folder, cls.kind, identity, fresh=fresh)
        )
        with context as store, tracker(progress, sum(part.cost for part in plan)) as bar:
            facts: dict[str, Any] = {"spec_digest": spec.digest, "kind": cls.kind}
            runs = cls.trainings(spec)
            facts |= {} if runs is None else {"runs": runs}
            whole: dict[str, Manifest] = {}
            if folder is not None:
                keep_data(spec, folder)
                wanted = {part.name: cls.wanted(spec, part) for part in plan}
                there, whole = read_finished(folder, cls.table_names(spec), wanted, facts)
                if there is not None:
                    bar.done(sum(part.cost for part in plan))
                    return cls(spec, there, {}, folder)
            parts = Parts(
                plan,
                folder,
                bar,
                spec.digest,
                job=partial(cls.job, spec),
                wanted=partial(cls.wanted, spec),
                crew=crew.for_parts,
                whole=whole,
            )
            clock = time.monotonic()
            try:
                tables = cls.measure(spec, parts)
            except CheckpointError:
                # Parts that another run deleted are not damage: it says so.
                if store is not None:
                    store.check()
                raise
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                # Whoever found nothing, or failed to compute, has met no part of others.
                if (
                    parts.files is None
                    or parts.failed
                    or not parts.last
                    or (isinstance(error, EdtError))
                ):
                    raise
                names = ", ".join(parts.last[:3]) + (" and more" if len(parts.last) > 3 else "")
                raise CheckpointError(
                    f"{parts.files.root}: tables of parts that were found there ({names}) make no "
                    f"sense ({type(error).__name__}: {error!s:.200}); delete the manifest of one, "
                    f"parts/{parts.last[0]}.manifest.json, and it is computed again"
                ) from error
            if parts.left:
                raise RuntimeError(f"parts of the plan were not run: {sorted(parts.left)}")
            seconds = dict(parts.seconds)
            if seconds and cls.alike:
                seconds["tables"] = time.monotonic() - clock - sum(seconds.values())
            if store is not None:
                store.check()
                write_finished(store.path, tables, parts.manifests(), facts)
        return cls(spec, tables, seconds, folder)

    @classmethod
    def resume(
        cls: type[E],
        directory: Location,
        *,
        engine: str | None = None,
        workers: int | None = None,
        confirm: Sequence[str] = (),
        progress: bool = True,
        **options: Any,
    ) -> E:
        """Go on with the run in a directory, from the spec that is stored there.

        Args:
            directory: of an earlier `run`.
            engine, workers, options: as for `run`. Engine, workers and ``cpus`` that are left out
                are as at the last start (with the same engine); nothing else is taken from the
                directory, and where the last start had more, the call must name the engine.
            confirm: files, folders and functions outside the directory that its spec may read, as
                it names them; needed where this user has not started the run.
            progress: show a progress bar on a terminal.

        Raises:
            DirectoryError: it holds no such run, or asks for what is not taken from a directory.
                Otherwise as `run`.
        """
        folder = place(directory)
        spec = cls.spec_of(folder)
        insist_confirmed(folder, spec, confirm)
        chosen, found = as_before(folder, engine, {"workers": workers, **options})
        return cls.run(spec, folder, engine=chosen, progress=progress, **found)

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
            tables={name: read_finished_table(folder, name) for name in cls.table_names(spec)},
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
            return stored_spec(cls.spec_type, found["identity"]["spec"], folder)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise DirectoryError(f"{folder / MARKER}: not a valid spec ({error})") from None

    def summary(self) -> dict[str, pd.DataFrame]:
        """The tables that a person looks at first, by title."""
        return {}

    def results(self) -> dict[str, pd.DataFrame]:
        """The tables that ``--json`` prints, by name."""
        return self.summary()

    @classmethod
    def headline(cls, spec: Any) -> str:
        """What is about to run, in a line."""
        return f"{cls.kind}, {len(cls.planned(spec))} parts"

    def __repr__(self) -> str:
        rows = ", ".join(f"{len(table):,} {name}" for name, table in self.tables.items())
        return f"{type(self).__name__}({rows})"


class Crew:
    """What computes the parts of a run, decided anew for each stage.

    Args:
        alike: as of the `Experiment`.
        folder: of the run; None: in memory.
        engine, workers, options: as they were asked for.
        signed: as in `Session`.

    Raises:
        ValueError, ImportError: there is no such engine, or it cannot work there.
    """

    def __init__(
        self,
        alike: bool,
        folder: Folder | None,
        engine: str,
        workers: int | None,
        options: dict[str, Any],
        signed: str = "",
    ) -> None:
        if engine not in ENGINES:
            raise unknown_choice("engine", engine, ENGINES)
        if engine == "local" and options:
            raise ValueError(f"{next(iter(options))} is not an option of the engine 'local'")
        for name, value in {"workers": workers, "cpus": options.get("cpus")}.items():
            if value is not None:
                integer(name, value, 0 if name == "workers" else 1, RESTORED[name])
        if options.get("gpus") is not None:
            number("gpus", options["gpus"])
        self.alike, self.folder = alike, folder
        self.engine, self.workers, self.options = engine, workers, options
        self._noted, self._signed = False, signed
        self._token = secrets.token_hex(8)
        self._most = workers
        if isinstance(folder, Remote):
            if engine == "slurm":
                raise ValueError("the engine 'slurm' needs a directory with a path, not a URL")
            if not folder.shared:
                if engine != "local" or workers not in (None, 0, 1):
                    raise ValueError(
                        f"{folder} is seen by this process only: leave engine and workers out"
                    )
                self._most = 0
        #: Whether workers start where they are worth it.
        self._choose = engine == "local" and self._most is None
        self._lone = engine == "local" and not alike

    def for_parts(self, missing: Sequence[Part], pace: float) -> Engine | None:
        """The engine for these parts; None: the first of them here, then ask again.

        Args:
            missing: parts.
            pace: seconds that a unit of cost took here; 0 before the first.
        """
        if self.folder is None:
            return None
        most = self._most
        if self._choose:
            # No more than the threads that this process was given.
            most = min(cores(), torch.get_num_threads())
            seconds = sum(part.cost for part in missing) * (1.0 if self.alike else pace)
            if seconds < most * WORTH * START:
                most = 0
        if self._lone and self._noted and most == 0:
            return None
        crew = make_engine(self.engine, most, len(missing), **self.options)
        if not self._noted or crew.workers > 1:
            asked = {"engine": self.engine, "workers": self.workers, "options": self.options}
            note_start(
                self.folder, crew.workers, self.engine, asked,
                token=self._token, signed=self._signed,
            )  # fmt: skip
            self._noted = True
        return None if self._lone and crew.workers == 1 else crew
