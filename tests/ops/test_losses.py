"""Every loss: against the plain PyTorch twin, torch's own formulas, and numbers of 50 digits."""

from __future__ import annotations

from typing import Any

import mpmath
import pytest
import torch
from loss_by_func import by_func, descended, example, targets
from op_cases import compare, going_round
from torch.nn import functional as F

import edt
from edt import _core
from edt.ops.losses import LOSSES

NEW = [name for name in LOSSES if name not in ("mse", "cross_entropy")]


def test_the_core_numbers_the_losses_as_this_table_does() -> None:
    assert list(_core.CODES["loss"]) == list(LOSSES)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("loss", NEW)
def test_every_op_is_the_twins(loss: str, depth: int, dtype: torch.dtype) -> None:
    """Tolerances: rounding bars of `compare`."""

    def compute(ens: Any, task: Any, index: Any, vectors: Any, _: Any) -> dict[str, Any]:
        value, grad = edt.loss_and_grad(task, ens, task_index=index)
        return {
            "loss": edt.loss(task, ens, task_index=index),
            "loss beside grad": value,
            "grad": grad,
            "hvp": edt.hvp(task, ens, vectors, task_index=index),
            "ggn_vp": edt.ggn_vp(task, ens, vectors, task_index=index),
            "hessian": edt.hessian(task, ens, task_index=index),
            "ggn": edt.hessian(task, ens, task_index=index, ggn=True),
        }

    for k, activation in enumerate(("tanh", "relu", "softplus")):
        compare(going_round(activation, depth, loss, k % 2, dtype), compute, vectors=3)


@pytest.mark.parametrize("loss", LOSSES)
def test_values_slopes_and_curvature_are_those_of_torch_func(loss: str) -> None:
    """1e-12 of the largest entry: sums of 41 terms in another order."""
    task, ens = example(loss, 41, 5)
    vectors = torch.randn(2, ens.total, dtype=torch.float64, generator=torch.manual_seed(1))
    value, grad = edt.loss_and_grad(task, ens)
    squares, matrices = edt.hessian(task, ens, ggn=True), edt.hessian(task, ens)
    products = edt.hvp(task, ens, vectors), edt.ggn_vp(task, ens, vectors)
    for b in range(ens.B):
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        found = {
            "loss": value[b],
            "grad": grad[span],
            "hessian": matrices[b],
            "ggn": squares[b],
            "hvp": products[0][:, span],
            "ggn_vp": products[1][:, span],
        }
        for name, wanted in by_func(loss, ens, task, b, vectors[:, span]).items():
            near = 1e-12 * float(wanted.abs().max())
            torch.testing.assert_close(found[name], wanted, rtol=0, atol=near, msg=name)


