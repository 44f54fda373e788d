"""Random bits to uniform and normal deviates, with the same result on every machine.

Only operations that IEEE 754 defines to the last bit are used (``+ - * /``, square root, exponent
extraction, in float64 and in a fixed order). A library's ``log`` or ``cos`` is not among them:
vectorised mathematics differs between processors in the last bits.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["exact_log", "normal", "uniform"]

#: Deviates made at a time, so that the intermediate arrays stay in the L2 cache.
_CHUNK = 1 << 14

# ln 2 in two parts; the first has 32 significant bits, so that its products with a float64's
# exponent are exact (the split of fdlibm's e_log.c).
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10

# Wichura 1988, algorithm AS 241, routine PPND16 (relative accuracy about 1e-16): numerator and
# denominator coefficients, constant term first, of the three intervals.
_CENTRE = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_MIDDLE = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_TAIL = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)


def uniform(bits: np.ndarray) -> np.ndarray:
    """Uniform deviates strictly inside (0, 1), symmetric about 1/2.

    ``u = (k + 1/2) / 2^52`` with k the upper 52 of the 64 bits: exact in float64, and never 0 or 1.

    Args:
        bits: uint64, any shape.

    Returns:
        float64, same shape.
    """
    upper = (bits >> np.uint64(12)).astype(np.float64)
    out: np.ndarray = (upper + 0.5) * 2.0**-52
    return out


def normal(bits: np.ndarray) -> np.ndarray:
    """Standard normal deviates, ``Phi^-1(uniform(bits))``.

    Args:
        bits: uint64 ``[n]``.

    Returns:
        float64 ``[n]``, at most 8.2 in magnitude.

    Reference: M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution",
    Applied Statistics 37 (1988), 477-484.
    """
    out = np.empty(bits.size)
    for start in range(0, bits.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        out[part] = _inverse_normal(uniform(bits[part]))
    return out


def exact_log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of positive float64 numbers, within about one unit in the last place.

    ``x = 2^e m`` with m in [1/sqrt(2), sqrt(2)), s = (m - 1) / (m + 1), and
    ``log x = e ln 2 + 2 (s + s^3 / 3 + s^5 / 5 + ...)``; |s| <= 0.172, so the term in s^23 is
    below 2^-53 of the sum.
    """
    mantissa, exponent = np.frexp(x)
    low = mantissa < 0.5**0.5
    mantissa = np.where(low, 2.0 * mantissa, mantissa)
    exponent = exponent.astype(np.float64) - low
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = np.zeros_like(s)
    for odd in range(23, 1, -2):
        series = (series + 2.0 / odd) * square
    # The large exact part is added last.
    tail = s * series + exponent * _LN2_LOW
    out: np.ndarray = exponent * _LN2_HIGH + (2.0 * s + tail)
    return out


def _inverse_normal(u: np.ndarray) -> np.ndarray:
    q = u - 0.5
    r = 0.180625 - q * q
    z: np.ndarray = q * _ratio(_CENTRE, r)
    outer = np.flatnonzero(r < 0.0)
    if outer.size:
        small = np.where(q[outer] < 0.0, u[outer], 1.0 - u[outer])
        root = np.sqrt(-exact_log(small))
        size = np.where(root <= 5.0, _ratio(_MIDDLE, root - 1.6), _ratio(_TAIL, root - 5.0))
        z[outer] = np.where(q[outer] < 0.0, -size, size)
    return z


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], r: np.ndarray) -> np.ndarray:
    above, below = (np.full_like(r, part[-1]) for part in coefficients)
    for a, b in zip(coefficients[0][-2::-1], coefficients[1][-2::-1], strict=True):
        above *= r
        above += a
        below *= r
        below += b
    above /= below
    return above


def orthonormal(matrix: np.ndarray) -> np.ndarray:
    """Gram-Schmidt on the rows (the columns of a tall matrix), twice for full accuracy.

    Not a LAPACK routine: sums are exactly rounded (`math.fsum`), so the bits are the same on every
    machine.
    """
    if matrix.shape[0] > matrix.shape[1]:
        transposed: np.ndarray = orthonormal(matrix.T).T
        return transposed
    rows = matrix.copy()
    for j in range(rows.shape[0]):
        for _ in range(2):
            for i in range(j):
                rows[j] -= math.fsum(rows[i] * rows[j]) * rows[i]
            rows[j] /= math.sqrt(math.fsum(rows[j] * rows[j]))
    return rows
