"""`masked_train(data=...)`: against loops by hand, and the same bits however a run is cut."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edt
from edt.training import CheckpointError
from edt.training.changing_data import epoch_keys
from edt.training.epochs import epoch_order

Draw = Callable[[int, torch.Generator], Any]
BATCHES = pytest.mark.parametrize("batch_size", [None, 5])


@pytest.fixture(scope="module")
def task() -> edt.Task:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(14, 2, generator=draw, dtype=torch.float64)
    return edt.Task(x, torch.tanh(x[:, :1] - x[:, 1:]), weights=torch.arange(1.0, 15.0))


@pytest.fixture(scope="module")
def chains() -> edt.Ensemble:
    return edt.Ensemble.init(widths=[3, 4, 5], seeds=[7], d_in=2, d_out=1)


def jitter(task: edt.Task) -> Draw:
    def data(epoch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.randn(task.x.shape, generator=generator, dtype=task.x.dtype)
        return task.x + 0.3 * noise / (1 + epoch), task.y

    return data


def train(task: Any, networks: Any, **options: Any) -> edt.TrainResult:
    given = {"steps": 17, "lr": 0.05, "data_seed": range(networks.B), "record": [0, 4, 17]}
    return edt.masked_train(task, networks, progress=False, **given | options)


def by_hand(
    task: edt.Task, module: nn.Module, data: Draw, seed: int, size: int | None
) -> nn.Module:
    """17 steps of plain gradient descent on an epoch's samples in the order of the core."""
    length = -(-14 // size) if size else 1
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05)
    for step in range(17):
        epoch, k = divmod(step, length)
        key = epoch_keys(seed, epoch, 1)[0]
        x, y = data(epoch, torch.Generator().manual_seed(key))
        order = epoch_order(seed, epoch, 14)[k * size : (k + 1) * size] if size else slice(None)
        x, y, coef = x[order], y[order], task.coef[0][order] * (14 / len(x[order]))
        optimiser.zero_grad()
        (coef * (module(x) - y).square().sum(1)).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return module


@BATCHES
def test_steps_are_those_of_a_loop_by_hand(
    task: edt.Task, chains: edt.Ensemble, batch_size: int | None
) -> None:
    data = jitter(task)
    result = train(task, chains, data=data, optimizer="gd", batch_size=batch_size)
    for b in range(chains.B):
        module = by_hand(task, chains.to_module(b), data, b, batch_size)
        mine = torch.cat(
            [p.detach().reshape(-1) for p in result.networks.to_module(b).parameters()]
        )
        hand = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
        # Seventeen steps in two orders of addition.
        torch.testing.assert_close(mine, hand, rtol=1e-12, atol=1e-13)
    # Recorded is the task itself.
    torch.testing.assert_close(result.loss, edt.loss(task, result.networks), rtol=0, atol=0)
    torch.testing.assert_close(result.recorded.loss[0], edt.loss(task, chains), rtol=1e-14, atol=0)


