"""The verbs on networks of modules: as on chains where both can be asked, by autograd elsewhere."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

import edt
from edt import nets
from edt.files import CheckpointError
from edt.lottery.connectivity import layers_cut
from edt.lottery.criteria import grasp, snip
from edt.lottery.iterative import iterative_pruning
from edt.lottery.prune import density, prune_lowest
from edt.training.epochs import Epochs, epoch_order

#: Sums in another order than the kernels': a few units in the last place over 30 steps.
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
LENET = partial(nets.lenet5, shape=(1, 8, 8))


def chain(width: int, seed: int) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))


@pytest.fixture(scope="module")
def both() -> tuple[edt.ModuleEnsemble, edt.Ensemble, edt.Task]:
    """The same networks in both forms, with masks and frozen weights, and data."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(23, 2, generator=draw, dtype=torch.float64)
    task = edt.Task(x, torch.sin(x.sum(1, keepdim=True)))
    made = edt.ModuleEnsemble.build(chain, [3, 4], range(2), dtype=torch.float64)
    plain = edt.Ensemble.from_modules([made.to_module(b) for b in range(4)])
    state = torch.where(torch.rand(plain.total, generator=draw) < 0.2, 0, plain.state)
    state[5] = 2
    plain = plain.with_state(state.to(torch.uint8))
    return made.with_state(plain.state), plain, task


@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "gd", "lr": 0.1},
        {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
        {"optimizer": "adam", "lr": [0.01, 0.02, 0.03, 0.04]},
        {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1, "schedule": "cosine"},
    ],
)
def test_training_is_the_kernels_training(both, options, batch) -> None:
    made, plain, task = both
    run = {
        "steps": 30,
        "batch_size": batch,
        "data_seed": [1, 2, 3, 2**63 + 5],
        "record": [0, 7, 30],
    }
    mine, core = (
        edt.masked_train(task, networks, progress=False, **options, **run)
        for networks in (made, plain)
    )
    torch.testing.assert_close(mine.networks.theta, core.networks.theta, **CLOSE)
    torch.testing.assert_close(mine.recorded.loss, core.recorded.loss, **CLOSE)
    torch.testing.assert_close(mine.loss, core.loss, **CLOSE)
    assert mine.status == core.status and torch.equal(mine.steps, core.steps)


def test_samples_come_in_the_kernels_order() -> None:
    assert epoch_order(7, 3, 50).sort().values.tolist() == list(range(50))
    assert epoch_order(7, 3, 50).tolist() != epoch_order(7, 4, 50).tolist()
    epochs = Epochs(torch.tensor([1, 2]), 10, 4)
    seen = torch.cat([epochs.at(step, 1) for step in range(3)])
    assert sorted(seen.tolist()) == list(range(10)) and epochs.per_epoch == 3


def test_stopping_interrupting_and_going_on(both, tmp_path) -> None:
    made, _, task = both
    options = {"optimizer": "adam", "lr": 0.02, "batch_size": 6, "progress": False}
    whole = edt.masked_train(task, made, steps=40, **options)
    cut = edt.masked_train(task, made, steps=40, max_seconds=0.0, checkpoint=tmp_path, **options)
    assert cut.interrupted
    going = edt.masked_train(task, made, steps=40, checkpoint=tmp_path, **options)
    assert torch.equal(going.networks.theta, whole.networks.theta)
    assert torch.equal(going.loss, whole.loss)
    enough = 0.9 * float(edt.loss(task, made).min())
    target = edt.masked_train(
        task, made, steps=2000, loss_target=enough, lr=0.02, record=None, progress=False
    )
    assert set(target.status) == {"target"} and bool((target.loss <= enough).all())


def test_validation_losses_are_watched_as_those_of_chains(both) -> None:
    made, plain, task = both
    other = edt.Task(task.x[:9] * 1.5, task.y[:9])
    mine, core = (
        edt.masked_train(
            task, networks, steps=20, lr=0.05, validation=other, validate_every=4, patience=2,
            progress=False,
        ).validation
        for networks in (made, plain)
    )  # fmt: skip
    assert mine is not None and core is not None
    torch.testing.assert_close(mine.losses, core.losses, **CLOSE, equal_nan=True)
    torch.testing.assert_close(mine.best.theta, core.best.theta, **CLOSE)
    assert torch.equal(mine.step, core.step)


