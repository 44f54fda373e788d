"""One file with the checksums of everything in a finished directory, for copying and archiving."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from edt.files import CheckpointError
from edt.locations import Folder, at_once
from edt.runs.store import inside
from edt.runs.store.directory import PARTS
from edt.runs.store.notes import MOST_WHOLE, read_note
from edt.runs.store.parts import Manifest, PartFiles, Wanted
from edt.runs.store.tables import encode_table, read_table, sha256

MANIFEST = "manifest.json"


def write_finished(
    folder: Folder,
    tables: Mapping[str, pd.DataFrame],
    parts: Iterable[Manifest],
    facts: Mapping[str, Any],
) -> None:
    """Write the tables of a finished run, and then ``manifest.json``.

    Args:
        folder: of the run.
        tables: by name; each goes to ``NAME.parquet``, whole or not at all.
        parts: all of them, done.
        facts: further entries of the manifest.
    """
    sums = {}
    for name, table in tables.items():
        data = encode_table(table)
        inside.write(folder, f"{name}.parquet", data, claimed=True)
        sums[f"{name}.parquet"] = sha256(data)
    for part in parts:
        sums |= {f"{PARTS}/{name}": sum_ for name, sum_ in part.files.items()}
    whole = {**facts, "sha256": sums}
    data = json.dumps(whole, indent=1, sort_keys=True).encode()
    inside.write(folder, MANIFEST, data, claimed=True)


def read_finished(
    folder: Folder,
    tables: Iterable[str],
    parts: Mapping[str, Wanted],
    facts: Mapping[str, Any],
) -> tuple[dict[str, pd.DataFrame] | None, dict[str, Manifest]]:
    """The tables of a run that is finished and undamaged, otherwise None; and its whole parts.

    Every file of every part is compared with its checksum, but only the tables are taken apart.

    Args:
        folder: of the run.
        tables: their names.
        parts: names of all parts, to what the plan says of them.
        facts: entries that the manifest must have, ``spec_digest`` among them.
    """
    note = read_note(folder, MANIFEST, {"sha256": dict}, most=MOST_WHOLE)
    if note is None or any(note.get(name) != value for name, value in facts.items()):
        return None, {}
    sums, files, digest = note["sha256"], PartFiles(folder), str(facts["spec_digest"])
    try:
        found = {name: read_table(folder, f"{name}.parquet", sums.get(f"{name}.parquet", ""))
                 for name in tables}  # fmt: skip
    except CheckpointError:
        return None, {}
    with files.many():
        looked = at_once(folder, lambda name: files.intact(name, digest, parts[name]), parts)
    whole = {manifest.name: manifest for manifest in looked if manifest is not None}
    listed = {f"{name}.parquet": sums[f"{name}.parquet"] for name in found}
    for manifest in whole.values():
        listed |= {f"{PARTS}/{name}": sum_ for name, sum_ in manifest.files.items()}
    return (found if len(whole) == len(parts) and listed == sums else None), whole


def read_finished_table(folder: Folder, name: str) -> pd.DataFrame:
    """Read a table of a finished run.

    Raises:
        CheckpointError: missing, or not the bytes that ``manifest.json`` lists.
    """
    file = f"{name}.parquet"
    return read_table(folder, file, _sums(folder).get(file))


def _sums(folder: Folder) -> dict[str, str]:
    found = read_note(folder, MANIFEST, {"sha256": dict}, most=MOST_WHOLE)
    return {} if found is None else dict(found["sha256"])
