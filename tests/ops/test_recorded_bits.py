"""Results are those of an earlier commit, bit for bit: faster code must not change a number.

`RECORDED` holds digests of everything that the core computes on inputs that arithmetic on small
integers fixes. Whoever changes bits on purpose says so in the change log and prints new ones with
``python tests/ops/test_recorded_bits.py``. AVX-512 and AVX2 share them; the baseline has no fused
multiply-add.
"""

from __future__ import annotations

import hashlib

import pytest
import torch

import edt
from edt import _core, functional, ops

RECORDED = {
    "identity": "cac2a92928807669",
    "relu": "7c16676d8843dd2d",
    "leaky_relu": "d88c1a4b0cb1505f",
    "tanh": "40f76e521ea506f2",
    "sigmoid": "355b059543cd3c8a",
    "softplus": "a6303c41ed593b6f",
    "gelu": "97053f509ea522a6",
    "silu": "86ecd712da380fe2",
    "elu": "d31c0b4097a6dd25",
    "selu": "1d0c2b38d26a514a",
    "erf": "864717bcf51fe989",
    "sin": "89e889fff5f51340",
    "square": "ca052ca35686ba6a",
    "cube": "70ad19e3656e4e25",
    "g": "375e55f570ac4b2e",
}


def fractions(count, dtype, step=7919):
    """``count`` numbers in (-1, 1), multiples of 1/1024."""
    return ((torch.arange(count) * step) % 2003 - 1001).to(dtype) / 1024


def results(activation):
    """All that the core computes for a few networks, one tensor after the other."""
    for dtype in (torch.float64, torch.float32):
        yield ops.cpu.activation(activation, 12 * fractions(999, dtype), 1)
        yield ops.cpu.activation(activation, 12 * fractions(999, dtype), 2)
        for widths, d_out, loss, samples in (
            ((3, 8, 19), 1, "mse", 333),
            (((5, 4), (2, 7)), 3, "cross_entropy", 150),
            ((40,), 2, "mse", 200),
        ):
            ens = edt.Ensemble.init(widths, range(2), d_in=4, d_out=d_out, activation=activation)
            ens = ens.to(dtype=dtype)
            ens = ens.with_theta(1.5 * fractions(ens.theta.numel(), dtype))
            x = 2 * fractions(samples * 4, dtype, 6007).reshape(samples, 4)
            y = fractions(samples * d_out, dtype, 5003).reshape(samples, d_out)
            labels = torch.arange(samples) % d_out
            task = edt.Task(x, labels if loss == "cross_entropy" else y, loss=loss)
            vectors = fractions(3 * ens.theta.numel(), dtype, 4001).reshape(3, -1)
            yield functional.loss(ens, task)
            yield from functional.loss_and_grad(ens, task)
            yield functional.predict(ens, task)
            yield functional.hvp(ens, task, vectors)
            yield functional.ggn_vp(ens, task, vectors)
            yield from functional.hessian(ens, task)
            yield from functional.jacobian(ens, task)
            for settings in ({}, {"optimizer": "sgd", "batch_size": 32}):
                run = edt.masked_train(task, ens, steps=9, lr=0.01, progress=False, **settings)
                yield run.networks.theta


def digest(activation):
    found = hashlib.sha256()
    for tensor in results(activation):
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("activation", RECORDED)
def test_same_bits(activation, isa):
    if isa == "baseline":
        pytest.skip("without fused multiply-adds")
    assert digest(activation) == RECORDED[activation]


def test_every_activation_is_recorded():
    assert set(RECORDED) == set(_core.CODES["activation"])


if __name__ == "__main__":
    for name in _core.CODES["activation"]:
        print(f'    "{name}": "{digest(name)}",')
