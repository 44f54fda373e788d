"""Shards on disk: files written whole, checksummed, and counted only once their manifest is there.

::

    parts/NAME.runs.parquet       one table for each of "runs", "spectrum", "embedding"
    parts/NAME.safetensors        the networks (with a readable NAME.json)
    parts/NAME.manifest.json      SHA-256 of the files above; written last: the shard is done
    parts/NAME.failed.json        why the last attempt failed

Whoever computes a shard writes the same bytes (but for the time it took), and each file appears by
renaming, so two writers of one shard do no harm.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from edt.ensemble import Ensemble
from edt.experiments.store import PARTS, read_table, write_table
from edt.files import replace_file
from edt.sweeps.shard import Shard

#: A temporary file this old (seconds) belongs to a writer that was killed.
STALE = 600.0


@dataclass(frozen=True)
class Manifest:
    """What is known of a finished shard.

    Attributes:
        name: of the shard.
        files: file names to SHA-256.
        runs: number of runs.
        cost: predicted seconds of one thread.
        seconds: wall-clock time it took, on ``threads`` threads.
        finished: time of day (Unix seconds).
    """

    name: str
    files: dict[str, str]
    runs: int
    cost: float
    seconds: float
    threads: int
    finished: float


class Shards:
    """The shards of one sweep's directory."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.folder = Path(directory) / PARTS

    def write(self, shard: Shard, *, cost: float, seconds: float, threads: int) -> Manifest:
        """Write a shard: networks, tables, and last the manifest.

        Raises:
            OSError: the disk is full, say; the shard then does not count as done.
        """
        networks = self._file(shard.name, "safetensors")
        shard.networks.save(networks)
        files = [networks]
        for name, table in shard.tables.items():
            files.append(self._file(shard.name, f"{name}.parquet"))
            write_table(files[-1], table)
        manifest = Manifest(
            name=shard.name,
            files={file.name: _sha256(file) for file in files},
            runs=len(shard.tables["runs"]),
            cost=cost,
            seconds=seconds,
            threads=threads,
            finished=time.time(),
        )
        text = json.dumps(vars(manifest), indent=1, sort_keys=True)
        replace_file(self._file(shard.name, "manifest.json"), text.encode())
        with suppress(FileNotFoundError):
            self._file(shard.name, "failed.json").unlink()
        return manifest

    def manifest(self, name: str) -> Manifest | None:
        """Manifest of a shard that is done, else None. The files it lists are not looked at."""
        try:
            found = json.loads(self._file(name, "manifest.json").read_text())
            return Manifest(**found)
        except (OSError, ValueError, TypeError):
            return None

    def whole(self, name: str) -> Manifest | None:
        """Manifest of a shard all of whose files have the bytes that were written, else None."""
        manifest = self.manifest(name)
        if manifest is None:
            return None
        for file, sha in manifest.files.items():
            try:
                same = _sha256(self.folder / file) == sha
            except OSError:
                return None
            if not same:
                return None
        return manifest

    def discard(self, name: str) -> None:
        """Let a damaged shard count as undone."""
        with suppress(FileNotFoundError):
            self._file(name, "manifest.json").unlink()

    def table(self, name: str, kind: str) -> pd.DataFrame:
        """A table of a shard.

        Raises:
            CheckpointError: missing or corrupted.
        """
        return read_table(self._file(name, f"{kind}.parquet"))

    def networks(self, name: str) -> Ensemble:
        """The networks of a shard.

        Raises:
            CheckpointError: missing or corrupted.
        """
        return Ensemble.load(self._file(name, "safetensors"))

    def fail(self, name: str, error: BaseException | str) -> None:
        """Note why an attempt failed; best effort, for the disk may be what failed."""
        text = (
            error
            if isinstance(error, str)
            else "".join(traceback.format_exception_only(type(error), error)).strip()
        )
        trace = None if isinstance(error, str) else "".join(traceback.format_exception(error))
        note = {"name": name, "error": text, "traceback": trace, "time": time.time()}
        with suppress(OSError):
            replace_file(self._file(name, "failed.json"), json.dumps(note, indent=1).encode())

    def failures(self) -> list[dict[str, Any]]:
        """Notes of the shards whose last attempt failed, by name."""
        notes = []
        for file in sorted(self.folder.glob("*.failed.json")):
            with suppress(OSError, ValueError):
                notes.append(json.loads(file.read_text()))
        return notes

    def sweep_up(self) -> None:
        """Delete temporary files of writers that were killed long ago."""
        for file in self.folder.glob(".*.tmp"):
            with suppress(OSError):
                if time.time() - file.stat().st_mtime > STALE:
                    file.unlink()

    def _file(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}.{suffix}"


def _sha256(file: Path) -> str:
    sha = hashlib.sha256()  # hashlib.file_digest needs Python 3.11
    with file.open("rb") as handle:
        while block := handle.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()
