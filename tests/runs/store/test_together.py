"""Tables of many parts taken apart at once are those taken apart one by one, or none."""

from __future__ import annotations

import pandas as pd
import pytest

from edt.runs.store import PartFiles


@pytest.fixture
def store(tmp_path):
    """A function that writes parts, one a table, and gives the store with their manifests."""
    (tmp_path / "edt.json").write_text("{}")
    files = PartFiles(tmp_path)

    def write(*tables):
        return files, [
            files.write(f"part-{k}", {"": table}, cost=1.0, seconds=1.0, threads=1)
            for k, table in enumerate(tables)
        ]

    return write


def frame(first):
    """Every kind of column that tables of runs have."""
    return pd.DataFrame(
        {
            "run": [first, first + 1],
            "loss": [first / 7.0, float("nan")],
            "won": [True, False],
            "end": [f"end {first}", "flat"],
            "why": [None, "fell"],
        }
    )


def test_it_is_what_concat_makes(store):
    files, manifests = store(*[frame(first) for first in range(0, 2_400, 2)])
    with files.many():
        table, rows = files.together(manifests)
    one_by_one = [files.table(part.name, "", part) for part in manifests]
    pd.testing.assert_frame_equal(table, pd.concat(one_by_one, ignore_index=True), check_exact=True)
    assert rows == [2] * 1_200


@pytest.mark.parametrize(
    "odd",
    [
        frame(2).iloc[:0],
        frame(2)[["loss", "run"]],
        frame(2).assign(won=1.0),
        frame(2).assign(why=None),
    ],
    ids=["empty", "columns", "dtype", "nothing"],
)
def test_tables_that_differ_are_left_to_concat(store, odd):
    files, manifests = store(frame(0), odd)
    assert files.together(manifests) is None


@pytest.mark.parametrize(
    "damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"x")]
)
def test_damage_is_left_to_the_reader_that_names_it(store, tmp_path, damage):
    files, manifests = store(frame(0), frame(2))
    damage(tmp_path / "parts" / "part-1.parquet")
    with files.many():
        assert files.together(manifests) is None
