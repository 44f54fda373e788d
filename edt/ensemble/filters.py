"""Some of a network's parameters, by name: everything else frozen."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

from edt.ensemble.blocks import Block
from edt.ensemble.kinds import Networks, as_networks
from edt.ensemble.masks import FROZEN, TRAINABLE
from edt.ensemble.module_ensemble import ModuleEnsemble

__all__ = ["blocks_of", "only"]


def blocks_of(networks: Networks, b: int) -> tuple[Block, ...]:
    """Names, shapes, roles and places of network b's tensors, of either kind.

    Those of chains are "0.weight", "0.bias", "1.weight", ... from the inputs on.

    Example:
        >>> ens = edt.Ensemble.init([3], [0], d_in=2, d_out=1)
        >>> [(block.name, block.shape) for block in blocks_of(ens, 0)]
        [('0.weight', (3, 2)), ('0.bias', (3,)), ('1.weight', (1, 3)), ('1.bias', (1,))]
    """
    if isinstance(networks, ModuleEnsemble):
        return networks.blocks(b)
    sizes = networks.layer_widths[b].tolist()
    found: list[Block] = []
    at = 0
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        found.append(Block(f"{layer}.weight", (fan_out, fan_in), "weight", at))
        at += found[-1].size
        if networks.has_bias:
            found.append(Block(f"{layer}.bias", (fan_out,), "bias", at))
            at += found[-1].size
    return tuple(found)


def only(networks: Networks, *patterns: str) -> Any:
    """The same networks with all parameters frozen but those of some names.

    Frozen parameters are no coordinates: curvature, training and minima are then over the others
    alone. What was frozen or pruned before stays so.

    Args:
        networks: of either kind.
        patterns: names, with ``*`` and ``?`` for any characters, e.g. ``"0.*"``, ``"*.weight"``.

    Raises:
        TypeError: a pattern that is no text. ValueError: none, or one that fits no tensor of any
            network; names those there are.

    Example:
        >>> ens = edt.Ensemble.init([3], [0], d_in=2, d_out=1)
        >>> only(ens, "1.*").coords.tolist()
        [4]
    """
    as_networks(networks)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"patterns must be names like '*.weight', got {pattern!r:.60}")
    if not patterns:
        raise ValueError("patterns must name at least one tensor, got none")
    state = networks.state.clone()
    unused = dict.fromkeys(patterns)
    for b, start in enumerate(networks.offsets[:-1].tolist()):
        for block in blocks_of(networks, b):
            fits = [pattern for pattern in patterns if fnmatchcase(block.name, pattern)]
            for pattern in fits:
                unused.pop(pattern, None)
            if not fits:
                own = state[start + block.start : start + block.stop]
                own[own == TRAINABLE] = FROZEN
    if unused:
        names = dict.fromkeys(block.name for b in range(networks.B) for block in
                              blocks_of(networks, b))  # fmt: skip
        raise ValueError(
            f"pattern {next(iter(unused))!r} fits no tensor; there are {', '.join(names)}"
        )
    return networks.with_state(state)
