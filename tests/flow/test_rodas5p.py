"""RODAS5P against the order conditions of Rosenbrock methods, derived from rooted trees.

With ``A = alpha Gamma^-1``, ``C = diag(1/gamma) - Gamma^-1`` and ``m = b Gamma^-1`` (Hairer and
Wanner, "Solving ODEs II", IV.7) the plain coefficients alpha, Gamma, b are recovered, and with
``beta = alpha + Gamma`` the elementary weight of a tree is built from its root: a vertex with one
child takes ``beta phi(child)``, a vertex with several takes the product of ``alpha phi(child)``.
The method has order p if ``b . phi(tree) = 1 / tree!`` for all trees with up to p vertices; an
interpolant ``b(s)`` has order p if ``b(s) . phi(tree) = s^|tree| / tree!``.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest

from edt.flow import rodas5p as method

S = method.STAGES


def square(rows):
    out = np.zeros((S, S))
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


GAMMA_INVERSE = np.eye(S) / method.GAMMA - square(method.C)
GAMMA = np.linalg.inv(GAMMA_INVERSE)
ALPHA = square(method.A) @ GAMMA
BETA = ALPHA + GAMMA


def weights(m):
    """b from m = b Gamma^-1."""
    return np.asarray(m) @ GAMMA


def trees(order):
    """All rooted trees with this many vertices, as sorted tuples of subtrees."""
    if order == 1:
        return [()]
    found = set()

    def extend(chosen, left, limit):
        if left == 0:
            found.add(tuple(sorted(chosen, key=str)))
            return
        for size in range(1, min(left, limit) + 1):
            for tree in trees(size):
                extend([*chosen, tree], left - size, size)

    extend([], order - 1, order - 1)
    return sorted(found, key=str)


def size(tree):
    return 1 + sum(map(size, tree))


def density(tree):
    out = size(tree)
    for child in tree:
        out *= density(child)
    return out


def phi(tree):
    if len(tree) == 1:
        return BETA @ phi(tree[0])
    out = np.ones(S)
    for child in tree:
        out = out * (ALPHA @ phi(child))
    return out


def defect(b, order, s=1.0):
    """Largest violation over the trees of this order."""
    return max(abs(b @ phi(tree) - s**order / density(tree)) for tree in trees(order))


def test_there_are_as_many_trees_as_there_should_be():
    assert [len(trees(n)) for n in range(1, 6)] == [1, 1, 2, 4, 9]
    assert len(list(combinations_with_replacement("ab", 2))) == 3


# Sixteen published digits and stage coefficients of size 1e2: conditions hold to about 1e-13.
TINY = 1e-12


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_order_five(order):
    assert defect(weights(method.M), order) < TINY


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_embedded_order_four(order):
    embedded = weights(np.subtract(method.M, method.ERROR))
    assert defect(embedded, order) < TINY


def test_embedded_is_not_of_order_five():
    # Otherwise the difference of the two results would say nothing about either.
    assert defect(weights(np.subtract(method.M, method.ERROR)), 5) > 1e-3
    assert defect(weights(method.M), 6) > 1e-5


@pytest.mark.parametrize("s", [0.1, 0.37, 0.5, 0.93])
def test_interpolant_order_four(s):
    k = np.array(method.D)
    m = s * (np.array(method.M) + (1 - s) * (k[0] + s * (k[1] + s * k[2])))
    for order in range(1, 5):
        assert defect(weights(m), order, s) < TINY


def test_stiffly_accurate_and_l_stable():
    b = weights(method.M)
    # y_1 is the argument of the last stage plus u_8: b is the last row of beta.
    np.testing.assert_allclose(b, BETA[-1], atol=TINY)
    # R(z) = 1 + z b (I - z beta)^-1 1; with b the last row of beta it vanishes at infinity.
    assert abs(1.0 - b @ np.linalg.solve(BETA, np.ones(S))) < TINY

    def growth(z):
        return 1.0 + z * (b @ np.linalg.solve(np.eye(S) - z * BETA, np.ones(S)))

    # A-stable: |R| <= 1 on the imaginary axis (and R is analytic to its left).
    assert max(abs(growth(1j * y)) for y in np.logspace(-2, 5, 400)) <= 1.0 + 1e-9
    # On the negative axis the exponential is followed, not just bounded.
    for z in (-0.1, -0.5, -1.0):
        assert growth(z) == pytest.approx(np.exp(z), rel=2e-3 * abs(z) ** 6 + 1e-9)
    # The growth of an unstable direction is followed up to the limit used by the stepper.
    from edt.flow.rosenbrock import GROWTH

    assert growth(GROWTH) == pytest.approx(np.exp(GROWTH), rel=0.02)
