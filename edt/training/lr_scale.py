"""Learning rates that differ between parameters, and the parametrisations that are made of them.

A network written ``f = W_2 phi(W_1 x)`` that is trained with one rate a layer and other initial
values is the same network under another parametrisation: with ``W = c w`` gradient descent on w at
rate eta is gradient descent on W at ``c^2 eta``, and Adam at ``c eta`` (but for its eps).

Reference: G. Yang, E. Hu, "Feature learning in infinite-width neural networks", ICML 2021 (the
equivalence); A. Jacot et al., NeurIPS 2018; S. Mei, A. Montanari, P. Nguyen, PNAS 2018; G. Yang et
al., "Tensor programs V", 2022, table 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from edt.ensemble.arrays import plain, reals
from edt.ensemble.filters import blocks_of
from edt.ensemble.init import NTK_BIAS
from edt.ensemble.kinds import Networks
from edt.ensemble.module_ensemble import ModuleEnsemble
from edt.errors import unknown_choice
from edt.scalars import number

__all__ = ["PARAMETRIZATIONS", "lr_scales"]

#: (adaptive, fan_in, fan_out, layer, layers) -> factors (weights, biases); layers = D + 1.
Rule = Callable[[bool, float, float, int, int], tuple[float, float]]


def _ntk(adaptive: bool, fan_in: float, fan_out: float, layer: int, layers: int) -> Any:
    """``W = w / sqrt(fan_in)``, ``b = beta v``."""
    if adaptive:
        return fan_in**-0.5, NTK_BIAS
    return 1.0 / fan_in, NTK_BIAS**2


def _mean_field(adaptive: bool, fan_in: float, fan_out: float, layer: int, layers: int) -> Any:
    """``f = sum_i a_i phi(w_i x + b_i) / m`` with rates ``m eta``: the output is ``W = a / m``."""
    if layers != 2:
        raise ValueError(
            "lr_scale='mean_field' is defined for one hidden layer; 'mup' is its extension to more"
        )
    if layer == 1:
        return 1.0 / fan_in, 1.0
    return (1.0, 1.0) if adaptive else (fan_out, fan_out)


def _mup(adaptive: bool, fan_in: float, fan_out: float, layer: int, layers: int) -> Any:
    """Table 3 of "Tensor programs V"; the output's bias has a width that does not grow."""
    first, last = layer == 0, layer == layers - 1
    if adaptive:
        return 1.0 if first else 1.0 / fan_in, 1.0
    weights = fan_out if first else 1.0 / fan_in if last else 1.0
    return weights, 1.0 if last else fan_out


PARAMETRIZATIONS: dict[str, Rule] = {"ntk": _ntk, "mean_field": _mean_field, "mup": _mup}


def lr_scales(value: Any, networks: Networks, optimizer: str) -> torch.Tensor | None:
    """Factors of the learning rate, flat ``[total]`` in the networks' dtype; None: all 1.

    Args:
        value: see `edt.masked_train`.
        networks: whose parameters.
        optimizer: "gd", "sgd", "adam" or "adamw".

    Raises:
        TypeError, ValueError: not such factors.

    Example:
        >>> lr_scales("ntk", networks, "sgd").shape == networks.theta.shape  # doctest: +SKIP
        True
    """
    if value is None:
        return None
    if isinstance(value, str):
        out = _preset(value, networks, optimizer in ("adam", "adamw"))
    elif isinstance(value, Mapping):
        out = _blocks(value, networks)
    else:
        if not hasattr(plain("lr_scale", value), "__len__"):
            names = ", ".join(map(repr, PARAMETRIZATIONS))
            raise TypeError(
                f"lr_scale must be one of {names}, factors by block or role, or one number a "
                f"parameter, got {value!r:.60}"
            )
        out = reals("lr_scale", value).clone()
        if tuple(out.shape) != (networks.total,):
            raise ValueError(
                f"lr_scale must have shape [{networks.total}] (one per parameter), got shape "
                f"{list(out.shape)}"
            )
        bad = torch.nonzero(~torch.isfinite(out) | (out < 0.0)).flatten().tolist()
        if bad:
            raise ValueError(
                f"lr_scale[{bad[0]}] must be a finite number >= 0, got {float(out[bad[0]])}"
            )
    if bool((out == 1.0).all()):
        return None
    return out.to(networks.device, networks.dtype)


def _preset(name: str, networks: Networks, adaptive: bool) -> torch.Tensor:
    if name not in PARAMETRIZATIONS:
        raise unknown_choice("lr_scale", name, list(PARAMETRIZATIONS))
    rule, out = PARAMETRIZATIONS[name], torch.ones(networks.total, dtype=torch.float64)
    for b in range(networks.B):
        layers = _layers(name, networks, b)
        for k, (fan_in, fan_out, spans) in enumerate(layers):
            factors = rule(adaptive, float(fan_in), float(fan_out), k, len(layers))
            for span, factor in zip(spans, factors, strict=False):
                out[span] = factor
    return out


def _layers(name: str, networks: Networks, b: int) -> list[tuple[int, int, list[slice]]]:
    """(fan_in, fan_out, places of weights and biases) of network b's layers, in their order.

    Of a module: what has a weight of two dimensions or more, in the order of its parameters; the
    fan-in of a convolution is channels times the size of its kernel.
    """
    start = int(networks.offsets[b])
    found: dict[str, tuple[int, int, list[slice]]] = {}
    for block in blocks_of(networks, b):
        layer, span = block.name.rpartition(".")[0], slice(start + block.start, start + block.stop)
        if block.role == "weight" and len(block.shape) >= 2:
            outputs, *inputs = block.shape
            found[layer] = (math.prod(inputs), outputs, [span])
        elif block.role == "bias" and layer in found:
            found[layer][2].append(span)
        elif block.role != "buffer":
            raise ValueError(
                f"lr_scale={name!r} is defined for layers of a weight matrix and its biases, but "
                f"{block.name!r} of network {b} is neither ({block.role}): give factors by block"
            )
    return list(found.values())


def _blocks(factors: Mapping[Any, Any], networks: Networks) -> torch.Tensor:
    """Factors by a block's name ("0.weight") or role ("weight", "bias"); names win."""
    wanted = {key: number(f"lr_scale[{key!r}]", value) for key, value in factors.items()}
    out = torch.ones(networks.total, dtype=torch.float64)
    used: set[Any] = set()
    known: dict[str, None] = {}
    for b in range(networks.B):
        for name, role, start, stop in _spans(networks, b):
            known.update({name: None, role: None})
            key = name if name in wanted else role
            if key in wanted:
                used.update({name, role} & wanted.keys())
                out[start:stop] = wanted[key]
    unused = [key for key in wanted if key not in used]
    if unused:
        raise unknown_choice("lr_scale's keys", unused[0], list(known))
    return out


def _spans(networks: Networks, b: int) -> list[tuple[str, str, int, int]]:
    """(name, role, first, end) of network b's tensors in the flat vector."""
    start = int(networks.offsets[b])
    if isinstance(networks, ModuleEnsemble):
        blocks = networks.blocks(b)
        return [(one.name, one.role, start + one.start, start + one.stop) for one in blocks]
    layout, out = networks.layout, []
    for layer in range(layout.depth + 1):
        fan_in, fan_out = int(layout.fan_in[b, layer]), int(layout.fan_out[b, layer])
        at = int(layout.weight_at[b, layer])
        out.append((f"{2 * layer}.weight", "weight", at, at + fan_in * fan_out))
        if layout.has_bias:
            at = int(layout.bias_at[b, layer])
            out.append((f"{2 * layer}.bias", "bias", at, at + fan_out))
    return out
