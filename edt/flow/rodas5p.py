"""Coefficients of RODAS5P, an L-stable, stiffly accurate Rosenbrock method of order 5(4).

One step of size h for ``y' = f(y)`` with the exact Jacobian J at y::

    (I / (h gamma) - J) u_i = f(y + sum_{j<i} A_ij u_j) + sum_{j<i} C_ij u_j / h,   i = 1..8
    y_1 = y + sum_j m_j u_j            (order 5)
    e   = u_8                          (difference from an embedded result of order 4)

and inside the step, for 0 <= s <= 1, to order 4::

    y(s) = (1 - s) y + s (y_1 + (1 - s) (k_1 + s (k_2 + s k_3))),   k = D u

One factorisation and eight solutions a step. The method damps infinitely stiff directions
completely (R(infinity) = 0) and keeps its order on stiff problems whose solution is smooth
(Prothero-Robinson). ``tests/flow/test_rodas5p.py`` verifies the order conditions of both results
and of the interpolant, from these numbers alone.

Reference: G. Steinebach, "Construction of Rosenbrock-Wanner method Rodas5P and numerical
benchmarks within the Julia Differential Equations package", BIT 63, 27 (2023), table 3.
"""

from __future__ import annotations

__all__ = ["ERROR", "GAMMA", "ORDER", "STAGES", "A", "C", "D", "M"]

STAGES = 8
ORDER = 5
GAMMA = 0.21193756319429014

_BASE = (
    -7.502846399306121,
    2.561846144803919,
    -11.627539656261098,
    -0.18268767659942256,
    0.030198172008377946,
)

#: Strictly lower triangle, row by row.
A: tuple[tuple[float, ...], ...] = (
    (),
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    _BASE,
    (*_BASE, 1.0),
    (*_BASE, 1.0, 1.0),
)

#: Strictly lower triangle, row by row.
C: tuple[tuple[float, ...], ...] = (
    (),
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (
        24.854864614690072,
        -3.0009227002832186,
        47.4931110020768,
        5.5814197821558125,
        -0.6610691825249471,
    ),
    (
        30.91273214028599,
        -3.1208243349937974,
        77.79954646070892,
        34.28646028294783,
        -19.097331116725623,
        -28.087943162872662,
    ),
    (
        37.80277123390563,
        -3.2571969029072276,
        112.26918849496327,
        66.9347231244047,
        -40.06618937091002,
        -54.66780262877968,
        -9.48861652309627,
    ),
)

#: The last stage solves at the new value itself: its argument plus u_8 is y_1.
M: tuple[float, ...] = (*A[-1], 1.0)
ERROR: tuple[float, ...] = (0.0,) * 7 + (1.0,)

#: Dense output.
D: tuple[tuple[float, ...], ...] = (
    (
        25.948786856663858,
        -2.5579724845846235,
        10.433815404888879,
        -2.3679251022685204,
        0.524948541321073,
        1.1241088310450404,
        0.4272876194431874,
        -0.17202221070155493,
    ),
    (
        -9.91568850695171,
        -0.9689944594115154,
        3.0438037242978453,
        -24.495224566215796,
        20.176138334709044,
        15.98066361424651,
        -6.789040303419874,
        -6.710236069923372,
    ),
    (
        11.419903575922262,
        2.8879645146136994,
        72.92137995996029,
        80.12511834622643,
        -52.072871366152654,
        -59.78993625266729,
        -0.15582684282751913,
        4.883087185713722,
    ),
)
