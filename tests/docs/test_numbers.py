"""Numbers that pages of the docs state of studies are those of their sources."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / ".ci"))

import docs_numbers  # noqa: E402
from docs_sources import SOURCES  # noqa: E402

#: Pages whose numbers other tests hold, or that state none of a study.
ELSEWHERE = {
    "docs/claims.md": "tests/docs/test_claims_page.py",
}


@pytest.mark.parametrize("page", SOURCES)
def test_every_number_stands_in_its_source(page: str) -> None:
    assert not docs_numbers.check(page, SOURCES[page]), "python .ci/docs_numbers.py --write"


def test_pages_that_speak_of_runs_are_not_left_out() -> None:
    """A page that links a report or says what a run came to has its sources, or a test."""
    told = re.compile(r"gallery/[\w-]+\.html|python -m benchmarks\.(?:labels|coverage)")
    pages = {
        str(path.relative_to(ROOT))
        for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        if told.search(path.read_text(encoding="utf-8"))
    }
    assert pages <= SOURCES.keys() | ELSEWHERE.keys()
    assert all((ROOT / test).is_file() for test in ELSEWHERE.values())


PAGE = """# A page

Of 20 students 40% (7 to 60) fail, p < 0.001; `n = 3`, [this](there-8.md), float32.

| width | 4 |
|---|---|
| rate | 25% |
"""
REPORT = (
    "<p>20 students fail.</p><details><summary>All widths</summary><table><tr><th>width</th>"
    "<th>fail</th><th>p</th></tr><tr><td>4</td><td>40% (7\u201360%)</td><td>&lt;0.001</td></tr>"
    "</table></details>"
)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of its own with a report."""
    monkeypatch.setattr(docs_numbers, "ROOT", tmp_path)
    monkeypatch.setattr(docs_numbers, "report", lambda _: docs_numbers.Report.read(REPORT))
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


ENTRIES: list[docs_numbers.Entry] = [
    ("Of 20 students", ("a~students fail", "a|All widths|4|fail;p")),
    ("width |", ("=4",)),
    ("rate |", (lambda: "25",)),
]


def test_a_page_that_says_what_its_report_says_passes(page: Path) -> None:
    assert not docs_numbers.check("page.md", ENTRIES)


@pytest.mark.parametrize(
    "said, put",
    [("Of 20", "Of 21"), ("40%", "41%"), ("7 to", "8 to"), ("p < 0.001", "p = 0.001"),
     ("25%", "26%"), ("| 4 |", "| 5 |"), ("20 students", "20 and 3 students"),
     ("# A page", "# A page\n\nTwo more: 7 and 8.")],
)  # fmt: skip
def test_a_number_that_differs_or_has_no_source_is_told(page: Path, said: str, put: str) -> None:
    page.write_text(PAGE.replace(said, put), encoding="utf-8")
    assert docs_numbers.check("page.md", ENTRIES)


def test_an_entry_without_its_block_is_told(page: Path) -> None:
    page.write_text(PAGE.replace("| rate | 25% |\n", ""), encoding="utf-8")
    assert docs_numbers.check("page.md", ENTRIES)


def test_numbers_of_sources_are_written_into_the_page(page: Path) -> None:
    page.write_text(PAGE.replace("7 to 60", "9 to 70"), encoding="utf-8")
    assert len(docs_numbers.check("page.md", ENTRIES, write=True)) == 2
    assert page.read_text(encoding="utf-8") == PAGE
