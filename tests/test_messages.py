"""What the top level is asked by mistake is answered in its own words."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch

import edt
import edt.lottery
from edt.errors import ShapeError


def test_specs_of_another_kind_are_named(tmp_path):
    task = edt.tasks.xor()
    with pytest.raises(TypeError, match="spec must be a WidthSweepSpec, got Task"):
        edt.width_sweep(task)
    with pytest.raises(TypeError, match=r"spec must be an edt.SweepSpec.*got dict.*SweepSpec\(\*"):
        edt.sweep({"task": "xor"}, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", edt.lottery._MODULES)
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


class Square(torch.autograd.Function):
    """An operation whose derivative cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return 2.0 * ctx.saved_tensors[0] * slope


class Odd(torch.nn.Linear):
    """A layer whose outputs are changed."""

    def __init__(self, change, outputs=2):
        super().__init__(3, outputs)
        self.change = change

    def forward(self, x):
        return self.change(super().forward(x))


def test_modules_that_do_not_fit_are_told_why():
    task = edt.ModuleTask((torch.ones(20, 3), torch.tensor([0, 1] * 10)))
    once = edt.ModuleEnsemble([Odd(Square.apply)])
    assert edt.loss_and_grad(task, once)[0].isfinite().all()
    with pytest.raises(ValueError, match=r"Odd .*needs second derivatives of all it does"):
        edt.extreme_eigenpairs(task, once, 1)
    few = edt.ModuleEnsemble([Odd(lambda out: out[:5])])
    narrow = edt.ModuleEnsemble([Odd(lambda out: out, 1)])
    for verb in (edt.loss, edt.loss_and_grad, edt.hessian):
        with pytest.raises(ShapeError, match=r"outputs \[20, classes\].*got \[5, 2\]"):
            verb(task, few)
        with pytest.raises(ShapeError, match="an output for every class, got 1: target 1 is out"):
            verb(task, narrow)


class Stream(torch.utils.data.IterableDataset):
    """Batches without a length, or with one that is not kept."""

    def __iter__(self):
        return iter([(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))] * 2)


class Short(Stream):
    def __len__(self):
        return 3


def test_streams_are_read_once_and_may_not_end_early():
    def read(data):
        return edt.ModuleTask(torch.utils.data.DataLoader(data, batch_size=None))

    assert read(Stream()).N == 8
    with pytest.raises(ValueError, match="data ended after 2 batches, it said 3"):
        read(Short())
