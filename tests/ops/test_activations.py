"""Vector activations and derivatives against mpmath, on every instruction set of the machine.

The error of an order is measured in units of ``u T(z)``: u is the distance from 1 to the next
number (2^-52 or 2^-23) and T the sum of the absolute terms of the closed form, e.g. ``s' (4 t^2 +
2 s')`` for the third derivative ``s' (4 t^2 - 2 s')`` of tanh. Where nothing cancels that is a
relative error (about ULPs); where terms cancel no formula in working precision does better.
Exponentials below the normal range are flushed to zero: an absolute error of the least normal
number, times the powers of z that multiply it, is granted.
"""

from __future__ import annotations

from functools import cache

import mpmath as mp
import numpy as np
import pytest
import torch

from edt import _core
from edt.ops import cpu
from edt.ops.activations import ACTIVATION_CODES, ACTIVATION_FUNCTIONS

ISAS = _core.isas()
#: Highest derivative compiled: a core for one machine (EDT_ISAS=native) does without the third.
ORDERS = _core.build_info()["max_order"]
DTYPES = (torch.float64, torch.float32)

#: Largest errors allowed, in the unit above, for orders 0..3: about 1.3 times the worst seen over
#: both dtypes, with and without fused multiply-add, at 12,000 random arguments (docs/accuracy.md).
BOUNDS = {
    "identity": (0, 0, 0, 0),
    "relu": (0, 0, 0, 0),
    "leaky_relu": (1, 0.5, 0, 0),
    "tanh": (2.6, 4, 6.5, 8.5),
    "sigmoid": (2.4, 3.5, 4.8, 3.7),
    "softplus": (3.2, 2.7, 4.8, 7),
    "gelu": (3.5, 2.8, 3.4, 3),
    "silu": (2.6, 3, 4, 3.2),
    "elu": (1.3, 1, 1, 1),
    "selu": (2.1, 2.2, 2.2, 2.2),
    "erf": (1.6, 2.7, 3.1, 3.1),
    "sin": (2, 1.5, 2, 1.5),
    "square": (1, 0, 0, 0),
    "cube": (1.5, 1.5, 1, 0),
    "g": (3.4, 2.8, 4.8, 6.5),
}


def _logistic(z, scale=1):
    """Terms of the logistic function of scale z and its derivatives in z."""
    z = scale * z
    e = mp.exp(-abs(z))
    s, d, t = (1 if z >= 0 else e) / (1 + e), e / (1 + e) ** 2, mp.tanh(z / 2)
    return [s], [scale * d], [-(scale**2) * d * t], [scale**3 * d, -(scale**3) * 6 * d * d]


def _softplus(z):
    s, d, dd, _ = _logistic(z)
    return [max(z, 0), mp.log1p(mp.exp(-abs(z)))], s, d, dd


def _tanh(z):
    t, d = mp.tanh(z), mp.sech(z) ** 2
    return [t], [d], [-2 * t * d], [4 * t * t * d, -2 * d * d]


def _normal(z):
    return mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi), mp.erfc(-z / mp.sqrt(2)) / 2


def _gelu(z):
    p, c = _normal(z)
    return [z * c], [c, z * p], [2 * p, -z * z * p], [z**3 * p, -4 * z * p]


def _erf(z):
    p = 2 * _normal(z)[0]
    return [mp.erf(z / mp.sqrt(2))], [p], [-z * p], [z * z * p, -p]


def _silu(z):
    (s,), (d,), (dd,), ddd = _logistic(z)
    return [z * s], [s, z * d], [2 * d, z * dd], [3 * dd, *(z * term for term in ddd)]


def _elu(z, scale=1, alpha=1):
    if z > 0:
        return [scale * z], [scale], [0], [0]
    e = scale * alpha * mp.exp(z)
    return [scale * alpha * mp.expm1(z)], [e], [e], [e]


