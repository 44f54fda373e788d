"""Small ensembles with known parameters, and the same networks in plain torch."""

from __future__ import annotations

import gc
import os
import signal
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from browser import axe, browser, offline  # noqa: F401  fixtures
from cuda_ptx import ptx, ptx_module, ranges  # noqa: F401  fixtures
from cuda_shim import gpu, shim, shim_module, streams  # noqa: F401  fixtures
from durations import start as record_durations
from hypothesis import HealthCheck
from hypothesis import settings as budget

from edt.ensemble import Ensemble
from edt.ops import cuda
from edt.tasks import Task

# A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Every run draws the same examples and numbers, however slow the machine is: what fails once, fails
# again. EDT_EXPLORE=1 draws others each time, to look for what these do not find.
budget.register_profile(
    "edt",
    derandomize=not os.environ.get("EDT_EXPLORE"),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
budget.load_profile("edt")
torch.manual_seed(0)  # for what modules of tests draw as they are imported


# What is imported and collected stays: none of it is looked through for garbage, now or later.
gc.disable()


def pytest_configure(config):
    record_durations(config)


def _own_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("EDT_")}


SETTINGS = _own_settings()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()
    # A test module that sets a variable as it is imported sets it for all tests.
    changed = SETTINGS.items() ^ _own_settings().items()
    if changed:
        raise pytest.UsageError(f"importing the tests changed {sorted(dict(changed))}")


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory):
    """What the package keeps of its user, apart from the person's own."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Puts a finished small run of a kind, computed once in this process, at a new place."""
    from finished_runs import Finished

    return Finished(tmp_path_factory.mktemp)


@pytest.fixture(autouse=True)
def _seeded():
    """Draws from torch's own generator do not depend on which tests ran before."""
    if not os.environ.get("EDT_EXPLORE"):
        torch.manual_seed(0)


DEVICES = ("cpu", "cuda") if cuda.usable() else ("cpu",)
# A GPU that is not there, for its kernels and for what may not be mixed; slow (`pretend_gpu`).
PRETENDED = ("pretended",) if os.environ.get("EDT_PRETEND_GPU") else ()


@pytest.fixture(params=(*DEVICES, *PRETENDED))
def device(request):
    """Where a test runs: on the CPU, and on a GPU where the CUDA engine is usable."""
    if request.param == "pretended":
        request.getfixturevalue("gpu")
        return "cuda"
    return request.param


@pytest.fixture
def place(device):
    """Networks and tasks, moved to the test's device: one, or several as a tuple."""

    def move(*things):
        moved = tuple(thing.to(device=device) for thing in things)
        return moved if len(moved) > 1 else moved[0]

    return move


@pytest.fixture
def equal(device):
    """Insist that two tensors are equal: to the bit on the CPU, else to the rounding of float64.

    On a GPU the order of a sum depends on what else is in the launch, only not on the run.
    """

    def check(found, expected, atol=1e-12):
        if device == "cpu":
            assert torch.equal(found, expected)
        else:
            torch.testing.assert_close(found.cpu(), expected.cpu(), rtol=1e-10, atol=atol)

    return check


def ensemble(widths, d_in=2, d_out=1, *, activation="tanh", seed=0, pruned=0.0, frozen=0.0, **more):
    """Networks whose parameters depend only on (seed, place in the list)."""
    plain = Ensemble(widths, d_in, d_out, activation=activation, **more)
    sizes = (plain.offsets[1:] - plain.offsets[:-1]).tolist()
    theta, state = [], []
    for b, size in enumerate(sizes):
        draw = torch.Generator().manual_seed(1000 * seed + b)
        theta.append(0.8 * torch.randn(size, generator=draw, dtype=torch.float64))
        chance = torch.rand(size, generator=draw)
        kind = torch.ones(size, dtype=torch.uint8)
        kind[chance < pruned] = 0
        kind[chance > 1.0 - frozen] = 2
        state.append(kind)
    flat_state = torch.cat(state)
    flat = torch.cat(theta).to(plain.dtype)
    flat[flat_state == 0] = 0.0
    return Ensemble(
        widths, d_in, d_out, activation=activation, theta=flat, state=flat_state, **more
    )


def task(n=37, d_in=2, d_out=1, seed=5, dtype=torch.float64):
    """A smooth target on n random inputs (37: no multiple of a vector length)."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d_in, generator=draw, dtype=torch.float64)
    mix = torch.randn(d_in, d_out, generator=draw, dtype=torch.float64)
    y = torch.sin(x @ mix) + 0.3 * (x**2).sum(-1, keepdim=True)
    return Task(x.to(dtype), y.to(dtype))


def forward(theta, row, x, activation=torch.tanh, bias=True):
    """Output ``[N, d_out]`` of a network with layer widths ``row`` from its flat parameters."""
    at, h = 0, x
    for layer, (fan_in, fan_out) in enumerate(pairwise(row)):
        h = h @ theta[at : at + fan_in * fan_out].view(fan_out, fan_in).T
        at += fan_in * fan_out
        if bias:
            h = h + theta[at : at + fan_out]
            at += fan_out
        if layer < len(row) - 2:
            h = activation(h)
    return h


def part(ens, b, flat=None):
    """Network b's slice of a flat vector (default: its parameters)."""
    values = ens.theta if flat is None else flat
    return values[int(ens.offsets[b]) : int(ens.offsets[b + 1])]


def critical(ens, b=0, n=50, size=0.5, seed=0):
    """A task at which network b stands on an exact critical point of loss about ``size^2``.

    A random residual, projected off the range of the Jacobian, is subtracted from the network's
    own output (theory: the gradient is then ``2/N J^T r = 0``).
    """
    row = ens.layer_widths[b].tolist()
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, row[0], generator=draw, dtype=torch.float64)
    theta = part(ens, b).clone()
    jacobian = torch.func.jacrev(lambda p: forward(p, row, x).flatten())(theta)
    jacobian = jacobian[:, part(ens, b, ens.state) == 1]
    residual = size * torch.randn(jacobian.shape[0], generator=draw, dtype=torch.float64)
    basis, singular, _ = torch.linalg.svd(jacobian, full_matrices=False)
    basis = basis[:, singular > 1e-12 * singular[0]]
    for _ in range(2):
        residual = residual - basis @ (basis.T @ residual)
    out = forward(theta, row, x)
    return Task(x, out - residual.view_as(out))


def torch_hessian(ens, data, b=0):
    """Hessian of network b over its coordinates by torch's own autograd."""
    row = ens.layer_widths[b].tolist()
    x, y = data.x.reshape(-1, row[0]), data.y.reshape(-1, row[-1])
    chosen = part(ens, b, ens.state) == 1

    def loss(p):
        return ((forward(p, row, x) - y) ** 2).sum(-1).mean()

    full = torch.func.hessian(loss)(part(ens, b).clone())
    return full[chosen][:, chosen]


@pytest.fixture
def cases():
    """The functions above."""
    return SimpleNamespace(
        ensemble=ensemble,
        task=task,
        forward=forward,
        part=part,
        critical=critical,
        torch_hessian=torch_hessian,
    )
