"""Parts: the pieces of a run, computed here or by an engine, read back where they are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd
import torch
from torch import nn

from edt.ensemble.kinds import Networks
from edt.limits import TooLargeError
from edt.locations import Folder, at_once
from edt.runs.agreement import agree, odd_one
from edt.runs.custom_data import stored_spec
from edt.runs.engines.base import Engine, Failure, Job, SweepError, named
from edt.runs.progress import Tracker
from edt.runs.store import Manifest, PartError, PartFiles, Wanted, last_session

if TYPE_CHECKING:
    from edt.runs.experiment import Experiment

Tables = dict[str, pd.DataFrame]
#: What computes a part returns its table, or several by name, with its networks if it keeps any.
Made = pd.DataFrame | Tables | tuple[pd.DataFrame | Tables, Networks]


@dataclass(frozen=True)
class Part:
    """A piece of a run that is done whole or not at all.

    Attributes:
        name: of its files.
        text: what it does, for the progress bar.
        cost: predicted, in any unit that all parts of the run share.
        stage: what it belongs to; its time is booked under it.
        key: arguments of the function that computes it.
        tables: names of its tables; none: it has one, without a name.
        rows: of its main table; None: not known beforehand.
        columns: of its main table, names to dtypes, in order ("str" is any text); None: not known.
        marked: whether columns that are named like an argument have its value.
    """

    name: str
    text: str
    cost: float
    stage: str
    key: tuple[Any, ...] = ()
    tables: tuple[str, ...] = ()
    rows: int | None = None
    columns: Mapping[str, str] | None = None
    marked: bool = True

    def __post_init__(self) -> None:
        count = _counting.get()
        if count is not None:
            count()


#: Parts of one plan: each is a few files.
MOST_PARTS = 100_000
_counting: ContextVar[Callable[[], None] | None] = ContextVar("counting", default=None)


@contextmanager
def at_most(most: int) -> Iterator[None]:
    """While a plan is made: stop it where it has more parts than these.

    Raises:
        TooLargeError: it has.
    """
    made = 0

    def count() -> None:
        nonlocal made
        made += 1
        if made > most:
            raise TooLargeError(f"this plan has more than {most:,} parts")

    token = _counting.set(count)
    try:
        yield
    finally:
        _counting.reset(token)


class Parts:
    """The parts of a plan: what is missing is computed, the rest is read.

    Args:
        plan: every part.
        folder: directory of the run, or None to keep everything in memory.
        bar: shows progress.
        digest: of the spec; parts of another run count as not done.
        job: what an engine needs to compute a part.
        wanted: what the plan says of a part; one that has something else counts as not done.
        crew: the engine for some parts, or None where they are computed here, one after another,
            and the first error ends the run. Given the parts, and the seconds that a unit of cost
            took here (0 before the first).
        whole: parts whose files have just been compared with their checksums.
    """

    def __init__(
        self,
        plan: Sequence[Part],
        folder: Folder | None,
        bar: Tracker,
        digest: str = "",
        *,
        job: Callable[[Part], Job] | None = None,
        wanted: Callable[[Part], Wanted] | None = None,
        crew: Callable[[Sequence[Part], float], Engine | None] | None = None,
        whole: Mapping[str, Manifest] | None = None,
    ) -> None:
        self.plan = list(plan)
        self.left = {part.name for part in plan}
        self.files = None if folder is None else PartFiles(folder)
        self.seconds: dict[str, float] = {}
        self.digest = digest
        self._bar, self._job, self._crew, self._wanted = bar, job, crew, wanted
        self._tables: dict[str, Tables] = {}
        self._networks: dict[str, Networks] = {}
        self._start = ""
        #: Of parts that were found, and that were computed now.
        self._found: dict[str, Manifest] = {}
        self._made: dict[str, Manifest] = {}
        self._whole = whole or {}
        #: Whether computing a part has failed, and which were read last.
        self.failed, self.last = False, list[str]()

    def run(self, work: Callable[..., Made], *stages: str) -> list[Any]:
        """The tables of the parts of some stages, in the order of the plan.

        A part with one table gives it, a part with several gives them by name.

        Args:
            work: called with the key of each part that is not done: a function of the spec and of
                what earlier stages gave, for another process may call its own.
            stages: which ones; none given: all.

        Raises:
            SweepError: parts failed on an engine; the others are kept.
            PartError: one that was found there is no part of this run.
            KeyboardInterrupt: Ctrl-C; finished parts are kept.
        """
        chosen = self.make(work, *stages)
        tables = {part.name: self._read(part) for part in chosen}
        self._insist(chosen, tables, work)
        return [tables[part.name] if part.tables else tables[part.name][""] for part in chosen]

    def table(
        self, work: Callable[..., Made], *stages: str, empty: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """The tables of `run`, one below the other, for parts with one table; empty ones left out.

        Args:
            work, stages: as of `run`.
            empty: what is given where every table is empty; None: the first of them.

        Raises:
            As `run`.
        """
        chosen = self.make(work, *stages)
        whole = self._together(chosen, work)
        if whole is not None:
            return whole
        tables = {part.name: self._read(part) for part in chosen}
        self._insist(chosen, tables, work)
        found = [tables[part.name][""] for part in chosen]
        full = [table for table in found if len(table)]
        if not full:
            return found[0] if empty is None else empty
        return pd.concat(full, ignore_index=True)

    def _together(self, chosen: Sequence[Part], work: Callable[..., Made]) -> pd.DataFrame | None:
        """All tables at once, where nothing is wrong with them; None: look at each."""
        known = self._made | self._found
        manifests = [known[part.name] for part in chosen if part.name in known]
        if self.files is None or not len(manifests) == len(chosen) > 1:
            return None
        with self.files.many():
            made = self.files.together(manifests)
        if made is None:
            return None
        table, rows = made
        said = [self._found[part.name].runs if part.name in self._found else None
                for part in chosen]  # fmt: skip
        if not agree(chosen, table, rows, said, work):
            return None
        self.last = [part.name for part in chosen if part.name in self._found]
        return table

    def _insist(
        self, chosen: Sequence[Part], tables: dict[str, Tables], work: Callable[..., Made]
    ) -> None:
        self.last = [part.name for part in chosen if part.name in self._found]
        rows = {name: self._found[name].runs for name in self.last}
        odd = odd_one(chosen, tables, rows, work) if rows else None
        if odd is None:
            return
        assert self.files is not None
        name, why = odd
        self.files.discard(name)  # so that the next start computes it
        raise PartError(
            name,
            f"{self.files.root}: part {name} {why}, so it is no part of this run; 'edt resume' "
            "computes it again",
        )

    def make(self, work: Callable[..., Made], *stages: str) -> list[Part]:
        """Compute what is missing of some stages; arguments and errors as in `run`."""
        chosen = [part for part in self.plan if not stages or part.stage in stages]
        missing = self._missing(chosen)
        self.left -= {part.name for part in chosen}
        there = {part.name for part in chosen} - {part.name for part in missing}
        self._bar.done(sum(part.cost for part in chosen if part.name in there))
        seconds, done = 0.0, 0.0
        while missing:
            pace = seconds / done if done else 0.0
            engine = None if self._crew is None else self._crew(missing, pace)
            self._start = self._token()
            if engine is not None:
                self._there(engine, missing, work)
                break
            part = missing.pop(0)
            self._bar.now(part.text)
            seconds, done = seconds + self._here(part, work), done + part.cost
            self._bar.done(part.cost)
        return chosen

    def _token(self) -> str:
        """Of the last start: of this one, once it has been noted."""
        if self.files is None or self._start:
            return self._start
        session = last_session(self.files.root)
        return "" if session is None else session.token

    def manifests(self) -> list[Manifest]:
        """Of all parts, done."""
        known = self._made | self._found
        return [known[part.name] for part in self.plan]

    def networks(self, name: str, modules: Sequence[nn.Module] = ()) -> Any:
        """Networks of a part that is done; those of modules need modules built as they were."""
        return self._networks[name] if self.files is None else self.files.networks(name, modules)

    def _missing(self, chosen: Sequence[Part]) -> list[Part]:
        if self.files is None:
            return [part for part in chosen if part.name not in self._tables]
        files, digest = self.files, self.digest

        def look(part: Part) -> Manifest | None:
            if part.name in self._whole:
                return self._whole[part.name]
            wanted = None if self._wanted is None else self._wanted(part)
            return files.intact(part.name, digest, wanted)

        with files.many():
            whole = at_once(files.root, look, chosen)
        missing = [part for part, found in zip(chosen, whole, strict=True) if found is None]
        self._found |= {found.name: found for found in whole if found is not None}
        for part in missing:
            files.discard(part.name)
        return missing

    def _here(self, part: Part, work: Callable[..., Made]) -> float:
        clock = time.monotonic()
        try:
            tables, networks = unpacked(work(*part.key))
            if self.files is None:
                self._tables[part.name] = tables
                if networks is not None:
                    self._networks[part.name] = networks
            else:
                self._made[part.name] = self.files.write(
                    part.name,
                    tables,
                    networks,
                    cost=part.cost,
                    seconds=time.monotonic() - clock,
                    threads=torch.get_num_threads(),
                    spec=self.digest,
                    start=self._start,
                )
        except Exception as error:
            self.failed = True
            if self.files is not None:
                self.files.fail(part.name, error)
            raise
        took = time.monotonic() - clock
        self._book(part.stage, took)
        return took

    def _there(self, engine: Engine, missing: Sequence[Part], work: Callable[..., Made]) -> None:
        assert self.files is not None and self._job is not None
        clock = time.monotonic()
        # Dearest first, so that the last to end is a short one.
        ordered = sorted(missing, key=lambda part: -part.cost)
        jobs = [replace(self._job(part), start=self._start) for part in ordered]
        costs = {part.name: part.cost for part in missing}
        left, failures = len(missing), []
        words = f"{left} parts left, {engine.workers} at once"
        self._bar.now(words)
        with at_hand(self, work, missing):
            for outcome in engine.run(str(self.files.root), jobs):
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                else:
                    self._made[outcome.name] = outcome
                left -= 1
                self._bar.done(costs[outcome.name])
                self._bar.now(f"{left} parts left, {engine.workers} at once")
        self._book(missing[0].stage, time.monotonic() - clock)
        if failures:
            names = ", ".join(failure.name for failure in failures[:3])
            more = " and more" if len(failures) > 3 else ""
            raise SweepError(
                f"{len(failures)} of {len(missing)} parts failed ({names}{more}: "
                f"{failures[0].error}); the others are in {self.files.root}, and 'edt resume "
                f"{self.files.root}' tries these again"
            )

    def _book(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def _read(self, part: Part) -> Tables:
        if self.files is None:
            return self._tables[part.name]
        files, found = self.files, self._found.get(part.name)
        return {kind: files.table(part.name, kind, found) for kind in part.tables or ("",)}


def unpacked(made: Made) -> tuple[Tables, Networks | None]:
    """Tables by name, and networks, of whatever a part's function returned."""
    found, networks = made if isinstance(made, tuple) else (made, None)
    return (found if isinstance(found, dict) else {"": found}), networks


