"""Curvature as users of curvlinops reach for it, against curvlinops itself, on one network."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import nn

import edt
from edt.curvature import (
    fisher,
    fisher_product,
    hessian_diagonal,
    hessian_trace,
    influence,
    inverse_product,
    kfac,
    submatrix,
)
from edt.curvature.inputs import signs

theirs = pytest.importorskip("curvlinops")
IdentityLinearOperator = pytest.importorskip("curvlinops.examples").IdentityLinearOperator
#: Sums of some hundred terms in another order, through eigenvectors.
CLOSE = {"rtol": 1e-8, "atol": 1e-10}
SEED = 5


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(3, 2, 2, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3),
    ).double()  # fmt: skip


def test_every_operator_on_one_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module, networks = network(), edt.ModuleEnsemble([network()])
    draw = torch.Generator().manual_seed(6)
    # More samples than inputs of a layer: eigenvectors of factors without full rank are anybody's.
    x = torch.randn(30, 2, 6, 6, generator=draw, dtype=torch.float64)
    y = torch.arange(30) % 3
    params, data = list(module.parameters()), [(x[:10], y[:10]), (x[10:], y[10:])]
    images = edt.ModuleTask(data, "cross_entropy")
    loss, size = nn.CrossEntropyLoss(), networks.total
    v = torch.randn(size, generator=draw, dtype=torch.float64)
    unit = torch.eye(size, dtype=torch.float64)

    def same(mine: torch.Tensor, operator: Any, scale: float = 1.0) -> None:
        torch.testing.assert_close(mine, scale * (operator @ v).detach(), **CLOSE)

    # Matrices and products.
    hessian = theirs.HessianLinearOperator(module, loss, params, data)
    gauss = theirs.GGNLinearOperator(module, loss, params, data)
    same(edt.hvp(images, networks, v), hessian)
    same(edt.ggn_vp(images, networks, v), gauss)
    (matrix,) = edt.hessian(images, networks)
    torch.testing.assert_close(matrix, (hessian @ unit).detach(), **CLOSE)
    rows, columns = [3, 0, 77], [5, 11]
    corner = theirs.SubmatrixLinearOperator(hessian, rows, columns)
    (mine,) = submatrix(images, networks, torch.tensor(rows), torch.tensor(columns))
    found = corner @ torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(mine, found.detach(), **CLOSE)

    # Fisher matrices; draws of one seed are the same ones.
    same(fisher_product(images, networks, v), gauss)
    empirical = theirs.EFLinearOperator(module, loss, params, data)
    same(fisher_product(images, networks, v, kind="empirical"), empirical)
    (mine,) = fisher(images, networks, kind="empirical")
    torch.testing.assert_close(mine @ v, (empirical @ v).detach(), **CLOSE)
    drawn = theirs.FisherMCLinearOperator(module, loss, params, data, seed=SEED)
    same(fisher_product(images, networks, v, kind="mc", seed=SEED), drawn)
    (mine,) = fisher(images, networks, kind="mc", seed=SEED)
    torch.testing.assert_close(mine @ v, (drawn @ v).detach(), **CLOSE)

    # Kronecker factors.
    for kind, name, draws in (
        ("true", "type-2", 1),
        ("empirical", "empirical", 1),
        ("mc", "mc", 3),
        ("forward", "forward-only", 1),
    ):
        for sharing in ("expand", "reduce"):
            options = {
                "fisher_type": name, "kfac_approx": sharing, "separate_weight_and_bias": False,
                "mc_samples": draws, "seed": SEED,
            }  # fmt: skip
            operator = theirs.KFACLinearOperator(module, loss, params, data, **options)
            own: dict[str, Any] = {"kind": kind, "sharing": sharing, "draws": draws, "seed": SEED}
            found = kfac(images, networks, **own)
            same(found.product(v), operator)
            inverse = theirs.KFACInverseLinearOperator(
                operator, damping=0.1, use_exact_damping=True
            )
            same(found.inverse_product(v, 0.1), inverse)
            if kind == "forward":
                continue
            operator = theirs.EKFACLinearOperator(module, loss, params, data, **options)
            same(kfac(images, networks, corrected=True, **own).product(v), operator)

    # Inverses: by conjugate gradients, exactly, by LSMR and by Neumann's series.
    damped = unit * 0.1 + (gauss @ unit).detach()
    for method in ("cg", "exact"):
        mine = inverse_product(images, networks, v, damping=0.1, method=method, tol=1e-12)
        torch.testing.assert_close(
            mine.solution, torch.linalg.solve(damped, v), rtol=1e-7, atol=1e-9
        )
    shifted = (
        gauss + IdentityLinearOperator([tuple(p.shape) for p in params], v.device, v.dtype) * 0.1
    )
    by_cg = theirs.CGInverseLinearOperator(shifted, tolerance=1e-12, eps=1e-30, max_iter=200)
    torch.testing.assert_close(mine.solution, (by_cg @ v).detach(), rtol=1e-7, atol=1e-9)
    neumann = theirs.NeumannInverseLinearOperator(gauss, num_terms=5, scale=0.1)
    mine = inverse_product(
        images, networks, v, damping=0.0, method="neumann", scale=0.1, max_products=5
    )
    same(mine.solution, neumann)
    lsmr = theirs.LSMRInverseLinearOperator(gauss, maxiter=4, atol=0.0, btol=0.0, conlim=0.0)
    mine = inverse_product(images, networks, v, damping=0.0, method="lsmr", tol=0.0, max_products=9)
    same(mine.solution, lsmr)

    # Influence functions, of their operators: gradients of single samples and a damped inverse.
    singles = [
        torch.autograd.grad(loss(module(x[n : n + 1]), y[n : n + 1]), params) for n in range(30)
    ]
    slopes = torch.stack([torch.cat([part.reshape(-1) for part in one]) for one in singles])
    (mine,) = influence(images, networks, (x[:4], y[:4]), damping=0.1)
    expected = -slopes[:4] @ (by_cg @ slopes.T).detach()
    torch.testing.assert_close(mine, expected, rtol=1e-7, atol=1e-9)

    # Traces and diagonals, from the same random vectors.
    for estimate, function, drawn_once in (
        (theirs.xtrace, hessian_trace, 6),
        (theirs.hutchinson_trace, hessian_trace, 12),
        (theirs.hutchpp_trace, hessian_trace, 8),
        (theirs.xdiag, hessian_diagonal, 6),
        (theirs.hutchinson_diag, hessian_diagonal, 12),
    ):
        vectors = iter(signs(size, drawn_once, SEED))
        monkeypatch.setattr(
            importlib.import_module(estimate.__module__),
            "random_vector",
            lambda *_, vectors=vectors: next(vectors),
        )
        method = estimate.__name__.partition("_")[0].replace("hutchpp", "hutch++")
        count = {"products" if function is hessian_trace else "probes": 12}
        found = function(images, networks, method=method, seed=SEED, **count)
        value = found.trace[0] if function is hessian_trace else found[0]
        expected = estimate(hessian, 12).detach()
        torch.testing.assert_close(value, expected, rtol=1e-7, atol=1e-9)
        assert next(vectors, None) is None
