"""The README's table of speed says what the record it names holds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import names

ROOT = Path(__file__).parents[2]
#: A row's first words, its case in the record, and the contenders of its columns.
ROWS = {
    "one Adam step of 192": "W softplus float32",
    "8 Hessian-vector": "8 HVPs on W float64",
    "32 exact Hessians": "32 Hessians, width 64",
    "200 students": "200 students to 1e-10",
}
LIBRARIES = {
    "edt": r"edt$",
    "PyTorch": r"(PyTorch|torch|vmap\(torch|baddbmm)",
    # A softplus of our own is not what JAX ships.
    "JAX": r"(?!.*rewritten)(JAX|jax|lax)",
    "scipy": r"scipy",
}
MS = 1e-3


def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def record(name):
    """Seconds by case and contender."""
    found: dict[str, dict[str, float]] = {}
    text = (ROOT / "benchmarks/results" / name).read_text(encoding="utf-8")
    for row in json.loads(text)["measurements"]:
        found.setdefault(row["case"], {})[row["contender"]] = row["seconds"]
    return found


@pytest.fixture(scope="module")
def times():
    """The record of the table, which the README links."""
    (name,) = re.findall(r"benchmarks/results/([\w-]+\.json)", readme())
    return record(name)


def table():
    """The cells of each row, by column."""
    lines = [line for line in readme().splitlines() if line.startswith("|")]
    head = [cell.strip() for cell in lines[0].split("|")[2:-1]]
    for line in lines[2:]:
        cells = line.split("|")[1:-1]
        yield cells[0].strip(), dict(zip(head, (c.strip() for c in cells[1:]), strict=True))


def test_every_cell_is_the_fastest_of_its_library(times):
    """Milliseconds, and how many times less edt takes than the fastest of the others."""
    seen = 0
    for label, cells in table():
        case = next(case for words, case in ROWS.items() if label.startswith(words))
        faster = float(cells.pop("times faster"))
        fastest = {}
        for library, cell in cells.items():
            of = [s for name, s in times[case].items() if re.match(LIBRARIES[library], name)]
            if not cell:
                assert not of, (label, library)
                continue
            fastest[library] = min(of)
            assert float(cell) == pytest.approx(min(of) / MS, rel=5e-3), (label, library)
            seen += 1
        ratio = min(s for library, s in fastest.items() if library != "edt") / fastest["edt"]
        assert faster == pytest.approx(ratio, rel=0.02), label
    assert seen == 11


def test_the_readme_fits_a_screen():
    """The finding, an example with its output, a report's picture with a link, and the table."""
    assert len(readme().splitlines()) <= 50
    first = readme().split("```python")[0]
    assert "docs/explore/index.html" in first.splitlines()[2] and "38 are stuck" in first
    (picture, report) = re.findall(r"\[!\[[^]]*\]\(([^)]*)\)\]\(([^)]*)\)", readme())[0]
    assert (ROOT / picture).is_file() and (ROOT / report).is_file()


def test_lenet():
    """Of the page on performance, which names this record."""
    times = record("2026-11-29-amd-epyc-2-threads-avx2.json")
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    said = re.findall(r"\(([\d.]+)x\)", page[page.index("LeNet-300-100, 16 networks") :])
    for words, sparsity in zip(said, names.LENET_SPARSITIES, strict=False):
        found = times[names.lenet_case(sparsity)]
        ratio = found[names.BADDBMM] / found["edt"]
        assert float(words) == pytest.approx(ratio, rel=0.03), sparsity