def test_results_are_saved_without_code(both, tmp_path) -> None:
    made, _, task = both
    result = edt.masked_train(task, made, steps=3, progress=False)
    result.save(tmp_path / "run.safetensors")
    with pytest.raises(CheckpointError, match="give modules="):
        edt.TrainResult.load(tmp_path / "run.safetensors")
    back = edt.TrainResult.load(tmp_path / "run.safetensors", [chain(3, 0), chain(4, 0)])
    assert torch.equal(back.networks.theta, result.networks.theta)
    assert back.to_pandas()["widths"].tolist() == [3, 3, 4, 4]


def test_a_diverging_network_harms_no_other(both) -> None:
    made, _, task = both
    rates = [0.05, 1e6, 0.05, 0.05]
    together = edt.masked_train(task, made, optimizer="gd", lr=rates, steps=60, progress=False)
    assert together.status[1] == "diverged"
    alone = edt.masked_train(task, made[[0]], optimizer="gd", lr=0.05, steps=60, progress=False)
    torch.testing.assert_close(together.networks.network(0).theta, alone.networks.theta, **CLOSE)


def test_batch_norm_trains_with_batch_statistics_and_keeps_running_ones() -> None:
    module = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)).double()
    x = torch.randn(16, 2, dtype=torch.float64)
    y = x[:, :1] * x[:, 1:]
    networks = edt.ModuleEnsemble([module])
    result = edt.masked_train(
        (x, y), networks, optimizer="sgd", momentum=0.9, lr=0.05, steps=6, record=[0, 6],
        progress=False,
    )  # fmt: skip
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    module.train()
    for _ in range(6):
        optimiser.zero_grad()
        (module(x) - y).square().sum(1).mean().backward()
        optimiser.step()
    back = result.networks.to_module(0)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], value, **CLOSE)
    wanted = (module.eval()(x) - y).square().sum(1).mean()
    torch.testing.assert_close(result.loss[0], wanted.detach(), **CLOSE)


def test_dropout_draws_from_the_seed() -> None:
    module = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1)).double()
    x = torch.randn(16, 2, dtype=torch.float64)
    networks = edt.ModuleEnsemble([module])
    first, again, other = (
        edt.masked_train((x, x[:, :1]), networks, steps=5, lr=0.1, data_seed=seed, progress=False)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.networks.theta, again.networks.theta)
    assert not torch.equal(first.networks.theta, other.networks.theta)


