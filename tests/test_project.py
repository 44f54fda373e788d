"""Licence, citation, change log and workflow agree with pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

import edt

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[import-not-found,no-redef]

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_one_version_everywhere():
    assert edt.__version__ == PROJECT["version"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"(?m)^version: (.+)$", citation)[1] == PROJECT["version"]
    assert re.search(r"(?m)^license: (.+)$", citation)[1] == PROJECT["license"]
    versions = re.findall(r"(?m)^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text())
    assert PROJECT["version"] in versions
    ordered = sorted(versions, key=lambda v: tuple(map(int, v.split("."))), reverse=True)
    assert versions == ordered


def test_licence_is_the_declared_one():
    assert PROJECT["license-files"] == ["LICENSE"]
    assert (ROOT / "LICENSE").read_text().startswith(f"{PROJECT['license']} License")


def test_links_of_the_root_pages_lead_somewhere():
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text()):
            assert link.startswith("http") or (ROOT / link).exists(), f"{page}: {link}"


def test_source_distribution_is_asked_for_what_others_need():
    """`.ci/check_sdist.py` asks for the files that others need, and they are there."""
    text = (ROOT / ".ci" / "check_sdist.py").read_text().split("\n\ndef main")[0]
    scope: dict[str, list[str]] = {}
    exec(text, scope)  # type: ignore[arg-type]
    wanted = {"LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", ".github"}
    assert wanted <= set(scope["NEEDED"])
    assert all((ROOT / name).exists() for name in scope["NEEDED"])


def test_workflow_runs_what_a_person_runs():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    for wanted in ("bash .ci/run", "pypa/cibuildwheel@", ".ci/check_sdist.py"):
        assert wanted in text
