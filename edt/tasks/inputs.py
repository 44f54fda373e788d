"""Synthetic inputs: random or regular points, the same bits on every machine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from edt.ensemble.deviates import normal, uniform
from edt.ensemble.philox import draws
from edt.errors import unknown_choice
from edt.limits import insist
from edt.scalars import integer

__all__ = ["INPUTS", "check_points", "check_seed", "make_inputs", "permutation", "standard_normal"]

#: Kinds of inputs. All have mean 0 and (the grid: about) variance 1 in every coordinate.
INPUTS: tuple[str, ...] = ("gaussian", "uniform", "grid", "sobol")

#: Half side of the cube with unit variance.
SIDE = math.sqrt(3.0)

#: Streams of the generator (`edt.ensemble.philox.draws`), apart from those of initialisation.
INPUT_STREAM, NOISE_STREAM, SPLIT_STREAM = 3 << 24, 4 << 24, 5 << 24


def make_inputs(kind: str, n: int, d_in: int, seed: int = 0) -> torch.Tensor:
    """Points ``[n, d_in]``, float64.

    - "gaussian": independent standard normals;
    - "uniform": independent, uniform on [-sqrt 3, sqrt 3];
    - "grid": the regular grid of ``k^d_in = n`` points on that cube, ends included, the last
      coordinate fastest; the seed is not used;
    - "sobol": a scrambled Sobol sequence on that cube.

    Random point number i depends on the seed and i only: more points extend the set.

    Raises:
        TypeError: not integers. ValueError: unknown kind, a number out of range, or a grid whose
            ``n`` is no d_in-th power.

    Reference: I. M. Sobol, 1967; A. B. Owen, 1995 (scrambling).
    """
    (n, d_in), seed = check_points(kind, n, d_in), check_seed(seed)
    if kind == "gaussian":
        return torch.from_numpy(normal(_bits(seed, INPUT_STREAM, n * d_in))).view(n, d_in)
    if kind == "uniform":
        points = uniform(_bits(seed, INPUT_STREAM, n * d_in))
        return torch.from_numpy(SIDE * (2.0 * points - 1.0)).view(n, d_in)
    if kind == "grid":
        return _grid(n, d_in)
    # The generator behind the scrambling takes signed 64-bit seeds.
    signed = seed - 2**64 if seed >= 2**63 else seed
    engine = torch.quasirandom.SobolEngine(  # type: ignore[no-untyped-call]
        d_in, scramble=True, seed=signed
    )
    cube: torch.Tensor = engine.draw(n, dtype=torch.float64)
    return SIDE * (2.0 * cube - 1.0)


def check_points(kind: Any, n: Any, d_in: Any) -> tuple[int, int]:
    """``n`` and ``d_in`` of points that `make_inputs` can make, and that fit in memory.

    Raises:
        TypeError, ValueError: as there.
    """
    if not isinstance(kind, str) or kind not in INPUTS:
        raise unknown_choice("inputs", kind, INPUTS)
    n, d_in = integer("n", n), integer("d_in", d_in)
    insist(f"n={n:,} points of d_in={d_in:,}", 4 * 8 * n * d_in)
    if kind == "grid":
        _side(n, d_in)
    most = torch.quasirandom.SobolEngine.MAXDIM
    if kind == "sobol" and d_in > most:
        raise ValueError(f"d_in must be at most {most} for inputs='sobol', got {d_in}")
    return n, d_in


def standard_normal(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Independent standard normals for noise, float64."""
    return torch.from_numpy(normal(_bits(seed, NOISE_STREAM, math.prod(shape)))).view(shape)


def permutation(seed: int, n: int) -> torch.Tensor:
    """A random order of 0..n-1, int64 ``[n]``."""
    return torch.from_numpy(np.argsort(_bits(seed, SPLIT_STREAM, n), kind="stable"))


def check_seed(seed: Any) -> int:
    """Return ``seed`` as an int in 0..2**64 - 1.

    Raises:
        TypeError: not an integer. ValueError: out of range.
    """
    return integer("seed", seed, 0, 2**64 - 1)


def _bits(seed: int, stream: int, count: int) -> np.ndarray:
    key, name = np.array([seed], dtype=np.uint64), np.zeros(1, dtype=np.uint64)
    return draws(key, name, stream, np.array([count], dtype=np.int64))


def _side(n: int, d_in: int) -> int:
    """Points along each axis of a grid."""
    side: int = round(n ** (1.0 / d_in))
    if side**d_in != n or side < 2:
        low = max(side if side**d_in < n else side - 1, 2)
        nearest = f"; the nearest are {low**d_in} and {(low + 1) ** d_in}" if d_in < 64 else ""
        raise ValueError(
            f"n must be k**{d_in} with k >= 2 for inputs='grid' in {d_in} dimensions, got {n}"
            f"{nearest}"
        )
    return side


def _grid(n: int, d_in: int) -> torch.Tensor:
    side = _side(n, d_in)
    # From both ends, so that the grid is symmetric to the last bit.
    steps = torch.arange(side, dtype=torch.float64)
    axis = SIDE * ((steps - steps.flip(0)) / (side - 1))
    return torch.cartesian_prod(*[axis] * d_in).reshape(n, d_in)
