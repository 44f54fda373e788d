"""Counter-based random initialisation: a parameter's value is a function of its address.

The address is (seed, network id, layer, weight or bias, index), scrambled by Philox4x32-10. So a
network's initial parameters do not depend on which other networks are in the ensemble, on the
order of drawing, on threads or on the machine (see `edt.ensemble.deviates`). Schemes draw from the
same numbers: the same seed under "glorot" and "he" gives the same directions at another scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edt.ensemble.arrays import plain
from edt.ensemble.deviates import normal, orthonormal, uniform
from edt.ensemble.layout import Layout
from edt.ensemble.philox import draws
from edt.errors import ShapeError, unknown_choice
from edt.scalars import integer, number

__all__ = ["SCHEMES", "check_ids", "check_seeds", "default_ids", "initial_theta"]

#: Streams of layer l: WEIGHT_STREAM + l, BIAS_STREAM + l.
WEIGHT_STREAM, BIAS_STREAM = 0 << 24, 1 << 24

Fan = np.ndarray


@dataclass(frozen=True)
class Scheme:
    """A distribution and its scale.

    Attributes:
        deviate: random bits to deviates: uniform on (-1, 1), or standard normal.
        weight: (fan_in, fan_out) to the factor of a layer's weights.
        bias: likewise for its biases, or None for biases of zero.
        last: likewise for the weights of the last layer, where it has another factor.
    """

    deviate: Callable[[np.ndarray], np.ndarray]
    weight: Callable[[Fan, Fan], Fan]
    bias: Callable[[Fan, Fan], Fan] | None
    last: Callable[[Fan, Fan], Fan] | None = None


def _symmetric(bits: np.ndarray) -> np.ndarray:
    out: np.ndarray = 2.0 * uniform(bits) - 1.0
    return out


def _one_over_root(fan_in: Fan, fan_out: Fan) -> Fan:
    out: np.ndarray = 1.0 / np.sqrt(fan_in)
    return out


#: Factor of the biases in the parametrisation of the tangent kernel.
NTK_BIAS = 0.1

SCHEMES: dict[str, Scheme] = {
    "torch": Scheme(_symmetric, _one_over_root, _one_over_root),
    "glorot": Scheme(normal, lambda i, o: np.sqrt(2.0 / (i + o)), None),
    "he": Scheme(normal, lambda i, o: np.sqrt(2.0 / i), None),
    "normal": Scheme(normal, _one_over_root, _one_over_root),
    "ntk": Scheme(normal, _one_over_root, lambda i, o: np.full(i.shape, NTK_BIAS)),
    "mean_field": Scheme(normal, _one_over_root, None, lambda i, o: 1.0 / i),
    "mup": Scheme(normal, _one_over_root, None, lambda i, o: 1.0 / i),
    "orthogonal": Scheme(normal, lambda i, o: np.ones(i.shape), None),
}
#: (block's name, standard normal numbers of its shape) -> its initial values.
Initializer = Callable[[str, torch.Tensor], torch.Tensor]


def initial_theta(
    layout: Layout, seeds: np.ndarray, ids: np.ndarray, scheme: str | Initializer, scale: float
) -> torch.Tensor:
    """Initial parameters, float64 ``[total]``.

    Args:
        layout: of the ensemble.
        seeds, ids: uint64 ``[B]``.
        scheme: one of `SCHEMES`, or a function of a block's name ("0.weight", "0.bias", ...) and
            standard normal numbers of its shape that returns its values.
        scale: factor on all of them.

    Raises:
        TypeError: neither a name nor a function. ValueError: unknown scheme, a scale that is not a
            finite number >= 0, or values that do not fit.
    """
    check_scheme("scheme", scheme)
    scale = number("scale", scale)
    rule = SCHEMES[scheme] if isinstance(scheme, str) else SCHEMES["normal"]
    make = scheme if not isinstance(scheme, str) else None
    if scheme == "orthogonal":
        make = _orthogonal
    theta = np.zeros(layout.total)
    for layer in range(layout.depth + 1):
        fan_in, fan_out = layout.fan_in[:, layer], layout.fan_out[:, layer]
        weight = rule.weight
        if rule.last is not None and layer == layout.depth:
            weight = rule.last
        parts = [(WEIGHT_STREAM, layout.weight_at, fan_in * fan_out, weight)]
        if layout.has_bias and rule.bias is not None:
            parts.append((BIAS_STREAM, layout.bias_at, fan_out, rule.bias))
        for stream, place, counts, factor in parts:
            values = rule.deviate(draws(seeds, ids, stream + layer, counts))
            start = np.cumsum(counts) - counts
            if make is None:
                values *= np.repeat(scale * factor(fan_in, fan_out), counts)
            else:
                weights = stream == WEIGHT_STREAM
                name = f"{2 * layer}.{'weight' if weights else 'bias'}"
                pairs = np.stack([fan_out, fan_in] if weights else [fan_out], 1).tolist()
                values = scale * _by_block(make, name, values, start, pairs)
            theta[np.arange(values.size) + np.repeat(place[:, layer] - start, counts)] = values
    return torch.from_numpy(theta)


def check_scheme(argument: str, scheme: Any) -> None:
    """Insist on the name of a scheme, or on a function.

    Raises:
        ValueError: another name. TypeError: neither.
    """
    if callable(scheme) and not isinstance(scheme, type):
        return
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise unknown_choice(argument, scheme, list(SCHEMES))


def _by_block(
    make: Initializer, name: str, normals: np.ndarray, start: np.ndarray, shapes: list[list[int]]
) -> np.ndarray:
    """Values of one block of every network, from standard normal numbers."""
    out = np.empty_like(normals)
    for at, shape in zip(start.tolist(), shapes, strict=True):
        stop = at + int(np.prod(shape))
        given = torch.from_numpy(normals[at:stop].copy()).reshape(shape)
        found = make(name, given)
        if not isinstance(found, torch.Tensor) or found.shape != given.shape:
            what = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise ValueError(
                f"scheme must return a tensor {list(given.shape)} for {name!r}, got {what}"
            )
        if not bool(torch.isfinite(found).all()):
            raise ValueError(f"scheme must return finite numbers, got others for {name!r}")
        out[at:stop] = found.detach().double().reshape(-1).numpy()
    return out


def _orthogonal(name: str, normals: torch.Tensor) -> torch.Tensor:
    """A matrix of orthonormal rows or columns, whichever are fewer, uniformly distributed."""
    return torch.from_numpy(orthonormal(normals.numpy()))


def check_seeds(seeds: Any, name: str = "seeds") -> list[int]:
    """Seeds as a list of integers in 0..2**64 - 1, from one integer or several.

    Raises:
        TypeError: not integers. ValueError: none, or out of range.
    """
    out = _integers(name, seeds, 0, 2**64 - 1)
    if not out:
        raise ValueError(f"{name} must name at least one seed, got none")
    return out


def check_ids(ids: Any, networks: int) -> torch.Tensor:
    """Network ids as int64 ``[B]``.

    Raises:
        TypeError: not integers. ShapeError: wrong length. ValueError: out of range.
    """
    out = _integers("ids", ids, -(2**63), 2**63 - 1)
    if len(out) != networks:
        raise ShapeError(f"ids must have length {networks} (one per network), got {len(out)}")
    return torch.tensor(out, dtype=torch.int64)


def default_ids(layout: Layout) -> torch.Tensor:
    """Ids that depend on a network's widths only, int64 ``[B]``, 0..2**63 - 1.

    A hash, so that networks of different widths draw unrelated parameters from one seed, and equal
    widths and seeds give equal parameters in any ensemble.
    """
    value = np.full(layout.B, layout.depth, dtype=np.uint64)
    for column in layout.table.T.astype(np.uint64):
        # SplitMix64's step and finaliser (Steele, Lea, Flood, OOPSLA 2014).
        value = (value ^ column) + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        value = value ^ (value >> np.uint64(31))
    return torch.from_numpy((value >> np.uint64(1)).astype(np.int64))


def _integers(name: str, value: Any, least: int, most: int) -> list[int]:
    if isinstance(plain(name, value), (torch.Tensor, np.ndarray)):
        value = value.tolist()
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be an integer or a sequence of integers, got {value!r}")
    out = []
    for k, item in enumerate(value):
        if isinstance(plain(name, item), torch.Tensor) and item.numel() == 1:
            item = item.item()
        out.append(integer(f"{name}[{k}]", item, least, most))
    return out
