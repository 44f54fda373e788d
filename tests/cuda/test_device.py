"""What the package says where there is no GPU, or no engine for it."""

from __future__ import annotations

import warnings

import pytest
import torch

import edt
from edt import _core, functional
from edt.cli import health
from edt.ops import cuda
from edt.ops.checks import problem_of
from edt.training import devices


def test_without_a_gpu(cases, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ens, task = cases.ensemble([2, 3]), cases.task()
    assert edt.masked_train(task, ens, steps=2, progress=False).networks.device.type == "cpu"
    with pytest.raises(ValueError, match="device='cuda' cannot be used here"):
        edt.masked_train(task, ens, steps=2, device="cuda", progress=False)
    with pytest.raises(ValueError, match="backend='cuda' needs networks on that device"):
        functional.loss(ens, task, backend="cuda")


def test_asking_the_runtime_needs_no_driver(shim):
    engine = getattr(_core, "cuda", shim)
    assert engine.runtime()["devices"] >= 0


@pytest.fixture
def card(shim, monkeypatch):
    """A card that torch sees; call it with what the engine's runtime says of it."""
    monkeypatch.setattr(_core, "cuda", shim, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for cached in (cuda._refused, devices._say_why):
        cached.cache_clear()
    yield shim.set_card
    for cached in (cuda._refused, devices._say_why):
        cached.cache_clear()


def test_a_card_that_can(card):
    assert cuda.usable()


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (
            {"driver": 12080},
            r"built with CUDA 13\.0, and this driver knows CUDA 12\.8 at most: upd",
        ),
        ({"capability": 75}, r"need compute capability 8\.0, and this GPU has 7\.5"),
        ({"devices": 0}, "CUDA finds no device 0"),
    ],
    ids=str,
)
def test_a_card_that_cannot(card, cases, facts, why):
    """ "auto" falls back to the CPU and says so once; "cuda" is an error that says why."""
    card(**facts)
    assert not cuda.usable()
    ens, task = cases.ensemble([2, 3]), cases.task()
    with pytest.warns(RuntimeWarning, match=why):
        found = edt.masked_train(task, ens, steps=2, progress=False)
    assert found.networks.device.type == "cpu"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edt.masked_train(task, ens, steps=2, progress=False)
    with pytest.raises(ValueError, match=why):
        edt.masked_train(task, ens, steps=2, device="cuda", progress=False)


def test_the_doctor_runs_a_kernel(gpu, shim, monkeypatch):
    """And says what the driver and the build know, and what to do."""
    monkeypatch.setattr(_core, "cuda", shim, raising=False)
    monkeypatch.setattr(_core, "build_info", lambda: {"cuda": True, "cuda_compiler": "nvcc 13"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    monkeypatch.setattr(cuda, "unusable", lambda: None)
    (found,) = health._cuda()
    assert found.state == "ok" and "a kernel agrees with the CPU" in found.text
    assert "driver knows CUDA 13.0, edt was built with 13.0" in found.text
    shim.set_card(next_launch=INVALID)
    (found,) = health._cuda()
    assert found.state == "problem" and "activation<<<" in found.text and "rebuild" in found.advice
    monkeypatch.setattr(cuda, "unusable", lambda: "it is too old")
    (found,) = health._cuda()
    assert found.state == "note" and found.advice == "everything runs on the CPU: it is too old"


INVALID, ILLEGAL_ADDRESS = 1, 700  # cudaError_t


def apply(shim, n=4):
    """One launch."""
    z, out = torch.zeros(n), torch.empty(1, n)
    shim.activation(0, 0, n, z.data_ptr(), out.data_ptr(), False, 0)


def test_a_failure_is_blamed_once(shim):
    """On the launch that met it; neither what came before nor what comes after."""
    shim.set_card(next_launch=INVALID)
    with pytest.raises(RuntimeError, match=r"activation<<<1 blocks, 256 threads.* failed"):
        apply(shim)
    apply(shim)
    shim.set_card(pending=INVALID)
    apply(shim)


def test_errors_of_earlier_kernels_are_not_blamed_on_this_one(shim):
    shim.set_card(next_launch=ILLEGAL_ADDRESS)
    with pytest.raises(RuntimeError, match=r"earlier kernel, of edt or another.*LAUNCH_BLOCKING"):
        apply(shim)


def test_shared_memory_is_asked_for_once(shim, cases):
    """A kernel and device: to the most, and a failure is neither kept nor blamed on others."""
    data = cases.task(500)

    def train(width):
        ens = cases.ensemble([width])
        loss, grad = torch.empty(1, dtype=torch.float64), torch.empty_like(ens.theta)
        cuda.CudaCalls(problem_of(ens, data, None)).loss_and_grad(ens.theta, loss, grad)

    shim.set_limits(1, 100 * 1024, 300 * 1024)
    shim.set_card(next_attribute=INVALID)
    before = len(shim.allowed())
    if before == 0:
        with pytest.raises(RuntimeError, match="evaluate<<<"):
            train(30)
    shim.set_card()
    for width in (30, 60, 30):
        train(width)
    asked = shim.allowed()
    assert asked and all(bytes_ > 48 * 1024 and carveout == 100 for bytes_, carveout, _ in asked)
    assert max(calls for _, _, calls in asked) <= 3  # two attributes, and the failure above


def test_shares_of_shared_memory_are_whole_units(shim):
    """Three blocks fit where a third of it is no multiple of what it is given in."""
    for sm in (100 * 1024, 164 * 1024, 228 * 1024):
        shim.set_limits(1, 99 * 1024, sm)
        for width in range(20, 60):
            ens = edt.Ensemble.init([width], range(1), d_in=4, d_out=1)
            plan = cuda.device_plan(ens.state, ens.layer_widths, True, ens.device)
            for launch in plan.schedule("gradient", True, 1024)[0].launches:
                if launch["threads"] == 128:
                    given = -(-(launch["shared"] + 1024) // 128) * 128
                    assert 3 * given <= sm


def test_without_the_engine(monkeypatch):
    monkeypatch.delattr(_core, "cuda", raising=False)
    assert not cuda.usable()
    with pytest.raises(RuntimeError, match="no CUDA engine: install nvcc"):
        cuda.engine()
