"""Sections: gradient, Hessian and products are the projected ones; steps stay on the section."""

from __future__ import annotations

import torch

import edt
from edt.objectives import Section, hessians
from edt.tasks.given import objective_of


def test_derivatives_are_projected():
    data = edt.tasks.teacher_student(2, 2, n=40, seed=1)
    ens = edt.Ensemble.init([2, 3, 4], [0], d_in=2, d_out=1)
    ens = ens.with_masks(torch.arange(ens.total) % 6 != 1)
    base = objective_of(ens, data, torch.zeros(3, dtype=torch.int64))
    draw = torch.Generator().manual_seed(0)
    frame = torch.zeros(2, ens.total, dtype=torch.float64)
    frames = []
    for b in range(3):
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        free = ens.state[span] == 1
        rows = torch.linalg.qr(
            torch.randn(int(free.sum()), 2, generator=draw, dtype=torch.float64)
        ).Q.T
        frame[:, span] = frame[:, span].index_copy(1, free.nonzero().flatten(), rows)
        frames.append(rows)
    section = Section(base, frame)
    loss, grad = torch.zeros(3, dtype=torch.float64), torch.full_like(ens.theta, 7.0)
    active = torch.tensor([1, 0, 1], dtype=torch.uint8)
    section.loss_and_grad(ens.theta, loss, grad, active)
    _, plain = edt.loss_and_grad(ens, data)
    matrices, projected = edt.hessian(ens, data), hessians(section, ens.theta, torch.arange(3))
    vectors = torch.randn(3, ens.total, generator=draw, dtype=torch.float64)
    out = torch.zeros_like(vectors)
    section.hvp(ens.theta, vectors, out)
    for b in range(3):
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        free = ens.state[span] == 1
        keep = torch.eye(int(free.sum()), dtype=torch.float64) - frames[b].T @ frames[b]
        # Sums of some ten products of order one in another order.
        close = {"rtol": 1e-12, "atol": 1e-13}
        if bool(active[b]):
            assert torch.allclose(grad[span][free], keep @ plain[span][free], **close)
        else:
            assert bool((grad[span] == 7.0).all())
        inner = keep @ matrices[b] @ keep
        kappa = float(matrices[b].diagonal().abs().mean())
        wanted = inner + kappa * frames[b].T @ frames[b]
        assert torch.allclose(projected[b], wanted, **close)
        images = vectors[:, span][:, free] @ inner
        assert torch.allclose(out[:, span][:, free], images, **close)