def test_minima_are_reached_and_classified() -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(40, 2, generator=draw, dtype=torch.float64)
    y = torch.tanh(x @ torch.tensor([[1.0], [-0.5]], dtype=torch.float64)) + 0.1 * x[:, :1] ** 2
    networks = edt.ModuleEnsemble.build(chain, [1], range(3), dtype=torch.float64)
    result = edt.converge((x, y), networks, progress=False)
    assert result.status == ["converged"] * 3 and result.verdict == ["minimum"] * 3
    plain = edt.Ensemble.from_modules([result.networks.to_module(b) for b in range(3)])
    task = edt.Task(x, y)
    torch.testing.assert_close(result.loss, edt.loss(task, plain), **CLOSE)
    spectra = edt.hessian_spectrum(task, plain)
    for mine, theirs in zip(edt.hessian_spectrum((x, y), result.networks), spectra, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
    assert edt.index((x, y), result.networks).tolist() == [0, 0, 0]


def test_curvature_of_a_convolutional_network() -> None:
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(12, 1, 8, 8, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 10, (12,), generator=draw)
    networks = edt.ModuleEnsemble.build(LENET, [0.2], [0], dtype=torch.float64)
    (matrix,) = edt.hessian((x, y), networks)
    values = torch.linalg.eigvalsh(matrix)
    (pair,) = edt.extreme_eigenpairs((x, y), networks, 2, which="LA")
    torch.testing.assert_close(pair.values.sort().values, values[-2:], rtol=1e-6, atol=1e-8)
    operator = edt.HessianOperator((x, y), networks)
    vector = torch.randn(matrix.shape[0], generator=draw, dtype=torch.float64)
    torch.testing.assert_close(
        torch.from_numpy(operator @ vector.numpy()), matrix @ vector, rtol=1e-8, atol=1e-9
    )
    diagonal = edt.hessian((x, y), networks, ggn=True)[0].diagonal()
    assert bool((diagonal >= 0).all()) and math.isfinite(float(matrix.trace()))


def test_planes_lines_and_paths_between_networks() -> None:
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(12, 1, 8, 8, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 10, (12,), generator=draw)
    networks = edt.ModuleEnsemble.build(LENET, [0.2], range(2), dtype=torch.float64)
    (way,) = edt.landscape.random_directions(networks)
    weight = networks.parameter(0, "0.weight")
    block = next(block for block in networks.blocks(0) if block.name == "0.weight")
    mine = way[block.span].view(weight.shape)
    bias = networks.parameter(0, "0.bias")
    # A filter and its bias move by their own length.
    rows = torch.cat(
        [mine.flatten(1), way[: networks.total][_span(networks, "0.bias")][:, None]], 1
    )
    own = torch.cat([weight.flatten(1), bias[:, None]], 1)
    torch.testing.assert_close(rows.norm(dim=1), own.norm(dim=1))
    path = edt.landscape.connect(
        (x, y), networks[[0]], networks[[1]], align=False, curve=None, points=5, progress=False
    )
    half = 0.5 * (networks.network(0).theta + networks.network(1).theta)
    middle = edt.loss((x, y), networks.network(0).with_theta(half))
    torch.testing.assert_close(path.straight[2], middle)
    closer = edt.landscape.connect(
        (x, y), networks[[0]], networks[[1]], curve=None, points=5, progress=False
    )
    assert float(closer.distance_after) < float(closer.distance_before)
    torch.testing.assert_close(edt.predict(closer.second, x), edt.predict(networks[[1]], x))


def _span(networks: edt.ModuleEnsemble, name: str) -> slice:
    return next(block.span for block in networks.blocks(0) if block.name == name)


def test_tickets_are_found_rewound_and_kept_alone() -> None:
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(20, 1, 8, 8, generator=draw, dtype=torch.float64)
    task = edt.ModuleTask((x, torch.randint(0, 10, (20,), generator=draw)))
    start = edt.ModuleEnsemble.build(LENET, [0.2, 0.4], [0], dtype=torch.float64)

    def train(networks: edt.ModuleEnsemble) -> tuple[edt.ModuleEnsemble, torch.Tensor]:
        result = edt.masked_train(task, networks, steps=3, lr=0.01, batch_size=5, progress=False)
        return result.networks, result.loss

    rounds = list(iterative_pruning(start, train, rounds=2, share=0.5))
    left = density(rounds[-1].start)
    # A quarter of each layer's weights, rounded layer by layer.
    torch.testing.assert_close(left, torch.full((2,), 0.25, dtype=torch.float64), rtol=0, atol=0.01)
    live = rounds[-1].start.state == 1
    assert torch.equal(rounds[-1].start.theta[live], start.theta[live])
    assert bool((rounds[-1].start.theta[rounds[-1].start.state == 0] == 0).all())
    assert bool((rounds[-1].trained.theta[rounds[-1].start.state == 0] == 0).all())
    with pytest.raises(TypeError, match="scope='neuron' is defined for chains"):
        prune_lowest(start, start.theta.abs(), 0.5, "neuron")
    for criterion in (snip, grasp):
        scores = criterion(task, start)
        state = prune_lowest(start, scores, 0.9, "global")
        assert bool((layers_cut(start.with_state(state)) == 0).all())
        biases = ~start.role_mask("weight")
        assert bool((state[biases] == start.state[biases]).all())


def test_what_makes_no_sense_for_modules_says_so(both) -> None:
    made, plain, task = both
    with pytest.raises(ValueError, match="reference must be 4 networks of the kind of networks"):
        edt.landscape.align_networks(made, plain)
    batches = edt.ModuleTask([(task.x[:5], task.y[:5])], "mse")
    with pytest.raises(ValueError, match="batch_size needs samples"):
        edt.masked_train(batches, made, batch_size=2, steps=1, progress=False)
