"""Data of one's own in specs: recorded with a digest, looked up only where they may be."""

from __future__ import annotations

import json

import pytest
import torch

import edt
from edt.files import CheckpointError, encode
from edt.tasks import task_tables as tables
from edt.tasks.task_tables import check_task, data_file, make_task, stored, study_task, task_table

MODULE = """
import torch, edt

def pair(n=6, k=2.0):
    x = torch.linspace(-1, 1, n)[:, None]
    return x, k * x

def task(n=6):
    x, y = pair(n)
    weights = torch.arange(1, n + 1)
    return edt.Task(torch.stack([x, 2 * x]), torch.stack([y, y]), weights=weights, name="two")

def classes():
    return edt.Task(torch.eye(3), torch.arange(3), loss="cross_entropy", n_classes=4)

def wrong():
    return [1, 2, 3]

def fails():
    raise RuntimeError("no disk")

number = 3
"""


@pytest.fixture
def module(tmp_path):
    """A file with functions."""
    file = tmp_path / "mine.py"
    file.write_text(MODULE)
    return file


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("x", "y", "coef"))


def test_a_function_gives_the_data_and_their_digest(module):
    table = task_table({"import": f"{module}:pair", "n": 5})
    assert table["sizes"] == [1, 5, 1, 1] and table["n"] == 5
    made = make_task(table)
    assert made.dtype == torch.float64 and torch.equal(made.y, 2 * made.x)
    assert tables.outside(table) == (f"{module}:pair",)
    # Through JSON: nothing else of it is needed.
    assert make_task(json.loads(json.dumps(table))) is made
    assert task_table(f"{module}:pair")["sizes"] == [1, 6, 1, 1]


@pytest.mark.parametrize("name", ["pair", "task", "classes"])
def test_a_task_travels_with_its_table(module, name):
    """From a function, as a task of this process, and read from a run's directory: the same."""
    imported = task_table(f"{module}:{name}")
    task = make_task(imported)
    given = task_table(task)
    assert given["sha256"] == imported["sha256"] and given["sizes"] == imported["sizes"]
    assert make_task(given) is task
    file, data = data_file(given)
    with stored({file: data}.__getitem__):
        found = task_table(json.loads(json.dumps(given)))
    tables.forget_loaded()
    read = make_task(found)
    assert same(read, task) and (read.loss, read.d_out) == (task.loss, task.d_out)
    assert data_file(found) is None and data_file(imported) is None


def test_what_changed_is_an_error(module):
    table = task_table(f"{module}:pair")
    check_task(table)
    module.write_text(MODULE.replace("k=2.0", "k=3.0"))
    with pytest.raises(ValueError, match=r"pair' changed: now returns data with SHA-256"):
        check_task(table)
    tables._make.cache_clear()
    with pytest.raises(ValueError, match="changed"):
        make_task(table)
    task = edt.Task(torch.zeros(3, 1), torch.zeros(3, 1)).to(torch.float64)
    given = task_table(task)
    check_task(given)
    task.y[0] = 1.0
    with pytest.raises(ValueError, match="the data of task changed: now are"):
        check_task(given)


def test_another_file_of_data_is_not_that_of_a_run(module):
    given = task_table(make_task(task_table(f"{module}:pair")))
    file, _ = data_file(given)
    x = torch.ones(6, 1, dtype=torch.float64)
    header = {"loss": "mse", "d_out": 1, "title": "x"}
    forged, _ = encode(tables.KIND, {"x": x, "y": x, "coef": x[:, 0][None] / 6}, header)
    with stored({file: forged}.__getitem__):
        found = task_table(json.loads(json.dumps(given)))
    tables.forget_loaded()
    with pytest.raises(CheckpointError, match="not the data of this run"):
        make_task(found)


@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        ("{}:wrong", TypeError, "must be an edt.Task or a pair"),
        ("{}:fails", ValueError, "failed: RuntimeError: no disk"),
        ("{}:number", TypeError, "must be a function"),
        ("{}:nothing", ValueError, "AttributeError"),
        ({"import": "{}:pair", "m": 3}, ValueError, "unexpected keyword argument 'm'"),
        ({"import": "{}:pair", "file": "x.npz"}, ValueError, "not both"),
        ({"import": "{}:pair", "n": torch.ones(1)}, TypeError, "task n must be"),
        ("no_such_module_at_all:f", ValueError, "or name its file"),
        ("a b:f", TypeError, "name of a module"),
        ("__main__:f", ValueError, "other processes"),
        ({"import": 3}, TypeError, "task import must look like"),
        ({"import": "os"}, TypeError, "task import must look like"),
        ({"name": "import"}, ValueError, "must say which import"),
        ({"name": "data", "sha256": "0" * 64}, TypeError, "must be an edt.Task"),
        ({"import": "os:getcwd", "sha256": "0" * 63}, ValueError, "64 hexadecimal"),
        ({"import": "os:getcwd", "sha256": "0" * 64}, ValueError, "task sizes must be"),
        (edt.ModuleTask((torch.ones(2, 1), torch.ones(2, 1)), "mse"), TypeError, "task must be"),
    ],
)  # fmt: skip
def test_what_gives_no_data_is_said(module, entry, error, words):
    def here(value):
        return value.format(module) if isinstance(value, str) else value

    entry = {k: here(v) for k, v in entry.items()} if isinstance(entry, dict) else here(entry)
    with pytest.raises(error, match=words):
        task_table(entry)


@pytest.mark.parametrize("entry", [{"import": "antigravity:f"}, {"file": "/etc/hostname.csv"}])
def test_a_stored_table_is_not_looked_up(entry):
    """Where its digest is missing that is an error, not a reason to open or import anything."""
    with stored({}.__getitem__), pytest.raises(ValueError, match="must have its sha256"):
        task_table(entry)
    sizes = {"sizes": [1, 2, 3, 4]} if "import" in entry else {}
    with stored({}.__getitem__):
        found = task_table({**entry, **sizes, "sha256": "0" * 64})
    assert found["sha256"] == "0" * 64


def test_studies_take_their_names_or_data_of_ones_own(module):
    assert study_task("teacher", ("teacher_student", "diabetes")) == "teacher_student"
    assert study_task(f"{module}:pair", ("teacher_student",))["name"] == "import"
    with pytest.raises(ValueError, match="task"):
        study_task("xor", ("teacher_student",))
    with pytest.raises(ValueError, match="task"):
        study_task({"name": "xor"}, ("teacher_student",))
