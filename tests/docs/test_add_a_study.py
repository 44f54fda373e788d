"""The walk "Adding a study" of docs/contributing.md, followed on a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_walk_gives_a_study_with_a_command_a_page_and_engines(tmp_path):
    shutil.copytree(ROOT / "edt", tmp_path / "edt", ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    walk = text[text.index("## Adding a study") :]
    files = re.findall(r"`(edt/studies/patience/\w+\.py)`.*?```python\n(.*?)```", walk, re.S)
    assert [Path(name).name for name, _ in files] == [
        "__init__.py", "spec.py", "run.py", "panels.py", "page.py",
    ]  # fmt: skip
    (tmp_path / "edt" / "studies" / "patience").mkdir()
    for name, code in files:
        (tmp_path / name).write_text(code, encoding="utf-8")
    registry = tmp_path / "edt" / "studies" / "registry.py"
    (line,) = re.findall(r"in `FOLDERS`: `([^`]*)`", walk)
    known = registry.read_text(encoding="utf-8")
    registry.write_text(known.replace("FOLDERS = (\n", f"FOLDERS = (\n    {line}\n"))

    def edt(*words):
        return subprocess.run(
            [sys.executable, "-m", "edt", *words],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True,
            text=True, check=True,
        ).stdout  # fmt: skip

    shown = edt("run", "patience", "--help")
    assert "Does exclusive or get easier" in shown and "--budgets" in shown
    assert "Hidden neurons m" in shown  # from the docstring of the spec
    said = json.loads(edt("run", "patience", "--quick", "--out", "one", "--json", "--no-progress"))
    assert [row["steps"] for row in said["success"]] == [100, 400]
    edt("run", "patience", "--quick", "--out", "two", "--workers", "2", "--no-progress")
    tables = [(tmp_path / name / "runs.parquet").read_bytes() for name in ("one", "two")]
    assert tables[0] == tables[1]
    assert (tmp_path / "one" / "report.html").is_file()
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert "Success against steps" in page
    assert json.loads(edt("status", "one", "--json"))["kind"] == "patience"
    assert edt("export", "one").strip().endswith("runs.csv")
