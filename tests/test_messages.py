"""What the top level is asked by mistake is answered in its own words."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch

import edt
import edt.lottery


def test_specs_of_another_kind_are_named(tmp_path):
    task = edt.tasks.xor()
    with pytest.raises(TypeError, match="spec must be a WidthSweepSpec, got Task"):
        edt.width_sweep(task)
    with pytest.raises(TypeError, match=r"spec must be an edt.SweepSpec.*got dict.*SweepSpec\(\*"):
        edt.sweep({"task": "xor"}, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["criteria", "iterative", "prune", "schedules", "controls"])
def test_modules_of_the_lottery_need_no_import(name):
    assert getattr(edt.lottery, name) is importlib.import_module(f"edt.lottery.{name}")
    assert name in dir(edt.lottery)
    assert name in {found.name for found in pkgutil.iter_modules(edt.lottery.__path__)}


def test_what_is_not_there_is_not_there():
    with pytest.raises(AttributeError, match=r"edt\.lottery.*'tickles'"):
        edt.lottery.tickles  # noqa: B018


def test_an_argument_that_is_not_there_is_named():
    """Not one that is of another kind than the annotation says, which the function takes too."""
    networks = edt.ModuleEnsemble([torch.nn.Linear(2, 1)])
    task = edt.ModuleTask((torch.zeros(3, 2), torch.zeros(3, 1)))
    for verb in (edt.gradient_flow, edt.masked_train, edt.hessian_trace):
        with pytest.raises(TypeError, match="unexpected keyword argument 't_max'"):
            verb(task, networks, t_max=1.0)
