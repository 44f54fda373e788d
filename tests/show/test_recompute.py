"""Every number of a report follows from the saved tables and the spec, and from nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from edt.plots import LIGHT
from edt.show import publish
from edt.studies import WidthSweepSpec, width_sweep
from edt.studies.controls.run import run_controls
from edt.studies.controls.spec import ControlsSpec
from edt.studies.reporting import report_on
from edt.studies.xor.run import run_xor
from edt.studies.xor.spec import XorSpec

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "width.md"
SWEEP = WidthSweepSpec(
    widths=(2, 3, 4, 5), seeds=10, teachers=2, teacher_width=3, reference_width=3, task_seed=2,
    samples=64, steps=500, lbfgs_rounds=2, lbfgs_steps=300, newton_steps=40, split_widths=(2, 3),
    split_levels=3, escape_lbfgs_steps=100, escape_newton_steps=20,
)  # fmt: skip
XOR = XorSpec(widths=(2, 3, 4), seeds=20, steps=800, success=0.4)
CONTROLS = ControlsSpec(
    teachers=1, teacher_width=2, widths=(2, 4), seeds=6, samples=32, steps=200, lbfgs_rounds=1,
    lbfgs_steps=50, good=0.02, inners=(2,), margins=(2,),
)  # fmt: skip
RUNS = {
    "width-sweep": lambda at: width_sweep(SWEEP, at, progress=False),
    "xor": lambda at: run_xor(XOR, at, progress=False),
    "controls": lambda at: run_controls(CONTROLS, at, progress=False),
}


@pytest.fixture
def plain_figures(monkeypatch):
    """Figures are drawn (they must be drawable) but not rendered in three formats."""

    def embed(pictures, folder):
        for picture in pictures:
            picture.figure(LIGHT)
            picture.panels()
        return {picture.name: f"<figure>{picture.caption}</figure>" for picture in pictures}

    monkeypatch.setattr(publish, "embed", embed)


def shown(page):
    """What a page says, without the time and machine of its writing.

    Nor what a reader can play with: it is made of the networks, and left out where there are none.
    """
    text = page.read_text(encoding="utf-8")
    text = re.sub(
        r'\n<style>[^<]*</style><section class="explore".*?</section>', "", text, flags=re.S
    )
    text = re.sub(r'<li><a href="#explore-title">.*?</li>', "", text)
    return re.sub(r"<dt>(Time|Machine|Software)</dt><dd>.*?</dd>", "", text)


@pytest.mark.parametrize("kind", RUNS)
def test_the_page_follows_from_the_tables(kind, tmp_path, plain_figures):
    """A directory with nothing but the tables and ``edt.json`` gives the same page."""
    first, second = tmp_path / "first", tmp_path / "second"
    RUNS[kind](first)
    before = shown(report_on(first))
    second.mkdir()
    for file in (*first.glob("*.parquet"), first / "edt.json"):
        shutil.copy(file, second)
    assert not (second / "parts").exists()
    assert shown(report_on(second)) == before
    assert before.count("<table>") >= 2


def test_the_documented_snippet_gives_the_numbers_of_the_page(tmp_path, monkeypatch, plain_figures):
    """The blocks of docs/howto/width.md, then their numbers looked up in the page's table."""
    monkeypatch.chdir(tmp_path)
    section = PAGE.read_text(encoding="utf-8").split("## Recompute every number")[1]
    names = {}
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    page = (tmp_path / "sweep" / "report.html").read_text(encoding="utf-8")
    cells = table_under(page, "Success and tickets, all widths")
    success, rows = names["success"], {int(row[0]): row for row in cells if row[0].isdigit()}
    assert set(success.index) <= set(rows) and len(success) == 3
    for width, row in success.iterrows():
        assert rows[width][1] == f"{int(row['good'])} of {int(row['runs'])}"
        assert rows[width][2].rstrip("%") == f"{100 * row['rate']:.0f}"
    outcomes = names["outcomes"]
    assert outcomes.sum(axis=1).tolist() == [12] * 4
    laws = table_under(page, "Laws of width, all fits")
    assert len(laws) - 1 == len(names["laws"].table)
    for row, cell in zip(names["laws"].table.to_dict("records"), laws[1:], strict=True):
        assert cell[4].replace("−", "-") == f"{row['log_likelihood']:,.2f}"
        assert cell[5] == f"{row['aic']:,.1f}"
    splits, escapes = table_under(page, "Splits")[1:], names["escapes"]
    assert [row[3] for row in splits] == [str(n) for n in escapes["splits"]]
    assert [row[6] for row in splits] == [f"{mean:.2g}" for mean in escapes["mean_index"]]


def table_under(page, summary):
    """Cells of the table in the details of that name, the heading row first."""
    body = page.split(f"<summary>{summary}</summary>")[1].split("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
