"""Vector activations and derivatives against mpmath, on every instruction set of the machine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from activation_errors import BOUNDS, DTYPES, exact, points, worst_error

from edt import _core
from edt.ops import cpu
from edt.ops.activations import ACTIVATION_CODES, ACTIVATION_FUNCTIONS

ISAS = _core.isas()
#: Highest derivative compiled: a core for one machine (EDT_ISAS=native) does without the third.
ORDERS = _core.build_info()["max_order"]


def test_codes_are_those_of_the_core():
    assert tuple(ACTIVATION_CODES) == _core.CODES["activation"]
    assert list(ACTIVATION_CODES.values()) == list(range(len(ACTIVATION_CODES)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_accuracy(name, dtype, isa):
    # Every highest order has code of its own.
    for highest in range(ORDERS + 1):
        found = cpu.activation(name, points(dtype), highest)
        for order in range(highest + 1):
            worst = worst_error(name, dtype, order, found[order])
            assert worst <= BOUNDS[name][order], f"order {order} of {highest}: {worst:.3g} u T"


@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_reference(name):
    """The plain PyTorch twin and its derivatives by autograd."""
    z = points(torch.float64)
    # Autograd's own formulas: no third derivatives at kinks, no huge arguments.
    z = z[(z.abs() < 12) & (z != 0)].requires_grad_(True)
    keep = torch.isin(points(torch.float64), z.detach()).numpy()
    size = 1 + exact(name, torch.float64)[2][:, keep]
    y = ACTIVATION_FUNCTIONS[name](z)
    for order in range(4):
        expected = exact(name, torch.float64)[0, order, keep]
        error = np.abs(y.detach().numpy() - expected) / size[order]
        # Sums of a handful of rounded terms of size at most (1 + |z|)^3 times the exact ones.
        assert float(error.max()) < 1e-12, order
        if order < 3 and y.requires_grad:
            (y,) = torch.autograd.grad(y.sum(), z, create_graph=True, materialize_grads=True)
        else:
            y = torch.zeros_like(z)


#: Limits at plus and minus infinity, orders 0..3.
LIMITS = {
    "identity": ((np.inf, 1, 0, 0), (-np.inf, 1, 0, 0)),
    "relu": ((np.inf, 1, 0, 0), (0, 0, 0, 0)),
    "leaky_relu": ((np.inf, 1, 0, 0), (-np.inf, 0.01, 0, 0)),
    "tanh": ((1, 0, 0, 0), (-1, 0, 0, 0)),
    "sigmoid": ((1, 0, 0, 0), (0, 0, 0, 0)),
    "softplus": ((np.inf, 1, 0, 0), (0, 0, 0, 0)),
    "gelu": ((np.inf, 1, 0, 0), (0, 0, 0, 0)),
    "silu": ((np.inf, 1, 0, 0), (0, 0, 0, 0)),
    "elu": ((np.inf, 1, 0, 0), (-1, 0, 0, 0)),
    "selu": ((np.inf, 1.0507009873554805, 0, 0), (-1.7580993408473766, 0, 0, 0)),
    "erf": ((1, 0, 0, 0), (-1, 0, 0, 0)),
    "sin": ((np.nan,) * 4, (np.nan,) * 4),
    "square": ((np.inf, np.inf, 1, 0), (np.inf, -np.inf, 1, 0)),
    "cube": ((np.inf, np.inf, np.inf, 6), (-np.inf, np.inf, -np.inf, 6)),
    "g": ((np.inf, 1, 0, 0), (0, 0, 0, 0)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_infinities(name, dtype, isa):
    expected = torch.tensor(LIMITS[name], dtype=torch.float64).T.to(dtype)
    ends = torch.tensor([np.inf, -np.inf], dtype=dtype)
    for highest in range(ORDERS + 1):
        found = cpu.activation(name, ends, highest)
        # The constants of selu are rounded once more in float32.
        torch.testing.assert_close(
            found, expected[: highest + 1], rtol=2 * torch.finfo(dtype).eps, atol=0, equal_nan=True
        )
    # Long before infinity the limits hold too, without overflow on the way.
    far = torch.tensor([1.0, -1.0], dtype=dtype) * torch.finfo(dtype).max / 2
    found = cpu.activation(name, far, ORDERS)
    if expected[1 : ORDERS + 1].isinf().any():
        assert not found.isnan().any()
    elif name == "sin":
        # Too far for an exact reduction: said, not guessed.
        assert found.isnan().all()
    else:
        slack = 2 * torch.finfo(dtype).eps
        torch.testing.assert_close(found[1:], expected[1 : ORDERS + 1], rtol=slack, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_nan_propagates(name, dtype, isa):
    z = torch.full((3,), np.nan, dtype=dtype)
    for highest in range(ORDERS + 1):
        found = cpu.activation(name, z, highest)
        assert found[0].isnan().all()
        # Derivatives that do not depend on z are constants even here.
        constant = {"identity": 1, "relu": 1, "leaky_relu": 1, "square": 2, "cube": 3}
        assert found[: constant.get(name, highest + 1)].isnan().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_bits_do_not_depend_on_place(name, dtype, isa):
    """Lane, tail and length of the array never change a result."""
    z = points(dtype)[::7]
    whole = cpu.activation(name, z, ORDERS)
    for start, stop in [(0, 1), (1, 8), (3, 20), (5, 21), (2, 35), (0, 65)]:
        part = cpu.activation(name, z[start:stop].clone(), ORDERS)
        torch.testing.assert_close(part, whole[:, start:stop], rtol=0, atol=0, equal_nan=True)


@pytest.mark.skipif(
    not {"avx2", "avx512"} <= set(ISAS), reason="needs EDT_ISAS=all and both AVX2 and AVX-512"
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_avx512_and_avx2_give_the_same_bits(name, dtype):
    before, found = _core.isa(), {}
    for which in ("avx512", "avx2"):
        _core.select_isa(which)
        found[which] = cpu.activation(name, points(dtype), ORDERS)
    _core.select_isa(before)
    torch.testing.assert_close(found["avx512"], found["avx2"], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_kinks(name, dtype):
    """At exactly 0 the twin's derivatives, by autograd, are the engine's, in every order."""
    zero = torch.tensor([0.0, -0.0], dtype=dtype, requires_grad=True)
    found = cpu.activation(name, zero.detach(), ORDERS)
    value = ACTIVATION_FUNCTIONS[name](zero)
    for order in range(ORDERS + 1):
        # A few units of the size of the derivatives, which is 1.
        torch.testing.assert_close(
            found[order], value.detach(), rtol=0, atol=8 * torch.finfo(dtype).eps
        )
        if not value.requires_grad:
            assert not found[order + 1 :].any()
            break
        (value,) = torch.autograd.grad(value.sum(), zero, create_graph=True)


@pytest.mark.parametrize("name", ["elu", "selu"])
def test_the_exponential_branch_at_zero(name):
    scale = 1.0 if name == "elu" else 1.7580993408473766
    found = cpu.activation(name, torch.zeros(1, dtype=torch.float64), ORDERS)
    assert found[1:, 0].tolist() == pytest.approx([scale] * ORDERS, rel=1e-15)
