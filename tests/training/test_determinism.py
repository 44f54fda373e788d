"""The same bits alone, in a crowd, with other threads, in other chunks, cut and resumed.

On a GPU bits depend on the launch, so alone and in a crowd agree to rounding only (the fixture
`equal`); chunks, cuts and repetitions give the same bits there too.
"""

from __future__ import annotations

import os
import signal
import threading

import pytest
import torch

import edt.training as training
from edt import Ensemble, Task
from edt.training import run


def same(a, b):
    """Whether two results agree bit for bit (NaN equals NaN)."""
    assert torch.equal(a.networks.theta, b.networks.theta)
    assert torch.equal(a.loss, b.loss) and torch.equal(a.grad_norm, b.grad_norm)
    assert torch.equal(a.steps, b.steps) and a.status == b.status
    assert a.history.equals(b.history)


OPTIONS = {"steps": 60, "lr": 0.03, "progress": False, "device": "cpu"}


@pytest.mark.parametrize("batch_size", [None, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_alone_and_in_a_crowd(cases, dtype, batch_size):
    widths = [2, 7, 3, 16, 5]
    ens, data = cases.ensemble(widths, pruned=0.2, dtype=dtype), cases.task(dtype=dtype)
    options = {**OPTIONS, "batch_size": batch_size, "data_seed": [3, 1, 4, 1, 5]}
    crowd = training.masked_train(data, ens, **options)
    for b in range(len(widths)):
        options["data_seed"] = [3, 1, 4, 1, 5][b]
        alone = training.masked_train(data, ens.network(b), **options)
        assert torch.equal(cases.part(crowd.networks, b), alone.networks.theta)
        assert float(crowd.loss[b]) == float(alone.loss[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{"sparsity": None}, {"sparsity": 0.9}, {"clip_norm": 0.1}])
def test_threads_share_one_wide_network(dtype, options):
    """Blocks, ranges of the gradient, of the minibatch and of the parameters, and a short last
    block whose gradient takes another form (layer 2: outer instead of dot products)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(700, 784, generator=generator, dtype=dtype)
    data = Task(x, torch.randint(0, 10, (700,), generator=generator), "cross_entropy")
    ens = Ensemble.init(
        [(70, 7)], d_in=784, d_out=10, dtype=dtype, sparsity=options.get("sparsity")
    )
    extra = {"clip_norm": options["clip_norm"]} if "clip_norm" in options else {}
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(
                training.masked_train(
                    data, ens, steps=7, lr=0.01, batch_size=344, progress=False, **extra
                )
            )
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        same(result, results[0])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_threads_and_chunks(cases, monkeypatch, optimizer):
    ens, data = cases.ensemble([2, 7, 3, 16]), cases.task()
    momentum = 0.9 if optimizer == "sgd" else 0.0
    options = {**OPTIONS, "optimizer": optimizer, "momentum": momentum, "record_params": True}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        expected = training.masked_train(data, ens, **options)
        torch.set_num_threads(1)
        same(training.masked_train(data, ens, **options), expected)
    finally:
        torch.set_num_threads(threads)
    for seconds in (1e-12, 1e3):
        monkeypatch.setattr(run, "CHUNK_SECONDS", seconds)
        same(training.masked_train(data, ens, **options), expected)


@pytest.mark.parametrize("batch_size", [None, 8])
def test_cut_and_resumed(device, cases, tmp_path, monkeypatch, batch_size):
    ens, data = cases.ensemble([2, 7, 3]), cases.task()
    options = {**OPTIONS, "batch_size": batch_size, "record_params": True, "schedule": "cosine"}
    options["device"] = device
    expected = training.masked_train(data, ens, **options)
    monkeypatch.setattr(run, "CHUNK_SECONDS", 1e-12)
    cuts = 0
    while True:
        part = training.masked_train(data, ens, checkpoint=tmp_path, max_seconds=0.0, **options)
        if not part.interrupted:
            break
        assert part.status == ["interrupted"] * 3
        assert bool(torch.isfinite(part.loss).all())
        cuts += 1
    assert cuts > 3
    same(part, expected)
    again = training.masked_train(data, ens, checkpoint=tmp_path, resume=True, **options)
    same(again, expected)


def test_control_c_returns_what_is_there(device, cases, tmp_path):
    ens, data = cases.ensemble([2, 30, 3]), cases.task(n=500)
    options = {
        "steps": 2_000_000,
        "lr": 1e-3,
        "progress": False,
        "record": [0, 50],
        "device": device,
    }
    timer = threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    cut = training.masked_train(data, ens, checkpoint=tmp_path, **options)
    timer.join()
    assert cut.interrupted and set(cut.status) == {"interrupted"}
    assert bool((cut.loss < torch.tensor(cut.history["loss"].values[0])).any())
    later = training.masked_train(data, ens, checkpoint=tmp_path, max_seconds=0.0, **options)
    assert bool((later.steps >= cut.steps).all())


def test_control_c_anywhere_resumes_bit_identically(cases, tmp_path, monkeypatch):
    ens, data = cases.ensemble([2, 7]), cases.task()
    expected = training.masked_train(data, ens, **OPTIONS)
    monkeypatch.setattr(run, "CHUNK_SECONDS", 1e-12)
    advance, calls = run._advance, []

    def stops(engine, state, settings):
        calls.append(1)
        if len(calls) % 7 == 0:
            # As the kernel does: one network may have finished the chunk, the other not.
            state.status[1] = training.state.CONVERGED
            advance(engine, state, settings)
            state.status[1] = 0
            raise KeyboardInterrupt
        advance(engine, state, settings)

    monkeypatch.setattr(run, "_advance", stops)
    for _ in range(50):
        result = training.masked_train(data, ens, checkpoint=tmp_path, **OPTIONS)
        if not result.interrupted:
            break
    same(result, expected)


def test_divergence_stays_at_home(device, equal, cases):
    ens, data = cases.ensemble([3, 3, 3], activation="softplus"), cases.task()
    options = {"steps": 200, "optimizer": "gd", "progress": False, "device": device}
    crowd = training.masked_train(data, ens, lr=[0.01, 1e6, 0.01], **options)
    assert crowd.status == ["max_steps", "diverged", "max_steps"]
    for b in (0, 2):
        alone = training.masked_train(data, ens.network(b), lr=0.01, **options)
        equal(cases.part(crowd.networks, b), alone.networks.theta)
        equal(crowd.loss[b], alone.loss[0])


def test_minibatches_follow_their_seed(device, cases):
    ens, data = cases.ensemble([4]), cases.task()
    options = {**OPTIONS, "batch_size": 8, "device": device}
    runs = [training.masked_train(data, ens, data_seed=s, **options) for s in (1, 1, 2)]
    same(runs[0], runs[1])
    assert not torch.equal(runs[0].networks.theta, runs[2].networks.theta)
    # A step on every sample in turn is a full-batch step where the batch is all of them.
    whole = training.masked_train(data, ens, **{**options, "batch_size": data.N})
    same(whole, training.masked_train(data, ens, **{**options, "batch_size": None}))