@BATCHES
def test_bits_do_not_depend_on_company_interruption_or_continuation(
    task: edt.Task,
    chains: edt.Ensemble,
    batch_size: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options: dict[str, Any] = {"data": jitter(task), "batch_size": batch_size}
    whole = train(task, chains, **options)
    alone = train(task, chains.select([1]), **options, data_seed=1)
    assert torch.equal(whole.networks.select([1]).theta, alone.networks.theta)
    assert torch.equal(whole.recorded.loss[:, 1], alone.recorded.loss[:, 0])
    first = train(task, chains, **options, steps=7, record=[0, 4])
    later = edt.masked_train(
        task, continue_from=first, steps=17, lr=0.05, data_seed=range(3), record=[0, 4, 17],
        progress=False, **options,
    )  # fmt: skip
    assert torch.equal(whole.networks.theta, later.networks.theta)
    assert torch.equal(whole.recorded.loss, later.recorded.loss)
    cut = train(task, chains, **options, checkpoint=tmp_path, max_seconds=1e-9)
    assert cut.interrupted and int(cut.steps.max()) < 17
    back = train(task, chains, **options, checkpoint=tmp_path, resume=True)
    assert torch.equal(whole.networks.theta, back.networks.theta)
    assert torch.equal(whole.loss, back.loss)
    # In parts, where all data at once would take too much room.
    monkeypatch.setattr("edt.training.changing_data.ROOM", 1)
    assert torch.equal(train(task, chains, **options).networks.theta, whole.networks.theta)
    # Networks of unequal batches: each as with its own.
    mixed = train(task, chains, data=options["data"], batch_size=[batch_size or 14, 3, 14])
    assert torch.equal(mixed.networks.select([0]).theta, whole.networks.select([0]).theta)


class Wobbling(nn.Module):
    """Buffers that training changes, and draws of its own."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.into, self.out = nn.Linear(2, width), nn.Linear(width, 1)
        self.norm, self.drop = nn.BatchNorm1d(width), nn.Dropout(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.drop(torch.tanh(self.norm(self.into(x)))))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("modules", torch.float64),
        ("own loss", torch.float32),
        ("own loss of modules", torch.float32),
    ],
)
@BATCHES
def test_modules_and_losses_of_ones_own_keep_their_bits_however_a_run_is_cut(
    task: edt.Task, batch_size: int | None, kind: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    learned: Any = task
    if kind != "modules":
        learned = edt.tasks.FunctionTask(task.x, task.y, lambda f, y: (f - y).square().sum(1))
    networks: Any = edt.Ensemble.init([3, 4], [7], d_in=2, d_out=1, dtype=dtype)
    if kind != "own loss":
        networks = edt.ModuleEnsemble.build(Wobbling, [3, 4], range(2), dtype=dtype)
    noisy = jitter(task)

    def data(epoch: int, generator: torch.Generator) -> Any:
        # What a callable draws is taken to the task's dtype.
        return tuple(part.to(getattr(learned, "dtype", dtype)) for part in noisy(epoch, generator))

    options: dict[str, Any] = {"data": data, "batch_size": batch_size, "optimizer": "adam"}
    whole = train(learned, networks, **options)
    assert not torch.equal(whole.networks.theta, train(learned, networks, batch_size=batch_size,
                           optimizer="adam").networks.theta)  # fmt: skip
    # Interrupted twice.
    for _ in range(2):
        cut = train(learned, networks, **options, checkpoint=tmp_path, max_seconds=1e-9)
        assert cut.interrupted and int(cut.steps.max()) < 17
    cut = train(learned, networks, **options, checkpoint=tmp_path)
    first = train(learned, networks, **options, steps=7, record=[0, 4])
    later = edt.masked_train(
        learned, continue_from=first, steps=17, lr=0.05, data_seed=range(networks.B),
        record=[0, 4, 17], progress=False, **options,
    )  # fmt: skip
    for found in (cut, later):
        assert found.steps.tolist() == [17] * networks.B
        assert torch.equal(found.networks.theta, whole.networks.theta)
        assert torch.equal(found.loss, whole.loss)
        assert torch.equal(found.recorded.loss, whole.recorded.loss)
    # Seeds tell epochs apart, and nothing else does.
    swapped = train(learned, networks, **options, data_seed=[*range(1, networks.B), 0])
    assert not torch.equal(swapped.networks.theta, whole.networks.theta)


def test_another_run_is_refused(task: edt.Task, chains: edt.Ensemble, tmp_path: Path) -> None:
    train(task, chains, data=jitter(task), checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="data:"):
        train(task, chains, data=edt.tasks.Noisy(task, 0.1), checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="data:"):
        train(task, chains, checkpoint=tmp_path)


def test_each_network_keeps_its_target(chains: edt.Ensemble) -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(14, 2, generator=draw, dtype=torch.float64)
    both = edt.Task(x, torch.stack([x[:, :1], x[:, 1:] ** 2]))
    result = train(both, chains, data=jitter(both), task_index=[0, 1, 1], data_seed=3)
    for b, t in enumerate([0, 1, 1]):
        one = edt.Task(x, both.y[t])
        alone = train(one, chains.select([b]), data=jitter(one), data_seed=3)
        assert torch.equal(result.networks.select([b]).theta, alone.networks.theta)


class Rolled(torch.utils.data.Dataset[Any]):
    """Items that draw from every generator there is."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, k: int) -> tuple[Any, Any]:
        shift = 0.1 * (random.random() + np.random.rand() + float(torch.rand(())))  # noqa: NPY002
        return self.x[k] + shift, self.y[k]


class Endless(torch.utils.data.IterableDataset[Any]):
    """It can only be iterated."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


@BATCHES
def test_datasets_of_images_train_chains_and_modules(batch_size: int | None) -> None:
    draw = torch.Generator().manual_seed(2)
    images = torch.randn(14, 1, 2, 2, generator=draw, dtype=torch.float64)
    classes = torch.arange(14) % 3
    dataset = Rolled(images, classes)
    task = edt.Task(images.flatten(1), classes, "cross_entropy")
    chains = edt.Ensemble.init(widths=[3, 4], seeds=[7], d_in=4, d_out=3)
    modules = edt.ModuleEnsemble(
        [nn.Sequential(nn.Flatten(), chains.to_module(b)) for b in range(2)]
    )
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = train(task, chains, data=dataset, batch_size=batch_size)
    again = train(task, chains, data=dataset, batch_size=batch_size)
    after = random.getstate(), np.random.get_state()[1], torch.get_rng_state()  # noqa: NPY002
    assert before[0] == after[0] and bool((before[1] == after[1]).all())
    assert torch.equal(before[2], after[2])
    assert torch.equal(first.networks.theta, again.networks.theta)
    theirs = train((images, classes), modules, data=dataset, batch_size=batch_size)
    for b in range(2):
        mine = list(first.networks.to_module(b).parameters())
        for one, other in zip(mine, theirs.networks.to_module(b).parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    plain = train(task, chains, batch_size=batch_size)
    assert not torch.equal(first.networks.theta, plain.networks.theta)


def test_losses_of_ones_own_and_targets_change_too(task: edt.Task, chains: edt.Ensemble) -> None:
    own = edt.tasks.FunctionTask(
        task.x, task.y, lambda f, y: (f - y).square().sum(1), weights=task.coef[0]
    )
    mine = train(own, chains, data=jitter(task), optimizer="gd")
    core = train(task, chains, data=jitter(task), optimizer="gd")
    torch.testing.assert_close(mine.networks.theta, core.networks.theta, rtol=1e-12, atol=1e-13)


def test_a_target_loss_is_looked_at_on_the_task_itself(
    task: edt.Task, chains: edt.Ensemble
) -> None:
    result = train(task, chains, data=jitter(task), loss_target=0.2, steps=500, lr=0.02)
    assert result.status == ["target"] * 3
    assert bool((edt.loss(task, result.networks) <= 0.2).all())


def test_masks_and_validation_see_the_task_as_it_is(task: edt.Task, chains: edt.Ensemble) -> None:
    from edt.lottery.dynamic import GradualPruning

    result = train(
        task, chains, data=jitter(task), validation=task, validate_every=4,
        mask_updates=GradualPruning(0.5, end=12, every=4),
    )  # fmt: skip
    assert result.validation is not None
    best = edt.loss(task, result.validation.best)
    torch.testing.assert_close(result.validation.loss, best, rtol=1e-14, atol=0)
    assert float((result.networks.state == 0).double().mean()) > 0.2


@pytest.mark.parametrize("loss", ["cross_entropy", "bce", "logistic", "mse"])
def test_ready_made_noise(loss: str) -> None:
    draw = torch.Generator().manual_seed(3)
    x, coin = torch.zeros(4000, 2, dtype=torch.float64), torch.randint(2, (4000, 1), generator=draw)
    y = {"cross_entropy": coin[:, 0] * 2, "bce": coin.double(), "logistic": 2.0 * coin - 1}
    target = y.get(loss, torch.zeros(4000, 1, dtype=torch.float64)).to(
        torch.int64 if loss == "cross_entropy" else torch.float64
    )
    noisy = edt.tasks.Noisy(edt.Task(x, target, loss), inputs=0.5, labels=0.2)
    inputs, labels = noisy(0, torch.Generator().manual_seed(4))
    assert inputs.shape == x.shape and labels.shape == target.shape
    # Four standard errors of 8,000 and 4,000 draws.
    assert abs(float(inputs.std()) - 0.5) < 4 * 0.5 / 16000**0.5
    if loss == "mse":
        assert abs(float(labels.std()) - 0.2) < 4 * 0.2 / 8000**0.5
    else:
        assert abs(float((labels != target).double().mean()) - 0.2) < 4 * 0.4 / 4000**0.5
        assert set(labels.unique().tolist()) == (
            {0, 1, 2} if loss == "cross_entropy" else set(target.unique().tolist())
        )


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (3, TypeError, "data must be a function .* got an int"),
        ((torch.zeros(14, 2), torch.zeros(14, 1)), TypeError, "got a tuple"),
        (lambda e, g: None, TypeError, r"data \(epoch 0\): must be \(x, y\) or a Task .* NoneType"),
        (lambda e, g: (torch.zeros(13, 2), torch.zeros(13, 1)), ValueError, "must have N=14"),
        (lambda e, g: (torch.zeros(14, 3), torch.zeros(14, 1)), ValueError, "must have d_in=2"),
        (lambda e, g: (torch.full((14, 2), np.nan), torch.zeros(14, 1)), ValueError, "finite"),
        (lambda e, g: (torch.rand(14, 2), torch.zeros(14, 1)), ValueError, "two calls for epoch 0"),
        (lambda e: None, TypeError, "data .epoch 0."),
        (Rolled(torch.zeros(9, 2), torch.zeros(9, 1)), ValueError, "as many items as the task, 14"),
        ([(0, 1)], TypeError, "got a list"),
    ],
)
def test_clear_errors(
    task: edt.Task, chains: edt.Ensemble, data: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(task, chains, data=data)


def test_more_clear_errors(task: edt.Task, chains: edt.Ensemble) -> None:
    with pytest.raises(ValueError, match="tol needs data that stay"):
        train(task, chains, data=jitter(task), tol=1e-3)
    with pytest.raises(TypeError, match="can only be iterated"):
        train(task, chains, data=Endless())
    with pytest.raises(ValueError, match="labels must be a share"):
        edt.tasks.Noisy(edt.Task(task.x, torch.ones(14, 1).double(), "bce"), labels=1.5)
    with pytest.raises(TypeError, match=r"must be an edt\.Task"):
        edt.tasks.Noisy(3)  # type: ignore[arg-type]
    late = jitter(task)
    with pytest.raises(ValueError, match=r"data \(epoch 3\)"):
        train(task, chains, data=lambda e, g: late(e, g) if e < 3 else (task.x[:5], task.y[:5]))
