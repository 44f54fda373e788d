"""Every Python block of README.md and docs/ runs, page by page, in the order of reading.

A block after ``<!-- needs: NAME -->`` runs where that package is installed. A block followed by one
of ``text`` prints that.
"""

from __future__ import annotations

import re
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"(?:<!-- needs: (?P<needs>\w+) -->\n)?^(?P<indent>[ ]*)```python\n(?P<code>.*?)^[ ]*```$"
    r"(?:\n\n^[ ]*```text\n(?P<printed>.*?)^[ ]*```$)?",
    re.MULTILINE | re.DOTALL,
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page):
    """(line, package or None, code, what it prints or None) of each Python block."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        yield line, match["needs"], textwrap.dedent(match["code"]), match["printed"]


def lines(text):
    """Lines without what stands at their ends, which editors take away."""
    return [line.rstrip() for line in text.strip().splitlines()]


#: Blocks of contributing.md are files of a package: `test_add_a_study.py` puts them there.
PAGES_WITH_CODE = [page for page in PAGES if any(blocks(page)) and page.name != "contributing.md"]


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for line, needs, code, printed in blocks(page):
        if needs is not None and find_spec(needs) is None:
            continue
        capsys.readouterr()
        # Blank lines in front, so that a traceback shows the line of the page.
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)
        if printed is not None:
            assert lines(capsys.readouterr().out) == lines(printed), f"{page}: {line}"


def test_no_block_is_overlooked():
    """The pattern above finds as many blocks as the pages open."""
    for page in PAGES:
        opened = len(
            re.findall(r"^\s*```\s*python", page.read_text(encoding="utf-8"), re.MULTILINE)
        )
        assert len(list(blocks(page))) == opened, page


def test_python_examples_are_there():
    assert len(PAGES_WITH_CODE) >= 10