class _Reached(Exception):
    """A replay has come to the part that it is for; carries the stage's function."""


class _Replay(Parts):
    """Runs the body of a run once more, reading everything, up to one part."""

    goal = ""

    def make(self, work: Callable[..., Made], *stages: str) -> list[Part]:
        chosen = [part for part in self.plan if not stages or part.stage in stages]
        if any(part.name == self.goal for part in chosen):
            raise _Reached(work, chosen)
        return chosen


#: (directory, digest of the spec, part) to the function that computes it, in this process.
_KNOWN: dict[tuple[str, str, str], tuple[Callable[..., Made], tuple[Any, ...]]] = {}


class at_hand:
    """While it is open, jobs that this process computes itself use the caller's own function."""

    def __init__(self, parts: Parts, work: Callable[..., Made], chosen: Sequence[Part]) -> None:
        assert parts.files is not None
        where = str(parts.files.root)
        self._known = {(where, parts.digest, part.name): (work, part.key) for part in chosen}

    def __enter__(self) -> None:
        _KNOWN.update(self._known)

    def __exit__(self, *_: object) -> None:
        for key in self._known:
            _KNOWN.pop(key, None)


def compute_part(
    directory: str, result: str, spec: Mapping[str, Any], name: str
) -> tuple[Tables, Networks | None]:
    """Compute a part of a run of whose earlier stages the directory holds every part.

    The body of the run is gone through again up to this part: what it made of earlier tables is
    made here from the same tables, so it is the same whichever process asks.

    Args:
        directory: of the run.
        result: its class, as ``"module:name"``.
        spec: `Spec.to_dict` of what is run.
        name: of the part.
    """
    kind: type[Experiment] = named(result)
    found = stored_spec(kind.spec_type, spec, PartFiles(directory).root)
    if (directory, found.digest, name) not in _KNOWN:
        replay = _Replay(kind.plan(found), PartFiles(directory).root, Tracker(None, 0.0),
                         found.digest)  # fmt: skip
        replay.goal = name
        try:
            kind.measure(found, replay)
        except _Reached as reached:
            work, chosen = reached.args
            for part in chosen:
                _KNOWN[directory, found.digest, part.name] = (work, part.key)
        else:
            _no_such_part(kind, name)
    work, key = _KNOWN[directory, found.digest, name]
    return unpacked(work(*key))


def _no_such_part(kind: type[Experiment], name: str) -> NoReturn:
    raise RuntimeError(f"the plan of a {kind.kind} run has a part {name} that nothing asks for")
