"""Losses of one's own: against torch.func in float64, and a kernel for one of theirs."""

from __future__ import annotations

import pytest
import torch
from small_trainings import same, threads

import edt
from edt.ensemble import Ensemble
from edt.errors import ShapeError
from edt.objectives import function
from edt.tasks import FunctionTask

#: Sums of some hundred terms in another order.
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def cauchy(f, y):
    return (1.0 + (f - y).square()).log().sum(1)


def coupled(f, y):
    """Each output's slope depends on the others; bends down far from the target, as Cauchy's."""
    return (1.0 + (f - y).square().sum(1)).log()


def bce(f, y):
    return torch.nn.functional.binary_cross_entropy_with_logits(f, y, reduction="none").sum(1)


@pytest.fixture
def setting():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(9, 2, generator=draw, dtype=torch.float64)
    y = 3.0 * torch.rand(9, 2, generator=draw, dtype=torch.float64)
    weights = torch.rand(9, generator=draw, dtype=torch.float64)
    ens = Ensemble.init([3, 4], [0], d_in=2, d_out=2, scheme="normal")
    state = ens.state.clone()
    state[2], state[7] = 0, 2
    return FunctionTask(x, y, cauchy, weights), ens.with_state(state)


@pytest.mark.parametrize("room", [function.ROOM, 20], ids=["at once", "in parts"])
@pytest.mark.parametrize("loss", [cauchy, coupled])
def test_derivatives_are_those_of_torch_func(setting, cases, loss, room, monkeypatch):
    monkeypatch.setattr(function, "ROOM", room)
    task, ens = setting
    task = FunctionTask(task.x, task.y, loss, task.coef)
    losses, grad = edt.loss_and_grad(task, ens)
    hessians, gauss = edt.hessian(task, ens), edt.hessian(task, ens, ggn=True)
    vectors = torch.randn(2, ens.total, dtype=torch.float64)
    products = edt.hvp(task, ens, vectors), edt.ggn_vp(task, ens, vectors)
    bent = False
    for b in range(2):
        row, theta = ens.layer_widths[b].tolist(), cases.part(ens, b)
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        live = ens.state[span] == 1

        def outputs(c, theta=theta, live=live, row=row):
            return cases.forward(theta.index_copy(0, torch.nonzero(live).flatten(), c), row, task.x)

        def value(c, outputs=outputs):
            return task.coef @ loss(outputs(c), task.y)

        c = theta[live]
        torch.testing.assert_close(losses[b], value(c), **CLOSE)
        torch.testing.assert_close(grad[span][live], torch.func.grad(value)(c), **CLOSE)
        expected = torch.func.hessian(value)(c)
        torch.testing.assert_close(hessians[b], expected, **CLOSE)
        j, f = torch.func.jacrev(outputs)(c), outputs(c)
        curve = torch.func.vmap(
            torch.func.hessian(lambda f, y: loss(f[None], y[None])[0])
        )(f, task.y)  # fmt: skip
        values, basis = torch.linalg.eigh(curve)
        bent |= bool((values < -1e-3).any())
        lifted = basis @ torch.diag_embed(values.clamp_min(0.0)) @ basis.mT
        best = torch.einsum("n,nop,noq,nqr->pr", task.coef, j, lifted, j)
        torch.testing.assert_close(gauss[b], best, **CLOSE)
        for found, matrix in zip(products, (expected, best), strict=True):
            want = vectors[:, span][:, live] @ matrix
            torch.testing.assert_close(found[:, span][:, live], want, **CLOSE)
            assert not found[:, span][:, ~live].any()
    assert bent


