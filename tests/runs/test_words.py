"""Dates, texts and lists where numbers or words belong: the field, the value, what is allowed."""

from __future__ import annotations

import datetime
from dataclasses import fields

import pytest

from edt.cli import main as program
from edt.limits import TooLargeError
from edt.runs.sweeps.axes import AXES
from edt.studies.registry import STUDIES

VALUES = (
    "2020-01-01", "abc", "", datetime.date(2020, 1, 1), [1], [["a"]], (1.5, "x"), {"a": 1},
    float("nan"), float("inf"), -1, 10**400, None, True,
)  # fmt: skip


def right(value, annotation):
    """Whether a value is of the kind that a field is declared to hold."""
    if annotation.startswith("tuple"):
        inner = annotation.removeprefix("tuple[").partition(",")[0]
        return isinstance(value, (list, tuple)) and all(right(one, inner) for one in value)
    if value is None:
        return "None" in annotation
    kinds = {
        "str": str, "bool": bool, "int": int, "float": (int, float), "int | None": int,
        "float | None": (int, float), "str | None": str,
    }  # fmt: skip
    whole = isinstance(value, bool) and annotation.partition(" ")[0] != "bool"
    return not whole and isinstance(value, kinds.get(annotation, object))


@pytest.mark.parametrize("kind", STUDIES)
def test_fields_of_studies_name_themselves(kind):
    made = STUDIES[kind].experiment.spec_type
    for entry in fields(made):
        for value in VALUES:
            said = complaint(made, entry, value)
            assert entry.name in said, (entry.name, value, said)


def complaint(made, entry, value):
    """What a spec says of the value of a field; just its name where it takes a right one."""
    try:
        spec = made.from_dict({entry.name: value})
    except TooLargeError as error:
        return f"{entry.name} {error}" if isinstance(value, int) else str(error)
    except (TypeError, ValueError) as error:
        return str(error)
    assert len(spec.digest) == 16
    return entry.name if right(value, str(entry.type)) else "took it"


def told(capsys, tmp_path, text):
    """Exit code and error of a sweep of a TOML text."""
    (tmp_path / "data.csv").write_text("a,y\n1,2\n3,4\n")
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(SystemExit) as stop:
        program(["sweep", str(file), "--plan"])
    return stop.value.code, " ".join(capsys.readouterr().err.split())


DATES = ("1979-05-27", "1979-05-27T07:32:00Z", "07:32:00")


@pytest.mark.parametrize("value", DATES)
def test_dates_in_a_sweep(capsys, tmp_path, value):
    for name in AXES:
        code, error = told(capsys, tmp_path, f'task = "xor"\n[grid]\n{name} = {value}\n')
        assert code == 2 and name in error and "got" in error, error
    for name in ("good", "shard_seconds", "mus", "analysis", "points"):
        code, error = told(capsys, tmp_path, f'{name} = {value}\ntask = "xor"\n')
        assert code == 2 and name in error, error
    for table in ('name = "teacher_student"', 'file = "data.csv"'):
        for name in ("n", "noise", "loss", "x", "standardise"):
            code, error = told(capsys, tmp_path, f"[task]\n{table}\n{name} = {value}\n")
            assert code == 2 and f"task {name} must be" in error and "datetime" in error, error


@pytest.mark.parametrize("value", ["nan", "true", "[]", "[[1]]", "{a = 1}", "3"])
def test_names_of_columns(capsys, tmp_path, value):
    for name in ("x", "y", "weights"):
        code, error = told(capsys, tmp_path, f'[task]\nfile = "data.csv"\n{name} = {value}\n')
        assert code == 2 and name in error and "must be" in error, error
    code, error = told(capsys, tmp_path, f'[task]\nfile = "data.csv"\nstandardise = {value}\n')
    assert (code, error) == (0, "") if value == "true" else code == 2 and "standardise" in error


def test_texts_among_shares(capsys, tmp_path):
    code, error = told(capsys, tmp_path, 'mus = ["abc"]\ntask = "xor"\n')
    assert code == 2 and "mus must hold numbers, got ['abc']" in error
