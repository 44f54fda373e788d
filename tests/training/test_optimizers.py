"""Every optimiser against `torch.optim` in float64, network by network."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import edt
import edt.training as training
from edt.training.schedules import learning_rate_factors

STEPS = 50

CASES = {
    "gd": ({"optimizer": "gd", "lr": 0.05}, torch.optim.SGD, {"lr": 0.05}),
    "gd, decay": (
        {"optimizer": "gd", "lr": 0.05, "weight_decay": 0.1},
        torch.optim.SGD,
        {"lr": 0.05, "weight_decay": 0.1},
    ),
    "sgd, momentum": (
        {"optimizer": "sgd", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.01},
        torch.optim.SGD,
        {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.01},
    ),
    "sgd, dampening": (
        {"optimizer": "sgd", "lr": 0.02, "momentum": 0.8, "dampening": 0.3},
        torch.optim.SGD,
        {"lr": 0.02, "momentum": 0.8, "dampening": 0.3},
    ),
    "sgd, nesterov": (
        {"optimizer": "sgd", "lr": 0.02, "momentum": 0.9, "nesterov": True},
        torch.optim.SGD,
        {"lr": 0.02, "momentum": 0.9, "nesterov": True},
    ),
    "adam": ({"optimizer": "adam", "lr": 0.02}, torch.optim.Adam, {"lr": 0.02}),
    "adam, decay": (
        {"optimizer": "adam", "lr": 0.02, "weight_decay": 0.1, "betas": (0.8, 0.99), "eps": 1e-6},
        torch.optim.Adam,
        {"lr": 0.02, "weight_decay": 0.1, "betas": (0.8, 0.99), "eps": 1e-6},
    ),
    "adamw": (
        {"optimizer": "adamw", "lr": 0.02, "weight_decay": 0.1},
        torch.optim.AdamW,
        {"lr": 0.02, "weight_decay": 0.1},
    ),
}


def torch_run(cases, ens, data, b, make, options, factor=None):
    """Train network b's coordinates with torch.optim; returns its flat parameters."""
    row = ens.layer_widths[b].tolist()
    x, y = data.x.reshape(-1, row[0]), data.y.reshape(-1, row[-1])
    base = cases.part(ens, b).clone()
    chosen = cases.part(ens, b, ens.state) == 1
    leaf = base[chosen].clone().requires_grad_()
    optimizer = make([leaf], **options)
    clock = torch.optim.lr_scheduler.LambdaLR(optimizer, factor) if factor else None
    for _ in range(STEPS):
        optimizer.zero_grad()
        theta = base.masked_scatter(chosen, leaf)
        ((cases.forward(theta, row, x) - y) ** 2).sum(-1).mean().backward()
        optimizer.step()
        if clock:
            clock.step()
    return base.masked_scatter(chosen, leaf.detach())


# Both sides round every step at 1e-16; Adam divides by sqrt(v), which turns a relative error of a
# small gradient into an absolute one of the step, so 50 steps may differ by far more than 1e-16.
# A wrong formula differs by at least lr * 1e-3.
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", ["plain", "masked", "deep"])
def test_matches_torch_optim(device, cases, name, shape):
    options, make, torch_options = CASES[name]
    if shape == "deep":
        ens = cases.ensemble([(3, 4), (5, 2)], d_out=2)
        data = cases.task(d_out=2)
    else:
        share = 0.3 if shape == "masked" else 0.0
        ens = cases.ensemble([2, 5, 9], pruned=share, frozen=share / 2)
        data = cases.task()
    result = training.masked_train(data, ens, steps=STEPS, device=device, progress=False, **options)
    assert result.steps.tolist() == [STEPS] * len(ens)
    for b in range(len(ens)):
        expected = torch_run(cases, ens, data, b, make, torch_options)
        torch.testing.assert_close(cases.part(result.networks, b), expected, rtol=1e-9, atol=1e-10)
    fixed = ens.state != 1
    assert torch.equal(result.networks.theta[fixed], ens.theta[fixed])


def test_schedule_matches_torch(device, cases):
    ens, data = cases.ensemble([4]), cases.task()
    factor = lambda t: 0.97**t  # noqa: E731
    result = training.masked_train(
        data, ens, steps=STEPS, lr=0.05, schedule=factor, device=device, progress=False
    )
    expected = torch_run(cases, ens, data, 0, torch.optim.Adam, {"lr": 0.05}, factor)
    torch.testing.assert_close(result.networks.theta, expected, rtol=1e-9, atol=1e-10)