def test_one_of_the_kernels_losses_trains_the_same(setting):
    task, ens = setting
    y = task.y / 3.0
    mine, theirs = FunctionTask(task.x, y, bce), edt.Task(task.x, y, loss="bce")
    options = {"steps": 100, "lr": 0.02, "progress": False, "device": "cpu"}
    found, expected = (edt.masked_train(one, ens, **options) for one in (mine, theirs))
    torch.testing.assert_close(found.networks.theta, expected.networks.theta, rtol=1e-9, atol=1e-11)
    spectra = [edt.hessian_spectrum(one, expected.networks) for one in (mine, theirs)]
    for a, b in zip(spectra[0], spectra[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_bits_do_not_depend_on_company_threads_or_cuts(setting, tmp_path):
    task, ens = setting
    options = {"steps": 60, "lr": 0.02, "progress": False, "record": 8}
    with threads(1):
        whole = edt.masked_train(task, ens, **options)
    with threads(2):
        same(whole, edt.masked_train(task, ens, **options))
        alone = edt.masked_train(task, ens[[1]], **options)
    at = slice(int(ens.offsets[1]), int(ens.offsets[2]))
    assert torch.equal(alone.networks.theta, whole.networks.theta[at])
    first = edt.masked_train(task, ens, **{**options, "steps": 24})
    same(whole, edt.masked_train(task, continue_from=first, **options))
    cut = edt.masked_train(task, ens, **options, checkpoint=tmp_path, max_seconds=0.0)
    assert cut.interrupted
    same(whole, edt.masked_train(task, ens, **options, checkpoint=tmp_path))


def test_minima_are_found():
    """More samples than the network can fit, so that it has minima of a loss that is not 0."""
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(40, 2, generator=draw, dtype=torch.float64)
    y = x[:, :1].sin() + 0.5 * torch.randn(40, 1, generator=draw, dtype=torch.float64)
    task, ens = FunctionTask(x, y, cauchy), Ensemble.init([1], [0, 1], d_in=2, d_out=1)
    found = edt.converge(task, ens, progress=False)
    assert found.verdict == ["minimum"] * 2
    assert float(edt.loss_and_grad(task, found.networks)[1].abs().max()) < 1e-8


def test_bad_input(setting):
    task, ens = setting
    x, y = task.x, task.y
    for make, error, words in [
        (lambda: FunctionTask(x, y, "mse"), TypeError, "loss must be a function"),
        (lambda: FunctionTask(x[:, 0], y, cauchy), ShapeError, "x must have shape"),
        (lambda: FunctionTask(x, y[:3], cauchy), ShapeError, "y must have 9 rows"),
        (lambda: FunctionTask(x, y, cauchy, weights=-torch.ones(9)), ValueError, "weights must be"),
        (
            lambda: edt.loss(FunctionTask(x, y, lambda f, y: (f - y).square()), ens),
            ShapeError,
            r"loss must return a tensor \[9\], got \[9, 2\]",
        ),
    ]:
        with pytest.raises(error, match=words):
            make()


@pytest.mark.parametrize("loss", [cauchy, bce])
def test_minibatches_are_those_of_the_core(loss):
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(11, 2, generator=draw, dtype=torch.float64)
    y = torch.rand(11, 1, generator=draw, dtype=torch.float64)
    weights = torch.rand(11, generator=draw, dtype=torch.float64) + 0.1
    ens = Ensemble.init([3, 4], [0], d_in=2, d_out=1)
    own = FunctionTask(x, y, loss, weights)
    options = {
        "lr": 0.05, "optimizer": "sgd", "momentum": 0.9, "steps": 13, "batch_size": [4, 3],
        "data_seed": [3, 4], "record": [0, 5, 13], "progress": False,
    }  # fmt: skip
    mine = edt.masked_train(own, ens, **options)
    alone = edt.masked_train(own, ens.select([1]), **{**options, "batch_size": 3, "data_seed": 4})
    assert torch.equal(alone.networks.theta, mine.networks.select([1]).theta)
    first = edt.masked_train(own, ens, **{**options, "steps": 6, "record": [0, 5]})
    later = edt.masked_train(own, continue_from=first, **options)
    assert torch.equal(later.networks.theta, mine.networks.theta)
    if loss is bce:
        core = edt.masked_train(edt.Task(x, y, "bce", weights), ens, **options)
        torch.testing.assert_close(mine.networks.theta, core.networks.theta, **CLOSE)
        torch.testing.assert_close(mine.recorded.loss, core.recorded.loss, **CLOSE)


def test_modules_learn_them_as_chains_do(setting):
    task, _ = setting
    plain = Ensemble.init([3, 4], [0], d_in=2, d_out=2, scheme="normal")
    modules = edt.ModuleEnsemble([plain.to_module(b) for b in range(2)])
    order = [plain.theta[a:b] for a, b in zip(plain.offsets, plain.offsets[1:], strict=False)]
    torch.testing.assert_close(modules.theta, torch.cat(order), rtol=0, atol=0)
    loss, grad = edt.loss_and_grad(task, plain)
    other, slope = edt.loss_and_grad(task, modules)
    torch.testing.assert_close(other, loss, **CLOSE)
    torch.testing.assert_close(slope, grad, **CLOSE)
    for ggn in (False, True):
        theirs = edt.hessian(task, plain, ggn=ggn)
        for mine, wanted in zip(edt.hessian(task, modules, ggn=ggn), theirs, strict=True):
            torch.testing.assert_close(mine, wanted, **CLOSE)
    options = {"lr": 0.05, "steps": 9, "batch_size": 4, "data_seed": 2, "progress": False}
    one, two = (edt.masked_train(task, nets, **options) for nets in (plain, modules))
    torch.testing.assert_close(two.networks.theta, one.networks.theta, rtol=1e-9, atol=1e-11)
    images = FunctionTask(task.x.reshape(9, 1, 2, 1), task.y, cauchy)
    flat = edt.ModuleEnsemble(
        [torch.nn.Sequential(torch.nn.Flatten(), plain.to_module(b)) for b in range(2)]
    )
    bare = FunctionTask(task.x, task.y, cauchy)
    torch.testing.assert_close(edt.loss(images, flat), edt.loss(bare, plain), **CLOSE)
    with pytest.raises(ShapeError, match="must have shape"):
        edt.loss(images, plain)


def test_float32_is_float64_rounded():
    """For chains and modules: gradients, Gauss-Newton products, and training as in the core."""
    draw = torch.Generator().manual_seed(6)
    x, y = (torch.rand(11, n, generator=draw, dtype=torch.float64) for n in (2, 1))
    own, named = FunctionTask(x, y, bce), edt.Task(x, y, "bce")
    ens = Ensemble.init([3, 4], [0], d_in=2, d_out=1)
    narrow = ens.to(torch.float32)
    modules = edt.ModuleEnsemble([narrow.to_module(b) for b in range(2)])
    vectors = torch.randn(2, ens.total, generator=draw, dtype=torch.float64)
    options = {"lr": 0.05, "steps": 9, "batch_size": 4, "data_seed": 2, "progress": False}
    wanted = edt.loss_and_grad(own, ens)[1], edt.ggn_vp(own, ens, vectors)
    core = edt.masked_train(named.to(torch.float32), narrow, device="cpu", **options)
    for nets in (narrow, modules):
        found = edt.loss_and_grad(own, nets)[1], edt.ggn_vp(own, nets, vectors.float())
        for mine, exact in zip(found, wanted, strict=True):
            assert mine.dtype == torch.float32
            # Rounding of 2^-24, a few tens of terms.
            torch.testing.assert_close(mine.double(), exact, rtol=1e-4, atol=1e-6)
        trained = edt.masked_train(own, nets, **options)
        assert trained.networks.dtype == torch.float32
        torch.testing.assert_close(
            trained.networks.theta, core.networks.theta, rtol=1e-4, atol=1e-5
        )
        again = edt.masked_train(own.to(torch.float32), nets, **options)
        assert torch.equal(again.networks.theta, trained.networks.theta)
    ended = edt.converge(own, core.networks, progress=False)
    assert ended.networks.dtype == torch.float64
    with pytest.raises(ValueError, match=r"dtype must be torch\.float64 or torch\.float32"):
        own.to(torch.float16)