def _selu(z):
    return _elu(
        z,
        mp.mpf("1.0507009873554804934193349852946"),
        mp.mpf("1.6732632423543772848170429916717"),
    )


def _sin(z):
    s, c = mp.sin(z), mp.cos(z)
    # The reduction of z by multiples of pi leaves an absolute error, which near the zeros of the
    # cosine (and, far out, of the sine) is all there is: add and subtract what is missing to 1.
    rest_s, rest_c = (0 if abs(z) < 100 else 1 - abs(s)), 1 - abs(c)
    sine, cosine = [s, rest_s / 2, -rest_s / 2], [c, rest_c / 2, -rest_c / 2]
    return sine, cosine, [-s, rest_s / 2, -rest_s / 2], [-c, rest_c / 2, -rest_c / 2]


def _g(z):
    return tuple([*a, *b] for a, b in zip(_logistic(z, 4), _softplus(z), strict=True))


def _linear(slope):
    return lambda z: ([z if z > 0 else slope * z], [1 if z > 0 else slope], [0], [0])


#: name -> z -> for orders 0..3 the terms whose sum is the derivative.
EXACT = {
    "identity": lambda z: ([z], [1], [0], [0]),
    "relu": _linear(0),
    "leaky_relu": _linear(mp.mpf(1) / 100),
    "tanh": _tanh,
    "sigmoid": _logistic,
    "softplus": _softplus,
    "gelu": _gelu,
    "silu": _silu,
    "elu": _elu,
    "selu": _selu,
    "erf": _erf,
    "sin": _sin,
    "square": lambda z: ([z * z / 2], [z], [1], [0]),
    "cube": lambda z: ([z**3], [3 * z * z], [6 * z], [6]),
    "g": _g,
}


@cache
def points(dtype: torch.dtype) -> torch.Tensor:
    """Some 800 arguments: everyday ones, tiny ones, and both sides of every branch."""
    draw = np.random.default_rng(0)
    tiny = torch.finfo(dtype).tiny
    edge = [0.0, tiny / 4, tiny, 1.0, 13.2, 14.5, 37.6, 38.6, 50.0, 80.0, 87.3, 88.0, 88.4, 100.0]
    edge += [707.0, 708.3, 709.0, 709.2, 745.2, 1e3, 1e4, 1e6, 1.2e7]
    magnitudes = [
        draw.uniform(0, 3, 120),
        draw.uniform(0, 12, 120),
        draw.uniform(0, 40, 60),
        10 ** draw.uniform(-20, 0, 40),
        np.array(edge),
        np.nextafter(edge, np.inf),
    ]
    z = np.concatenate(magnitudes)
    return torch.tensor(np.concatenate([z, -z]), dtype=torch.float64).to(dtype).unique()


@cache
def exact(name: str, dtype: torch.dtype) -> np.ndarray:
    """``[3, 4, n]`` at `points`: value, what its float64 leaves out, sum of absolute terms."""
    out = np.empty((3, 4, points(dtype).numel()))
    with mp.workdps(50):
        for n, z in enumerate(points(dtype).tolist()):
            for order, terms in enumerate(EXACT[name](mp.mpf(z))):
                value = mp.fsum(terms)
                out[:, order, n] = value, value - float(value), mp.fsum(map(abs, terms))
    return out


def worst_error(name: str, dtype: torch.dtype, order: int, found: torch.Tensor) -> float:
    """Largest error of an order in units of u T, less what flushing to zero explains."""
    info = torch.finfo(dtype)
    value, rest, size = exact(name, dtype)[:, order]
    z = points(dtype).to(torch.float64).abs().clamp(max=1e3).numpy()
    excess = np.abs((found.to(torch.float64).numpy() - value) - rest)
    excess = np.maximum(excess - 4 * info.tiny * (1 + z) ** 3, 0.0)
    return float(np.max(excess / (info.eps * np.maximum(size, info.tiny))))


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
    if name in ("square", "cube"):
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
