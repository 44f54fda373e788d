"""Parts of a run: files written whole, checksummed, and counted only once their manifest is there.

Whoever computes a part writes the same bytes (but for the time it took), and each file appears
whole, so two writers of one part do no harm.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import nn

from edt.ensemble import Ensemble, ModuleEnsemble
from edt.ensemble.kinds import Networks
from edt.ensemble.storage import encode_ensemble
from edt.files import CheckpointError
from edt.locations import Location, each, place
from edt.runs.store import inside
from edt.runs.store.directory import PARTS
from edt.runs.store.notes import read_note
from edt.runs.store.tables import encode_table, read_table, sha256, stacked


@dataclass(frozen=True)
class Manifest:
    """What is known of a finished part.

    Attributes:
        name: of the part.
        files: file names to SHA-256.
        runs: rows of its first table.
        cost: predicted, in the unit of the plan.
        seconds: wall-clock time it took, on ``threads`` threads at the end.
        finished: time of day (Unix seconds).
        spec: `edt.studies.Spec.digest` of the run it is a part of; "" where that is not known.
        start: `Session.token` of the start that it was computed under; "" where none is known.
    """

    name: str
    files: dict[str, str]
    runs: int
    cost: float
    seconds: float
    threads: int
    finished: float
    spec: str = ""
    start: str = ""


_MANIFEST = {
    "name": str,
    "files": dict,
    "runs": int,
    "cost": float,
    "seconds": float,
    "threads": int,
    "finished": float,
}


_OTHERS = {"spec": str, "start": str}


@dataclass(frozen=True)
class Wanted:
    """What a part must have by the plan of its run.

    Attributes:
        kinds: of its tables, the main one first.
        rows: of its main table; None: not known beforehand.
        networks: whether it has any; None: not known beforehand.
    """

    kinds: tuple[str, ...]
    rows: int | None = None
    networks: bool | None = None

    def fits(self, name: str, manifest: Mapping[str, Any]) -> bool:
        """Whether a manifest lists just this."""
        tables = {f"{name}.{_table(kind)}" for kind in self.kinds}
        others = set(manifest["files"]) - tables
        networks = others == {f"{name}.safetensors"}
        return (
            tables <= set(manifest["files"])
            and (networks or not others)
            and self.networks in (None, networks)
            and self.rows in (None, manifest["runs"])
        )


class PartError(CheckpointError):
    """A part whose contents are not those that the plan says; names it, and what mends it.

    Attributes:
        part: its name.
    """

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


class PartFiles:
    """The parts in the directory of a run."""

    def __init__(self, directory: Location) -> None:
        self.root = place(directory)
        self._read: Callable[[str, int | None], bytes] | None = None

    @contextmanager
    def many(self) -> Iterator[None]:
        """While it is open, files are read by one handle of their folder, for looks at all."""
        with inside.reading(self.root, PARTS) as self._read:
            try:
                yield
            finally:
                self._read = None

    def write(
        self,
        name: str,
        tables: Mapping[str, pd.DataFrame],
        networks: Networks | None = None,
        *,
        cost: float,
        seconds: float,
        threads: int,
        spec: str = "",
        start: str = "",
    ) -> Manifest:
        """Write a part: networks, tables, and last the manifest.

        Args:
            name: of the part.
            tables: by kind, the main one first; the kind "" is for a part's only table.
            networks: of the part, if it has any.
            cost, seconds, threads, spec, start: as in `Manifest`.

        Raises:
            OSError: the disk is full, say; the part then does not count as done.
        """
        files: dict[str, str] = {}
        if networks is not None:
            data, readable = encode_ensemble(networks)
            files[f"{name}.safetensors"] = self._put(name, "safetensors", data)
            self._put(name, "json", readable)
        for kind, table in tables.items():
            suffix = _table(kind)
            files[f"{name}.{suffix}"] = self._put(name, suffix, encode_table(table))
        manifest = Manifest(
            name=name,
            files=files,
            runs=len(next(iter(tables.values()))),
            cost=cost,
            seconds=seconds,
            threads=threads,
            finished=time.time(),
            spec=spec,
            start=start,
        )
        self._put(
            name, "manifest.json", json.dumps(vars(manifest), indent=1, sort_keys=True).encode()
        )
        with suppress(FileNotFoundError):
            inside.delete(self.root, _file(name, "failed.json"))
        return manifest

    def manifest(self, name: str, spec: str = "", wanted: Wanted | None = None) -> Manifest | None:
        """Manifest of a part that is done, else None. The files it lists are not looked at.

        Args:
            name: of the part.
            spec: of the run; a part of another one, which took over the directory of this, is not
                done. "": any.
            wanted: what the part must have by the plan; one that has something else is not done.
        """
        file = f"{name}.manifest.json"
        found = read_note(self.root, file, _MANIFEST, _OTHERS, read=self._bytes)
        if found is None or found["name"] != name:
            return None
        if spec and found.get("spec", "") != spec:
            return None
        if wanted is not None and not wanted.fits(name, found):
            return None
        # Names of files in this very folder, not ways out of it.
        plain = all(file and not set(file) & set("/\\\0") for file in found["files"])
        return Manifest(**found) if plain else None

    def intact(self, name: str, spec: str = "", wanted: Wanted | None = None) -> Manifest | None:
        """`manifest` of a part all of whose files have the bytes that were written, else None."""
        manifest = self.manifest(name, spec, wanted)
        if manifest is None:
            return None
        try:
            right = all(sha256(self._bytes(file)) == sum_ for file, sum_ in manifest.files.items())
        except ConnectionError:  # not known to be missing
            raise
        except (OSError, inside.DirectoryError):
            return None
        return manifest if right else None

    def discard(self, name: str) -> None:
        """Let a damaged part count as undone."""
        with suppress(FileNotFoundError):
            inside.delete(self.root, _file(name, "manifest.json"))

    def table(self, name: str, kind: str = "", manifest: Manifest | None = None) -> pd.DataFrame:
        """A table of a part.

        Args:
            name: of the part.
            kind: of the table.
            manifest: of the part, whose checksum the table must have.

        Raises:
            CheckpointError: missing or corrupted.
        """
        file = _file(name, _table(kind))
        sum_ = None if manifest is None else manifest.files.get(file.rpartition("/")[2], "")
        return read_table(self.root, file, sum_)

    def together(self, manifests: Sequence[Manifest]) -> tuple[pd.DataFrame, list[int]] | None:
        """The only tables of several parts, one below the other, and the rows of each.

        It is what `pandas.concat` makes of them, taken apart once.

        Args:
            manifests: of the parts, whose checksums the tables must have.

        Returns:
            None where they have not the same columns, one is empty, damaged or unlike what edt
            writes: `table` says which.
        """

        def look(manifest: Manifest) -> bytes | None:
            try:
                data = self._bytes(f"{manifest.name}.parquet")
            except (OSError, inside.DirectoryError):
                return None
            sum_ = manifest.files.get(f"{manifest.name}.parquet")
            return data if sha256(data) == sum_ else None

        return stacked(each(self.root, look, manifests))

    def checked(
        self,
        name: str,
        kind: str,
        manifest: Manifest,
        columns: Mapping[str, str],
        keys: Mapping[str, Sequence[int]],
        *,
        every: bool,
    ) -> pd.DataFrame:
        """A table of a part, insisting on what the plan says of it.

        Args:
            name, kind, manifest: as in `table`.
            columns: names to dtypes, in order; "str" is any text.
            keys: columns to the values that the plan gives the part.
            every: its rows must have just these, in order; otherwise none but these.

        Raises:
            PartError: it has something else. CheckpointError: as `table`.
        """
        table = self.table(name, kind, manifest)
        wrong = misfit(table, columns, keys, every)
        if wrong is None:
            return table
        raise PartError(
            name,
            f"{self.root / _file(name, _table(kind))}: {wrong}, so it is no part of this run; "
            "'edt resume' computes it again",
        )

    def networks(self, name: str, modules: Sequence[nn.Module] = ()) -> Any:
        """The networks of a part; those of modules need modules built as they were.

        Raises:
            CheckpointError: missing or corrupted.
        """
        file = _file(name, "safetensors")
        try:
            data = inside.read(self.root, file)
        except (FileNotFoundError, inside.DirectoryError) as error:
            raise CheckpointError(f"{self.root / file}: {error}") from None
        if modules:
            return ModuleEnsemble.load(self.root / file, modules, data)
        return Ensemble.load(self.root / file, data)

    def fail(self, name: str, error: BaseException | str) -> None:
        """Note why an attempt failed; best effort, for the disk may be what failed."""
        text = (
            error
            if isinstance(error, str)
            else "".join(traceback.format_exception_only(type(error), error)).strip()
        )
        trace = None if isinstance(error, str) else "".join(traceback.format_exception(error))
        note = {"name": name, "error": text, "traceback": trace, "time": time.time()}
        with suppress(OSError, inside.DirectoryError):
            self._put(name, "failed.json", json.dumps(note, indent=1).encode())

    def failures(self) -> list[dict[str, Any]]:
        """Notes of the parts whose last attempt failed, by name."""
        end = ".failed.json"
        found = [name for name in inside.names(self.root, PARTS) if name.endswith(end)]
        notes = [self.failure(name.removesuffix(end)) for name in found]
        return [note for note in notes if note is not None]

    def failure(self, name: str) -> dict[str, Any] | None:
        """The note of a part whose last attempt failed, else None."""
        file = f"{name}.failed.json"
        return read_note(self.root, file, {"name": str, "error": str}, read=self._bytes)

    def _bytes(self, file: str, most: int | None = None) -> bytes:
        if self._read is None:
            return inside.read(self.root, f"{PARTS}/{file}", most)
        return self._read(file, most)

    def _put(self, name: str, suffix: str, data: bytes) -> str:
        inside.write(self.root, _file(name, suffix), data, claimed=True)
        return sha256(data)


def _file(name: str, suffix: str) -> str:
    return f"{PARTS}/{name}.{suffix}"


def _table(kind: str) -> str:
    return f"{kind}.parquet" if kind else "parquet"


def misfit(
    table: pd.DataFrame, columns: Mapping[str, str], keys: Mapping[str, Sequence[int]], every: bool
) -> str | None:
    """In what a table differs from the plan; None: in nothing.

    Args:
        table: of a part.
        columns, keys, every: as in `PartFiles.checked`.
    """
    if list(table.columns) != list(columns):
        lost = [name for name in columns if name not in table.columns]
        more = [str(name) for name in table.columns if name not in columns]
        which = f"has no column {lost[0]!r}" if lost else f"has columns in another order or {more}"
        return which[:200]
    for name, kind in columns.items():
        dtype = table[name].dtype
        right = pd.api.types.is_string_dtype(dtype) if kind == "str" else str(dtype) == kind
        if not (right or (kind == "str" and not len(table))):
            return f"column {name!r} must be {kind}, is {dtype}"
    for name, values in keys.items():
        found = table[name].tolist()
        if every and len(found) != len(values):
            return f"has {len(found):,} rows, the plan {len(values):,}"
        if found != list(values) if every else not set(found) <= set(values):
            return f"holds values of {name!r} that the plan does not give it"
    return None
