"""Curvature over batches, over some parameters, and over several tasks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import edt
from edt.curvature import HessianOperator
from edt.tasks import TaskSum


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3, bias=False)
    ).double()


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(11, 1, 4, 4, generator=draw, dtype=torch.float64), torch.arange(11) % 3


def exact(module: nn.Module, loss) -> torch.Tensor:
    """The Hessian by autograd, over all parameters in their order."""
    names = [name for name, _ in module.named_parameters()]
    shapes = [value.shape for _, value in module.named_parameters()]
    flat = torch.cat([value.detach().reshape(-1) for value in module.parameters()])

    def value(point: torch.Tensor) -> torch.Tensor:
        parts = torch.split(point, [shape.numel() for shape in shapes])
        named = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return loss(lambda x: torch.func.functional_call(module, named, (x,)))

    return torch.autograd.functional.hessian(value, flat)


@pytest.mark.parametrize("kind", ["list", "loader", "step"])
def test_batches_of_any_form_add_up_to_the_whole(data, kind) -> None:
    """Uneven batches: the sum over samples, whatever holds them, and the same bits every call."""
    module, (x, y) = net(), data
    pairs = [(x[k : k + 4], y[k : k + 4]) for k in range(0, 11, 4)]
    task = {
        "list": lambda: edt.ModuleTask(pairs),
        "loader": lambda: edt.ModuleTask(DataLoader(TensorDataset(x, y), batch_size=4)),
        "step": lambda: edt.ModuleTask(
            [{"pixels": a, "labels": b} for a, b in pairs],
            step=lambda model, batch: nn.functional.cross_entropy(
                model(batch["pixels"]), batch["labels"]
            ),
        ),
    }[kind]()
    networks = edt.ModuleEnsemble([module])
    wanted = exact(module, lambda call: nn.functional.cross_entropy(call(x), y))
    # Sums over three batches instead of one.
    close = {"rtol": 1e-10, "atol": 1e-13}
    torch.testing.assert_close(edt.hessian(task, networks)[0], wanted, **close)
    operator = HessianOperator(task, networks)
    v = torch.randn(44, generator=torch.Generator().manual_seed(2), dtype=torch.float64).numpy()
    torch.testing.assert_close(
        torch.from_numpy(operator @ v), wanted @ torch.from_numpy(v), **close
    )
    assert (operator @ v).tobytes() == (operator @ v).tobytes()
    (pair,) = edt.extreme_eigenpairs(task, networks, 2, which="LA")
    top = torch.linalg.eigvalsh(wanted)[-2:]
    torch.testing.assert_close(torch.as_tensor(pair.values), top, rtol=1e-8, atol=1e-10)
    first, again = (edt.hessian_trace(task, networks, seed=3) for _ in range(2))
    assert repr(first) == repr(again)


def test_loaders_that_shuffle_or_end_early_are_refused(data) -> None:
    x, y = data
    with pytest.raises(ValueError, match="shuffle"):
        edt.ModuleTask(DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True))

    class Short:
        def __len__(self) -> int:
            return 3

        def __iter__(self):
            return iter([(x, y)])

    with pytest.raises(ValueError, match="ended after 1 batches, it said 3"):
        edt.ModuleTask(Short())


def test_a_filter_by_name_is_the_block_of_the_hessian(data) -> None:
    module, (x, y) = net(), data
    task, networks = edt.ModuleTask((x, y)), edt.ModuleEnsemble([module])
    whole = exact(module, lambda call: nn.functional.cross_entropy(call(x), y))
    for patterns, rows in ((("0.*",), range(20)), (("*.weight",), [*range(18), *range(20, 44)]),
                           (("3.weight", "0.bias"), range(18, 44))):  # fmt: skip
        some = edt.only(networks, *patterns)
        index = torch.tensor(list(rows))
        torch.testing.assert_close(edt.hessian(task, some)[0], whole[index][:, index],
                                   rtol=1e-10, atol=1e-13)  # fmt: skip
        assert HessianOperator(task, some).shape == (len(index), len(index))
    pruned = networks.with_masks(torch.arange(44) != 3)
    assert int(edt.only(pruned, "0.*").coords) == 19
    chain = edt.Ensemble.init([3, 5], [0], d_in=2, d_out=1)
    assert edt.only(chain, "1.*").coords.tolist() == [4, 6]
    with pytest.raises(ValueError, match=r"'fc\*' fits no tensor; there are 0.weight, 0.bias"):
        edt.only(networks, "0.*", "fc*")
    with pytest.raises(ValueError, match="at least one"):
        edt.only(networks)
    with pytest.raises(TypeError, match="patterns must be names"):
        edt.only(networks, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["chains", "modules"])
def test_several_tasks_add_up(kind) -> None:
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(9, 2, generator=draw, dtype=torch.float64)
    y = torch.randn(9, 1, generator=draw, dtype=torch.float64)
    chain = edt.Ensemble.init([3, 4], [0], d_in=2, d_out=1)
    networks = (
        chain if kind == "chains" else edt.ModuleEnsemble([chain.to_module(b) for b in range(2)])
    )
    one, two = edt.Task(x, y), edt.Task(x[:4], -y[:4], loss="huber")
    both = TaskSum([one, two], [0.25, 2.0])
    close = {"rtol": 1e-12, "atol": 1e-13}

    def summed(what):
        return [0.25 * a + 2.0 * b for a, b in zip(what(one), what(two), strict=True)]

    v = torch.randn(3, networks.total, generator=draw, dtype=torch.float64)
    for what in (
        lambda task: edt.loss_and_grad(task, networks),
        lambda task: edt.hessian(task, networks),
        lambda task: [edt.hvp(task, networks, v), edt.ggn_vp(task, networks, v)],
    ):
        for found, wanted in zip(what(both), summed(what), strict=True):
            torch.testing.assert_close(found, wanted, **close)
    a, b = (edt.masked_train(both, networks, optimizer="gd", lr=0.1, steps=30, progress=False)
            for _ in range(2))  # fmt: skip
    assert bool((a.loss < edt.loss(both, networks)).all()) and torch.equal(a.loss, b.loss)
    pairs = edt.extreme_eigenpairs(both, networks, 1, which="LA")
    for pair, matrix in zip(pairs, edt.hessian(both, networks), strict=True):
        top = torch.linalg.eigvalsh(matrix)[-1]
        torch.testing.assert_close(torch.as_tensor(pair.values)[0], top, rtol=1e-8, atol=1e-10)
    with pytest.raises(ValueError, match="weights must be one a task"):
        TaskSum([one, two], [1.0])
    with pytest.raises(TypeError, match=r"tasks\[1\] must be"):
        TaskSum([one, 3])
