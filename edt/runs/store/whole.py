"""One file with the checksums of everything in a finished directory, for copying and archiving."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from edt.places import Folder, at_once
from edt.runs.store import inside
from edt.runs.store.directory import PARTS
from edt.runs.store.notes import MOST_WHOLE, read_note
from edt.runs.store.parts import PartFiles
from edt.runs.store.tables import encode_table, read_table, sha256

MANIFEST = "manifest.json"


def write_whole(
    folder: Folder,
    tables: Mapping[str, pd.DataFrame],
    parts: Iterable[str],
    facts: Mapping[str, Any],
) -> None:
    """Write the tables of a finished run, and then ``manifest.json``.

    Args:
        folder: of the run.
        tables: by name; each goes to ``NAME.parquet``, whole or not at all.
        parts: names of all parts, done.
        facts: further entries of the manifest.
    """
    sums = {}
    for name, table in tables.items():
        data = encode_table(table)
        inside.write(folder, f"{name}.parquet", data, claimed=True)
        sums[f"{name}.parquet"] = sha256(data)
    files = PartFiles(folder)
    for manifest in at_once(folder, files.manifest, parts):
        found = {} if manifest is None else manifest.files
        sums |= {f"{PARTS}/{name}": sum_ for name, sum_ in found.items()}
    whole = {**facts, "sha256": sums}
    data = json.dumps(whole, indent=1, sort_keys=True).encode()
    inside.write(folder, MANIFEST, data, claimed=True)


def read_whole(folder: Folder, name: str) -> pd.DataFrame:
    """Read a table of a finished run.

    Raises:
        CheckpointError: missing, or not the bytes that ``manifest.json`` lists.
    """
    file = f"{name}.parquet"
    return read_table(folder, file, _sums(folder).get(file))


def _sums(folder: Folder) -> dict[str, str]:
    found = read_note(folder, MANIFEST, {"sha256": dict}, most=MOST_WHOLE)
    return {} if found is None else dict(found["sha256"])
