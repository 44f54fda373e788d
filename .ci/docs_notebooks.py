"""Notebooks of the site: computes their cells, keeps what they show, and makes pages of them.

    python .ci/docs_notebooks.py [docs/notebooks/NAME.ipynb ...]   (make notebooks)

computes the cells of notebooks, in their order, and writes what they show into the files. The build
of the site makes a page of each file as it is: code, text, tables and pictures.
`tests/docs/test_notebooks.py` computes them again.

What a cell shows is what it prints, and the value of its last line by ``_repr_png_`` or
``_repr_html_``, as in Jupyter; neither Jupyter nor IPython is needed. A cell tagged "check" is
what the text around it claims, as assertions: in the file, but not on the page. The picture that a
cell shows is described by its metadata's "alt".
"""

from __future__ import annotations

import ast
import base64
import contextlib
import hashlib
import io
import json
import re
import sys
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "notebooks"

Cell = dict[str, Any]
Output = dict[str, Any]


def notebooks() -> list[Path]:
    """All of them, in the order of the site."""
    return sorted(FOLDER.glob("*.ipynb"))


def cells(path: Path) -> list[Cell]:
    """The cells of a notebook."""
    found: list[Cell] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def source(cell: Cell) -> str:
    """The text of a cell."""
    text: str | list[str] = cell["source"]
    return text if isinstance(text, str) else "".join(text)


def is_check(cell: Cell) -> bool:
    """Whether a cell holds assertions only."""
    return "check" in cell["metadata"].get("tags", ())


def fingerprint(found: list[Cell]) -> str:
    """Of the code: outputs in the file belong to it."""
    code = [source(cell) for cell in found if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def compute(path: Path) -> list[list[Output]]:
    """What the code cells of a notebook show, cell after cell.

    Raises:
        Exception: what a cell raises.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for number, cell in enumerate(cell for cell in cells(path) if cell["cell_type"] == "code"):
        printed = io.StringIO()
        *body, last = ast.parse(source(cell)).body
        where = f"{path.name}, code cell {number + 1}"
        with contextlib.redirect_stdout(printed):
            value = None
            if isinstance(last, ast.Expr):
                exec(compile(ast.Module(body, []), where, "exec"), names)
                value = eval(compile(ast.Expression(last.value), where, "eval"), names)
            else:
                exec(compile(ast.Module([*body, last], []), where, "exec"), names)
        outputs: list[Output] = []
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            outputs.append({"name": "stdout", "output_type": "stream", "text": text})
        if value is not None:
            outputs.append(
                {
                    "data": bundle(value),
                    "execution_count": number + 1,
                    "metadata": {},
                    "output_type": "execute_result",
                }
            )
        shown.append(outputs)
    return shown


def bundle(value: Any) -> dict[str, Any]:
    """A value as Jupyter shows it, the plain text for what can show nothing else."""
    data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
    html = value._repr_html_() if hasattr(value, "_repr_html_") else None
    if html is not None:
        data["text/html"] = html.splitlines(keepends=True)
    if hasattr(value, "_repr_png_"):
        data["image/png"] = base64.b64encode(value._repr_png_()).decode()
        data["text/plain"] = [f"<{type(value).__name__}>"]
    return data


def write(path: Path) -> None:
    """Compute a notebook and keep what it shows."""
    book = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    for number, (cell, outputs) in enumerate(zip(code, compute(path), strict=True)):
        cell["execution_count"], cell["outputs"] = number + 1, outputs
    book["metadata"]["edt"] = {"code": fingerprint(book["cells"])}
    text = json.dumps(book, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by name."""
    parts, pictures = [], {}
    for cell in cells(path):
        if cell["cell_type"] == "markdown":
            parts.append(source(cell))
            continue
        if is_check(cell):
            continue
        parts.append(f"```python\n{source(cell)}\n```")
        for output in cell["outputs"]:
            if output["output_type"] == "stream":
                parts.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
                continue
            data = output["data"]
            if "image/png" in data:
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![{cell['metadata']['alt']}](images/{name})")
            elif "text/html" in data:
                html = re.sub(r"(?s)<style.*?</style>", "", "".join(data["text/html"]))
                # A blank line would end the block of HTML.
                lines = "\n".join(line.strip() for line in html.splitlines() if line.strip())
                parts.append(f'<div class="shown" tabindex="0">\n{lines}\n</div>')
            else:
                parts.append(f'<pre class="shown">{escape("".join(data["text/plain"]))}</pre>')
    title, _, rest = "\n\n".join(parts).partition("\n")
    note = f"*[The notebook itself]({path.name}), to run and change.*"
    return f"{title}\n\n{note}\n{rest}", pictures


def on_files(files: Any, config: Any) -> Any:
    """Put the pages of the notebooks into the site, beside their files."""
    from mkdocs.structure.files import File

    for path in notebooks():
        text, pictures = page(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, png in pictures.items():
            files.append(File.generated(config, f"notebooks/images/{name}", content=png))
    return files


def main(arguments: list[str]) -> int:
    """Compute the notebooks named, or all."""
    from edt.ops.threads import one_blas_thread

    for path in map(Path, arguments) if arguments else notebooks():
        with one_blas_thread():  # networks this small lose by threads
            write(path)
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
