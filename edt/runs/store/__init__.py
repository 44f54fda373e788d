"""Directories of runs: who owns one, which parts are done, files written whole and checksummed.

::

    edt.json                    what this directory holds: kind, spec, version of edt
    session.json                when and how the run was last started
    parts/NAME.parquet          tables of one part (NAME.KIND.parquet where it has several)
    parts/NAME.safetensors      its networks
    parts/NAME.manifest.json    SHA-256 of the above; written last: the part is done
    parts/NAME.failed.json      why its last attempt failed
    *.parquet                   the tables, made from the parts at the end
    manifest.json               SHA-256 of all of these

Files in the directory of a run are reached through `edt.runs.store.inside` only, which leads
nowhere else. In a local folder every file is written beside its place, synced and renamed, and the
folder is locked while a run works on it. Behind an fsspec URL there is neither lock nor renaming:
files are put as whole objects, and a part counts once its manifest, which names the spec, and all
checksums are right. Two processes with one run do each other's work twice and write the same
bytes. Of two runs that start at one moment, one gets the URL where the store has conditional puts;
one that finds at its end that another has taken over its place writes no tables.
"""

from __future__ import annotations

from edt.arguments import checked
from edt.runs.store import inside
from edt.runs.store.directory import FIGURES, PARTS, Store, in_use, read_marker
from edt.runs.store.finished import read_finished, read_finished_table, write_finished
from edt.runs.store.inside import MARKER, DirectoryError
from edt.runs.store.parts import Manifest, PartError, PartFiles, Wanted
from edt.runs.store.session import Session, last_session, note_start
from edt.runs.store.status import Status, measure
from edt.runs.store.tables import read_table

__all__ = [
    "FIGURES",
    "MARKER",
    "PARTS",
    "DirectoryError",
    "Manifest",
    "PartError",
    "PartFiles",
    "Session",
    "Status",
    "Store",
    "Wanted",
    "in_use",
    "inside",
    "last_session",
    "measure",
    "note_start",
    "read_finished",
    "read_finished_table",
    "read_marker",
    "read_table",
    "write_finished",
]

checked(__name__)
