"""The tutorial notebooks: their cells run and hold what the text says, and the site has them."""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path

import matplotlib.image
import pytest

from edt.ops.threads import one_blas_thread

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("docs_notebooks", ROOT / ".ci/docs_notebooks.py")
made = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(made)

NOTEBOOKS = made.notebooks()
NAMES = [path.stem for path in NOTEBOOKS]


def kinds(outputs):
    """What a cell shows, without the numbers in it, which may differ between processors."""
    return [sorted(output.get("data", {"text": 0})) for output in outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_cells_run_and_show_what_the_file_shows(path):
    """Checks among the cells fail where the text says what is not so."""
    with one_blas_thread():
        shown = made.compute(path)
    kept = [cell["outputs"] for cell in made.cells(path) if cell["cell_type"] == "code"]
    assert [kinds(outputs) for outputs in shown] == [kinds(outputs) for outputs in kept]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_what_the_file_shows_is_of_its_code(path):
    """Otherwise: ``make notebooks``."""
    book = json.loads(path.read_text(encoding="utf-8"))
    assert book["metadata"]["edt"]["code"] == made.fingerprint(book["cells"])
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert sum(made.is_check(cell) for cell in code) >= 2
    assert book["nbformat"] == 4 and len({cell["id"] for cell in book["cells"]}) == len(
        book["cells"]
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_pages_have_all_but_the_checks(path, tmp_path):
    text, pictures = made.page(path)
    assert text.startswith("# ") and "assert " not in text and "<style" not in text
    for name, png in pictures.items():
        (tmp_path / name).write_bytes(png)
        pixels = matplotlib.image.imread(tmp_path / name)
        assert pixels.std() > 0.02, f"{name} is empty"
        (line,) = [line for line in text.splitlines() if f"(images/{name})" in line]
        assert len(line.split("](")[0]) > 40, f"{name} needs a description"
    cells = made.cells(path)
    drawn = [
        output["data"]["image/png"]
        for cell in cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", ())
    ]
    assert [base64.b64decode(one) for one in drawn] == list(pictures.values())


def test_a_cell_that_is_wrong_is_named(tmp_path):
    cell = {"cell_type": "code", "source": "x = 1\nassert x == 2", "metadata": {}, "outputs": []}
    path = tmp_path / "wrong.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}}))
    with pytest.raises(AssertionError) as failure:
        made.compute(path)
    assert str(failure.traceback[-1].path).endswith("wrong.ipynb, code cell 1")


def test_the_site_leads_to_every_notebook():
    """And to the pages beside them."""
    yaml = pytest.importorskip("yaml")
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (tutorials,) = [
        part["Tutorials"] for part in yaml.safe_load(text)["nav"] if "Tutorials" in part
    ]
    pages = [page for entry in tutorials for page in entry.values()]
    for name in NAMES:
        assert f"notebooks/{name}.md" in pages
    assert {"what.md", "howto/own.md"} <= set(pages)
    assert len(NAMES) >= 5
