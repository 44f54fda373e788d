"""What notebooks show of tasks, networks and results."""

from __future__ import annotations

import re
from functools import partial

import pytest
import torch

import edt
from edt.frames import card
from edt.runs.sweeps import SweepSpec, sweep


@pytest.fixture(scope="module")
def trained() -> edt.TrainResult:
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(0)).double()
    return edt.masked_train((x, x[:, :1]), widths=[2, 3], seeds=range(8), steps=3, progress=False)


def shown(thing: object) -> tuple[str, list[list[str]]]:
    """Title and cells of what a notebook shows."""
    text = thing._repr_html_()
    title = re.search(r"<p><b>(.*?)</b></p>", text)
    assert title is not None and text.count("<table>") == text.count("</table>") == 1
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return title[1], [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row) for row in rows]


def test_results_show_the_rows_of_their_table(trained) -> None:
    title, rows = shown(trained)
    table = trained.to_pandas()
    assert title.startswith("TrainResult(") and rows[0] == list(table.columns)
    assert len(rows) == 14 and rows[-1] == ["... 16 in all"]
    assert rows[1] == [str(value) for value in table.iloc[0].to_dict().values()]


def test_networks_and_tasks_show_their_shapes(trained) -> None:
    title, rows = shown(trained.networks)
    assert title == str(trained.networks).replace("->", "-&gt;")
    assert rows[1:] == [["2-2-1", "8", "9"], ["2-3-1", "8", "13"]]
    modules = edt.ModuleEnsemble.build(partial(edt.nets.lenet5, shape=(1, 8, 8)), [0.2, 0.4], [0])
    _, rows = shown(modules)
    assert [row[:2] for row in rows[1:]] == [["Sequential", "1"]] * 2
    x, y = torch.zeros(6, 3), torch.zeros(6, dtype=torch.int64)
    title, batches = shown(edt.ModuleTask([(x[:4], y[:4]), (x[4:], y[4:])]))
    assert title.startswith("ModuleTask(6 samples in 2 batches")
    assert batches[1:] == [
        ["0", "0", "4", "0.6667", "[4, 3], [4]"],
        ["0", "1", "2", "0.3333", "[2, 3], [2]"],
    ]
    assert rows[1][3].startswith("0.weight [1, 1, 3, 3], 0.bias [1]")
    _, rows = shown(edt.Task(torch.zeros(2, 2), torch.tensor([[1.0], [-1.0]])))
    assert rows[1] == ["0", "2", "2", "1", "1"]


def test_sweeps_show_their_runs() -> None:
    spec = SweepSpec(task="xor", grid={"seed": "0..2", "steps": 5})
    _, rows = shown(sweep(spec, progress=False))
    assert len(rows) == 4 and "seed" in rows[0]


def test_text_is_escaped() -> None:
    text = card("<script>", [{"a<b": "x&y"}])
    assert "<script>" not in text and "&lt;script&gt;" in text and "x&amp;y" in text
