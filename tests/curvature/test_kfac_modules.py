"""Kronecker factors of convolutions, and solvers, against loops by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edt
from edt.curvature import inverse_product, kfac
from edt.ops.losses import LOSSES

#: Sums of some hundred terms in another order.
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
CONV = pytest.mark.parametrize("corrected", [False, True])


def conv_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(3, 2, 2, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3),
    ).double()  # fmt: skip


@pytest.fixture(scope="module")
def images() -> edt.ModuleTask:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(7, 2, 6, 6, generator=draw, dtype=torch.float64)
    return edt.ModuleTask((x, torch.arange(7) % 3), "cross_entropy", at_once=4)


def square_roots(task: edt.ModuleTask, f: torch.Tensor, kind: str) -> list[torch.Tensor]:
    y = task.full_batch(0)[1]  # type: ignore[index]
    if kind == "empirical":
        slopes = torch.func.vmap(torch.func.grad(lambda f, y: LOSSES[task.loss].sample(f, y)))
        return [slopes(f.detach(), y)]
    curve = LOSSES[task.loss].curvature(f.detach(), y)
    values, basis = torch.linalg.eigh(curve)
    return list((basis * values.clamp_min(0).sqrt()[:, None]).unbind(-1))


@pytest.mark.parametrize("kind", ["true", "empirical"])
@pytest.mark.parametrize("sharing", ["expand", "reduce"])
def test_factors_are_sums_over_patches(images: edt.ModuleTask, kind: str, sharing: str) -> None:
    module = conv_net()
    found = kfac(images, edt.ModuleEnsemble([module]), kind=kind, sharing=sharing).layers[0][0]
    x = images.full_batch(0)[0]  # type: ignore[index]
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    ones = torch.ones(7, 1, dtype=torch.float64)
    patches = torch.stack([
        torch.cat([padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].reshape(7, -1), ones], 1)
        for i in range(3) for j in range(3)
    ], 1)  # fmt: skip
    z = module[0](x)
    f = module[1:](z.clone())
    left, right = torch.zeros(19, 19).double(), torch.zeros(3, 3).double()
    for root in square_roots(images, f, kind):
        (slope,) = torch.autograd.grad((root.detach() * f).sum(), z, retain_graph=True)
        slope = slope.reshape(7, 3, 9)
        for n in range(7):
            places = [slope[n].sum(1)] if sharing == "reduce" else slope[n].T
            right += sum(torch.outer(g, g) for g in places) / 7
    for n in range(7):
        places = [patches[n].mean(0)] if sharing == "reduce" else patches[n]
        left += sum(torch.outer(a, a) for a in places) / (7 * len(places))
    torch.testing.assert_close(found.inputs, left, **CLOSE)
    torch.testing.assert_close(found.outputs, right, **CLOSE)


def test_corrected_values_are_the_diagonal_of_the_block_itself(images: edt.ModuleTask) -> None:
    networks = edt.ModuleEnsemble([conv_net()])
    (gauss,) = edt.hessian(images, networks, ggn=True)
    better = kfac(images, networks, corrected=True)
    for layer in better.layers[0]:
        where = layer.places.reshape(-1)
        basis = torch.kron(layer.basis_out, layer.basis_in)
        block = gauss[where[:, None], where[None, :]]
        exact = (basis.T @ block @ basis).diagonal()
        torch.testing.assert_close(layer.values.reshape(-1), exact, **CLOSE)


@CONV
def test_modules_of_linear_layers_are_as_chains(corrected: bool) -> None:
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(9, 2, generator=draw, dtype=torch.float64)
    y = torch.randn(9, 2, generator=draw, dtype=torch.float64)
    task = edt.Task(x, y, weights=torch.rand(9, generator=draw) + 0.1)
    chains = edt.Ensemble.init([3, 4], [0], d_in=2, d_out=2)
    modules = edt.ModuleEnsemble([chains.to_module(b) for b in range(2)])
    mine, theirs = (kfac(task, nets, corrected=corrected) for nets in (modules, chains))
    vectors = torch.randn(3, chains.total, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(mine.product(vectors), theirs.product(vectors), **CLOSE)
    torch.testing.assert_close(
        mine.inverse_product(vectors, 0.1), theirs.inverse_product(vectors, 0.1), **CLOSE
    )
    solved = mine.inverse_product(mine.product(vectors) + 0.1 * vectors, 0.1)
    torch.testing.assert_close(solved, vectors, **CLOSE)


def test_frozen_layers_are_left_out_and_others_refused(images: edt.ModuleTask) -> None:
    networks = edt.ModuleEnsemble([conv_net()])
    last = edt.only(networks, "5.*")
    found = kfac(images, last)
    assert [layer.name for layer in found.layers[0]] == ["5"]
    ones = torch.ones(networks.total, dtype=torch.float64)
    assert not bool(found.product(ones)[: int(found.layers[0][0].places.min())].any())
    state = networks.state.clone()
    state[3] = 0
    with pytest.raises(ValueError, match="nothing pruned or frozen inside a layer, got '0'"):
        kfac(images, networks.with_state(state))
    normed = nn.Sequential(nn.Flatten(), nn.Linear(72, 3), nn.BatchNorm1d(3)).double()
    with pytest.raises(ValueError, match=r"freeze other parameters, got 2\.weight"):
        kfac(images, edt.ModuleEnsemble([normed]))
    own = edt.ModuleTask(images.full_batch(0)[:2], lambda f, y: f.square().mean())  # type: ignore[index]
    with pytest.raises(TypeError, match="a loss by name"):
        kfac(own, networks)
    shared = nn.Linear(3, 3).double()
    twice = nn.Sequential(nn.Flatten(), nn.Linear(72, 3).double(), shared, shared)
    with pytest.raises(ValueError, match=r"called once|share"):
        kfac(images, edt.ModuleEnsemble([twice]))
    with pytest.raises(ValueError, match="sharing"):
        kfac(images, networks, sharing="mean")


@pytest.fixture(scope="module")
def small() -> tuple[edt.Task, edt.Ensemble]:
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(12, 2, generator=draw, dtype=torch.float64)
    return edt.Task(x, x[:, :1].sin()), edt.Ensemble.init([2, 4], [0], d_in=2, d_out=1)


@pytest.mark.parametrize("ggn", [True, False])
def test_lsmr_solves_what_conjugate_gradients_cannot(
    small: tuple[edt.Task, edt.Ensemble], ggn: bool
) -> None:
    task, networks = small
    vectors = torch.randn(2, networks.total, dtype=torch.float64)
    exact = inverse_product(task, networks, vectors, ggn=ggn, damping=0.05, method="exact")
    found = inverse_product(
        task, networks, vectors, ggn=ggn, damping=0.05, method="lsmr", tol=1e-12
    )
    torch.testing.assert_close(found.solution, exact.solution, rtol=1e-6, atol=1e-7)
    assert float(found.residual.max()) < 1e-8
    if not ggn:
        # Indefinite, and seen to be.
        assert not bool(exact.definite.all())
    from scipy.sparse.linalg import lsmr

    for b in range(2):
        span = slice(int(networks.offsets[b]), int(networks.offsets[b + 1]))
        matrix = edt.hessian(task, networks, ggn=ggn)[b].numpy()
        theirs = lsmr(
            matrix + 0.05 * np.eye(len(matrix)), vectors[0, span].numpy(), atol=0, btol=0,
            conlim=0, maxiter=3,
        )[0]  # fmt: skip
        few = inverse_product(
            task, networks, vectors[0], ggn=ggn, damping=0.05, method="lsmr", tol=0.0,
            max_products=7,
        )  # fmt: skip
        # Three iterations: a product to begin with and two each.
        torch.testing.assert_close(few.solution[span], torch.from_numpy(theirs), **CLOSE)


def test_neumann_is_its_series(small: tuple[edt.Task, edt.Ensemble]) -> None:
    task, networks = small
    vector = torch.randn(networks.total, dtype=torch.float64)
    options: dict[str, Any] = {"damping": 0.3, "method": "neumann"}
    few = inverse_product(task, networks, vector, scale=0.2, max_products=4, **options)
    for b, gauss in enumerate(edt.hessian(task, networks, ggn=True)):
        span = slice(int(networks.offsets[b]), int(networks.offsets[b + 1]))
        eye = torch.eye(len(gauss), dtype=torch.float64)
        step = eye - 0.2 * (gauss + 0.3 * eye)
        total = sum(torch.linalg.matrix_power(step, k) @ vector[span] for k in range(5))
        torch.testing.assert_close(few.solution[span], 0.2 * total, **CLOSE)
    many = inverse_product(task, networks, vector, max_products=400, **options)
    assert float(many.residual.max()) < 1e-10
    with pytest.raises(ValueError, match="scale needs method='neumann'"):
        inverse_product(task, networks, vector, scale=0.1)
