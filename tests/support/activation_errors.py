"""Exact activations and derivatives (mpmath), and the errors of computed ones beside them.

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
import torch

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
