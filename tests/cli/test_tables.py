"""Tables of experiments on a terminal of 80 columns: nothing is cut, nothing is lost."""

from __future__ import annotations

import io

import pandas as pd
from rich.console import Console

from edt.show.terminal import print_experiment


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
    assert cells == ["50%", "25–75%", "10–90%", "20%", "0–40%", "2.6", "2–3.4", "7", "yes"]
    assert "boot" not in " ".join(lines)


def test_notes_say_what_columns_mean():
    text = printed({"agreement": pd.DataFrame({"width": [4], "information": [0.5]})})
    assert "(bits)" in text and "only together: the network wins" in text
