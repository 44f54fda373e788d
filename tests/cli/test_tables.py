"""Tables of experiments on a terminal of 80 columns: nothing is cut, nothing is lost."""

from __future__ import annotations

import io
from itertools import pairwise

import pandas as pd
import pytest
from rich.console import Console

from edt.show.columns import Terms, named_columns
from edt.show.print_tables import print_experiment


def printed(tables, width=80):
    out = io.StringIO()
    print_experiment(Console(file=out, width=width, color_system=None), tables)
    return out.getvalue()


def test_wide_tables_go_on_below_with_the_columns_that_tell_rows_apart():
    names = [f"some_long_name_{k}" for k in range(12)]
    values = {name: [100 * k + n for n in (101, 102, 103)] for k, name in enumerate(names)}
    frame = pd.DataFrame({"group": ["a", "a", "b"], "size": [1, 2, 1], **values})
    text = printed({"anything": frame})
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for column in values.values():
        assert all(text.split().count(f"{value:,}") == 1 for value in column)
    headings = [line.split()[:2] for line in text.splitlines() if "size" in line]
    assert len(headings) > 1 and all(words == ["group", "size"] for words in headings)
    wide = printed({"anything": frame}, width=400)
    assert sum("size" in line for line in wide.splitlines()) == 1


@pytest.mark.parametrize("columns", range(5, 30))
def test_no_column_of_a_wide_table_stands_alone(columns):
    names = ["width", *(f"column_{'x' * (k % 5)}" + str(k) for k in range(columns))]
    frame = pd.DataFrame({name: [k, 10**6 + k] for k, name in enumerate(names)})
    blocks = printed({"anything": frame}).split("\n\n")
    assert all(len(block.splitlines()[-1].split()) > 2 for block in blocks)
    # As few blocks as fit: no two neighbours would fit side by side.
    wide = [max(map(len, block.splitlines())) for block in blocks]
    assert all(one + two > 80 for one, two in pairwise(wide))


def test_words_of_a_study_come_first():
    terms = Terms({"rate": "win", "share_low": "below"}, {"way": {"kick": "kicked"}})
    frame = pd.DataFrame({
        "way": ["kick", "fly"], "rate": [0.5, 1.0], "share_low": [0.1, 0.2],
        "share_high": [0.3, 0.4], "ahead": [-0.2, 0.0], "p": [0.00001, 0.5],
    })  # fmt: skip
    assert named_columns(frame, terms) == [
        ("way", ["kicked", "fly"]), ("win", ["50%", "100%"]), ("below", ["10%", "20%"]),
        ("share high", ["30%", "40%"]), ("ahead (points)", ["−20", "0"]),
        ("p-value", ["<0.001", "0.50"]),
    ]  # fmt: skip


def test_bounds_stand_beside_their_number():
    frame = pd.DataFrame(
        {
            "rate": [0.5], "rate_low": [0.25], "rate_high": [0.75],
            "spread_low": [0.1], "spread_high": [0.9],
            "bad_share": [0.2], "bad_share_spread_low": [0.0], "bad_share_spread_high": [0.4],
            "mean_index": [2.6], "mean_index_low": [2.0], "mean_index_high": [3.4],
            "alone_low": [7.0], "clear": [True],
        }
    )  # fmt: skip
    lines = printed({"anything": frame}).splitlines()
    cells = lines[-1].split()
    assert cells == [
        "50%", "(25–75%)", "10–90%", "20%", "(0–40%)", "2.6", "(2–3.4)", "7", "yes",
    ]  # fmt: skip
    assert "boot" not in " ".join(lines)


def test_notes_say_what_columns_mean():
    text = printed({"agreement": pd.DataFrame({"width": [4], "information": [0.5]})})
    assert "(bits)" in text and "Only the network: it wins" in text