@pytest.mark.parametrize("loss", LOSSES)
def test_steps_on_minibatches_are_those_of_torch_func(loss: str) -> None:
    """Eleven steps of gradient descent, of batches of 7 of 40 samples with weights of their own."""
    task, ens = example(loss, 40, 9)
    found = edt.masked_train(
        task, ens, steps=11, lr=0.1, optimizer="gd", batch_size=7, data_seed=[3, 5],
        device="cpu", progress=False,
    )  # fmt: skip
    for b, seed in enumerate((3, 5)):
        wanted = descended(loss, ens, task, b, seed=seed, batch=7, steps=11, lr=0.1)
        mine = found.networks.network(b).theta
        torch.testing.assert_close(mine, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_binary_losses_keep_their_digits_where_they_are_tiny(dtype: torch.dtype) -> None:
    """Of 2e-9 at a logit of 20 the naive difference keeps 7 digits in float64, none in float32.

    32 units in the last place: exp of an argument of up to 60 loses some, the rest is rounding.
    """
    mpmath.mp.dps = 50
    logits = torch.tensor([-60.0, -20.0, -3.0, -1e-3, 0.0, 0.5, 3.0, 20.0, 60.0], dtype=dtype)
    one = edt.Ensemble([1], d_in=1, d_out=1, activation="identity", bias=False, dtype=dtype)
    one = one.with_theta(torch.ones(2, dtype=dtype))
    for loss, labels in (("bce", (0.0, 1.0)), ("logistic", (-1.0, 1.0))):
        for label in labels:
            for f in logits:
                task = edt.Task(f.view(1, 1), torch.full((1, 1), label, dtype=dtype), loss)
                value, grad = edt.loss_and_grad(task, one)
                sign = 1 if label == labels[0] else -1
                exact = mpmath.log1p(mpmath.exp(sign * mpmath.mpf(float(f))))
                slope = sign / (1 + mpmath.exp(-sign * mpmath.mpf(float(f))))
                ulp = torch.finfo(dtype).eps
                assert abs(float(value[0]) - exact) <= 32 * ulp * exact
                # The chain's own gradient is slope * f, for both weights.
                wanted = slope * mpmath.mpf(float(f))
                assert abs(float(grad[0]) - wanted) <= 32 * ulp * abs(wanted)


def test_smoothed_labels_are_torchs() -> None:
    draw = torch.Generator().manual_seed(6)
    x = torch.randn(30, 2, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 3, (30,), generator=draw)
    task = edt.Task(x, y, "cross_entropy", label_smoothing=0.1)
    assert task.loss == "soft_cross_entropy" and task.d_out == 3
    ens = edt.Ensemble.init([4], [0], d_in=2, d_out=3)
    wanted = F.cross_entropy(ens.to_module(0)(x), y, label_smoothing=0.1)
    torch.testing.assert_close(edt.loss(task, ens)[0], wanted.detach(), rtol=1e-13, atol=0)


@pytest.mark.parametrize("loss", NEW)
@pytest.mark.parametrize("batch", [None, 7])
def test_training_and_minima(loss: str, batch: int | None) -> None:
    draw = torch.Generator().manual_seed(7)
    x = torch.randn(50, 2, generator=draw, dtype=torch.float64)
    # Noisy labels: no network of two units separates them, so the losses have minima.
    y = targets(loss, draw, (50, 2))
    task = edt.Task(x, y, loss)
    ens = edt.Ensemble.init([2], range(3), d_in=2, d_out=2)
    run = edt.masked_train(task, ens, steps=300, lr=0.02, batch_size=batch, progress=False)
    assert bool((run.loss < edt.loss(task, ens)).all())
    if batch is None:
        alone = edt.masked_train(task, ens[[1]], steps=300, lr=0.02, progress=False)
        assert torch.equal(alone.networks.theta, run.networks.network(1).theta)
        end = edt.converge(task, run.networks, progress=False)
        assert bool((end.loss <= run.loss * (1 + 1e-12)).all())


@pytest.mark.parametrize(
    "y, loss, says",
    [
        ([[0.5], [1.5]], "bce", r"shares in \[0, 1\] for bce, got 1.5 at \[1, 0\]"),
        ([[0.0], [1.0]], "logistic", "labels -1 or 1 for logistic, got 0"),
        ([[2.0], [1.0]], "squared_hinge", "labels -1 or 1 for squared_hinge, got 2"),
        ([[0.5, 0.6], [0.5, 0.5]], "soft_cross_entropy", "add up to 1"),
    ],
)
def test_targets_that_a_loss_is_not_meant_for(y: list[list[float]], loss: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        edt.Task(torch.zeros(2, 1, dtype=torch.float64), torch.tensor(y).double(), loss)


def test_smoothing_needs_classes() -> None:
    x, y = torch.zeros(2, 1).double(), torch.zeros(2, 1).double()
    with pytest.raises(ValueError, match="label_smoothing must be in"):
        edt.Task(x, y, "mse", label_smoothing=0.1)


def test_modules_take_the_same_losses() -> None:
    draw = torch.Generator().manual_seed(8)
    x = torch.randn(20, 2, generator=draw, dtype=torch.float64)
    for loss in NEW:
        task = edt.Task(x, targets(loss, draw, (20, 2)), loss)
        ens = edt.Ensemble.init([3], range(2), d_in=2, d_out=2)
        modules = edt.ModuleEnsemble([ens.to_module(b) for b in range(2)])
        torch.testing.assert_close(edt.loss(task, modules), edt.loss(task, ens))
