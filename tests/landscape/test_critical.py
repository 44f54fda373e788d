"""Tasks that put given networks on exact critical points."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.landscape import critical_task


@pytest.mark.parametrize(
    ("widths", "options"),
    [
        ([2, 5], {}),
        ([3], {"d_out": 3, "bias": False, "activation": "softplus"}),
        ([(3, 2), (2, 4)], {"d_out": 2, "activation": "g"}),
        ([4], {"activation": "relu"}),
        ([4, 6], {"sparsity": 0.4}),
    ],
)
def test_gradient_is_zero_at_any_loss(make, widths, options):
    ens = make.networks(widths, 3, **options)
    for residual in (1e-3, 1.0, 50.0):
        data, index = make.on_critical_points(ens, residual=residual)
        loss = edt.loss(ens, data, task_index=index)
        # 2 J^T r / N with entries of J of order ten: rounding of the residual, and of the
        # targets (of order ten too), from which the residual is a difference.
        assert float(make.slope(ens, data, index).max()) < 1e-14 * (30 * residual + 1)
        assert bool((loss > 0.05 * residual**2).all())
        # R is projected, never enlarged; its mean square was residual^2 up to sampling noise.
        assert bool((loss < 1.7 * ens.d_out * residual**2).all())


def test_frozen_parameters_keep_their_gradient(make):
    ens = make.networks([3])
    frozen = torch.zeros(ens.total, dtype=torch.bool)
    frozen[0] = True
    ens = ens.with_frozen(frozen)
    data, index = make.on_critical_points(ens)
    free = ens.with_frozen(~torch.ones_like(frozen))
    _, grad = edt.loss_and_grad(free, data, task_index=index)
    assert abs(float(grad[0])) > 1e-3
    assert float(grad[1:].abs().max()) < 1e-14 * 30


def test_too_few_samples(make):
    ens = make.networks([8])
    with pytest.raises(ValueError, match="network 0 has 33 coordinates, 33 residuals"):
        critical_task(ens, make.inputs(33, 2))
