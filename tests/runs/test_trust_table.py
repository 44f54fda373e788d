"""Every row of the page's table of trust is attacked by tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "howto" / "sweeps.md"
#: What a directory from somebody else cannot do, and the tests that try.
ROWS = {
    "run a command or import a module": (
        "runs/test_trust.py::test_no_command_import_connection_or_path_comes_from_a_directory",
        "runs/test_trust.py::test_a_forged_session_runs_no_command",
        "runs/test_trust.py::test_forged_results_of_jobs_are_not_unpickled",
    ),
    "choose where or how its runs are computed": (
        "runs/test_trust.py::test_a_forged_address_is_not_connected_to",
        "runs/test_trust.py::test_what_no_start_writes_is_refused",
    ),
    "have files outside read, made, changed or deleted": (
        "runs/test_trust.py::test_a_linked_folder_of_jobs_is_refused",
        "runs/store/test_inside.py::",
    ),
    "have your own data read": (
        "runs/test_trust.py::test_a_strangers_file_is_confirmed_or_not_read",
        "runs/test_trust.py::test_a_strangers_folder_is_confirmed",
        "runs/test_trust.py::test_a_signature_is_of_one_spec_and_one_user",
    ),
    "make you wait": (
        "fuzz/test_fuzz.py::test_what_is_no_plain_file_is_refused_without_a_wait",
        "fuzz/test_fuzz.py::test_mutations_end_in_documented_errors",
    ),
    "fill your memory": ("test_limits.py::", "fuzz/test_fuzz.py::test_kept_corpus"),
    "put anything into a report but text": ("show/test_escaping.py::test_a_forged_table_is_text",),
    "pass off parts as a run's": (
        "runs/test_trust.py::test_a_part_that_is_not_the_plans_is_named_and_made_again",
        "runs/test_trust.py::test_a_studys_part_is_named_and_made_again",
        "runs/test_trust.py::test_parts_of_a_stage_are_known_by_each_other",
    ),
}


def rows():
    """First cells of the table below "it cannot"."""
    _, _, table = PAGE.read_text().partition("| it cannot | because |\n|---|---|\n")
    return re.findall(r"^\| (.+?) \|", table.partition("\n\n")[0], re.MULTILINE)


def test_every_row_is_attacked():
    found = rows()
    assert len(found) >= 8
    words = {re.sub(r"[`*]", "", row) for row in found}
    uncovered = [row for row in words if not any(row.startswith(key) for key in ROWS)]
    assert not uncovered and len(words) == len(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_the_tests_are_there(row):
    for address in ROWS[row]:
        file, _, name = address.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in names if name else any(one.startswith("test_") for one in names), address