def test_per_network_rates(device, equal, cases):
    ens, data = cases.ensemble([3, 3]), cases.task()
    run = {"steps": 20, "device": device, "progress": False}
    together = training.masked_train(data, ens, lr=[0.01, 0.1], weight_decay=[0.0, 0.2], **run)
    for b, (lr, decay) in enumerate([(0.01, 0.0), (0.1, 0.2)]):
        alone = training.masked_train(data, ens.network(b), lr=lr, weight_decay=decay, **run)
        equal(cases.part(together.networks, b), alone.networks.theta)


def test_final_loss_and_history(device, cases):
    ens, data = cases.ensemble([3, 6]), cases.task()
    result = training.masked_train(
        data,
        ens,
        steps=40,
        lr=0.02,
        record=10,
        record_params=True,
        device=device,
        progress=False,
    )
    assert result.history["step"].values.tolist() == [0, 10, 20, 30, 40]
    for b in range(2):
        row = ens.layer_widths[b].tolist()
        for at, flat in ((0, ens.theta), (-1, result.networks.theta)):
            out = cases.forward(cases.part(ens, b, flat), row, data.x.reshape(-1, 2))
            loss = ((out - data.y.reshape(-1, 1)) ** 2).sum(-1).mean()
            # One sum of 37 terms in another order: a few units in the last place.
            assert float(result.history["loss"][at, b]) == pytest.approx(float(loss), rel=1e-13)
    assert torch.equal(torch.tensor(result.history["loss"].values[-1]), result.loss)
    params = torch.tensor(result.history["params"].values)
    assert torch.equal(params[0], ens.theta) and torch.equal(params[-1], result.networks.theta)


def test_stops_by_gradient_and_by_loss(device, cases):
    ens, data = cases.ensemble([1, 4]), cases.task()
    run = {"lr": 0.05, "device": device, "progress": False}
    first = training.masked_train(data, ens, steps=300, **run)
    target = float(first.loss.max()) * 1.05
    result = training.masked_train(data, ens, steps=3000, loss_target=target, **run)
    assert result.status == ["target", "target"] and bool((result.loss <= target).all())
    assert bool((result.steps < 3000).all())
    easy = training.masked_train(data, ens, steps=100, tol=1e6, **run)
    assert easy.status == ["converged"] * 2 and easy.steps.tolist() == [0, 0]


def test_milestones_are_those_of_torch():
    clock = torch.optim.lr_scheduler.MultiStepLR(
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0), [3, 7, 7], gamma=0.5
    )
    wanted = []
    for _ in range(10):
        wanted.append(clock.get_last_lr()[0])
        clock.optimizer.step()
        clock.step()
    found = learning_rate_factors(training.Milestones((7, 3, 7), 0.5), 10)
    # Powers of a half are exact.
    assert found.tolist() == wanted


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_moments_of_sparse_modules_are_those_of_each_alone(optimizer: str) -> None:
    """Networks that stop at unequal steps, and a run in two calls: the same bits."""
    draw = torch.Generator().manual_seed(3)
    nets = edt.ModuleEnsemble(
        [torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))] * 3
    ).to(torch.float64)
    nets = nets.with_theta(torch.randn(nets.total, generator=draw, dtype=torch.float64))
    nets = nets.with_masks(torch.rand(nets.total, generator=draw) < 0.4)
    x = torch.randn(30, 5, generator=draw, dtype=torch.float64)
    task = edt.ModuleTask((x, x[:, :1].sin()), "mse")
    options: dict[str, Any] = {
        "optimizer": optimizer, "momentum": 0.9 * (optimizer == "sgd"), "lr": 0.02,
        "batch_size": 10, "progress": False, "record": None,
    }  # fmt: skip
    target = edt.masked_train(task, nets, steps=12, **options).loss.sort().values[1].item()
    whole = edt.masked_train(task, nets, steps=30, loss_target=target, **options)
    assert whole.steps.unique().numel() > 1
    first = edt.masked_train(task, nets, steps=17, loss_target=target, **options)
    again = edt.masked_train(task, continue_from=first, steps=30, loss_target=target, **options)
    assert torch.equal(again.networks.theta, whole.networks.theta)
    for b in range(3):
        one = edt.masked_train(task, nets[[b]], steps=30, loss_target=target, **options)
        assert torch.equal(one.networks.theta, whole.networks.select([b]).theta)
        assert int(one.steps[0]) == int(whole.steps[b])
