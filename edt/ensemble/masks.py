"""States of parameters (pruned, trainable, frozen) from masks, sparsities and frozen flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edt.ensemble.arrays import as_tensor, plain
from edt.ensemble.layout import Layout
from edt.ensemble.philox import draws
from edt.errors import ShapeError
from edt.scalars import number

__all__ = [
    "FROZEN",
    "PRUNED",
    "TRAINABLE",
    "check_state",
    "emptied",
    "flat_mask",
    "random_state",
    "sparsities",
]

PRUNED, TRAINABLE, FROZEN = 0, 1, 2
#: Stream of the keys of random masks in layer l (`edt.ensemble.init` has the other streams).
MASK_STREAM = 2 << 24


def check_state(layout: Layout, state: Any) -> torch.Tensor:
    """A copy of ``state`` as uint8 ``[total]`` of 0 (pruned), 1 (trainable), 2 (frozen).

    Raises:
        TypeError: not an integer tensor. ShapeError: wrong length. ValueError: other values.
    """
    given = as_tensor("state", state)
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise TypeError(f"state must have dtype torch.uint8, got {given.dtype}")
    layout.check_flat("state", given)
    bad = torch.nonzero((given < PRUNED) | (given > FROZEN)).flatten()
    if bad.numel():
        k = int(bad[0])
        raise ValueError(
            f"state[{k}] must be 0 (pruned), 1 (trainable) or 2 (frozen), got {int(given[k])}"
        )
    return given.detach().to(torch.uint8).clone().contiguous()


def emptied(state: torch.Tensor, start: np.ndarray, stop: np.ndarray) -> torch.Tensor:
    """How many spans of each row hold pruned entries alone, int64 ``[B]``; empty spans are none.

    Args:
        state: uint8 ``[total]``.
        start, stop: int64 ``[B, L]``, ``state[start:stop]``.
    """
    live = np.concatenate([[0], np.cumsum(state.cpu().numpy() != PRUNED)])
    return torch.from_numpy(((live[stop] == live[start]) & (stop > start)).sum(1))


def flat_mask(layout: Layout, name: str, masks: Any) -> torch.Tensor:
    """Bool ``[total]`` from a flat tensor or from per-network lists of per-layer tensors.

    Args:
        layout: of the ensemble.
        name: of the argument, for messages.
        masks: a tensor ``[total]`` of bools or zeros and ones; or one list per network with, for
            each layer 0..D, a tensor ``[out, in]`` for the weights (biases then count as 1 for
            ``masks`` and 0 for ``frozen``) or a pair of it and a tensor ``[out]`` for the biases;
            or None in place of a tensor for that same default.

    Raises:
        TypeError: neither. ShapeError: wrong shape or count. ValueError: entries not 0 or 1.
    """
    if isinstance(masks, (torch.Tensor, np.ndarray)):
        flat = _zero_one(name, masks)
        layout.check_flat(name, flat)
        return flat.contiguous()
    if not isinstance(plain(name, masks), Sequence) or isinstance(masks, (str, bytes)):
        raise TypeError(
            f"{name} must be a flat tensor or a list (networks) of lists (layers) of tensors, "
            f"got {type(masks).__name__}"
        )
    if len(masks) != layout.B:
        raise ShapeError(f"{name} must hold one list per network ({layout.B}), got {len(masks)}")
    out = torch.full((layout.total,), name != "frozen")
    for b, layers in enumerate(masks):
        if not isinstance(layers, Sequence) or isinstance(layers, (str, bytes)):
            raise TypeError(
                f"{name}[{b}] must be a list of {layout.depth + 1} tensors (one a layer), "
                f"got {type(layers).__name__}"
            )
        if len(layers) != layout.depth + 1:
            raise ShapeError(f"{name}[{b}] must hold {layout.depth + 1} layers, got {len(layers)}")
        for k, layer in enumerate(layers):
            pair = layer if isinstance(layer, (tuple, list)) else (layer, None)
            if len(pair) != 2:
                raise ShapeError(
                    f"{name}[{b}][{k}] must be a tensor or (weight, bias), got {len(pair)} items"
                )
            if pair[0] is not None:
                _fill(f"{name}[{b}][{k}]", layout.weight(out, b, k), pair[0])
            if pair[1] is not None:
                _fill(f"{name}[{b}][{k}] (bias)", layout.bias(out, b, k), pair[1])
    return out


def sparsities(layout: Layout, sparsity: Any) -> list[float]:
    """One sparsity in [0, 1) per layer 0..D from a number or a list of D + 1 numbers.

    Raises:
        TypeError: not numbers. ShapeError: wrong count. ValueError: outside [0, 1).
    """
    layers = layout.depth + 1
    if isinstance(plain("sparsity", sparsity), (torch.Tensor, np.ndarray)):
        sparsity = sparsity.tolist()
    if isinstance(sparsity, (str, bytes)):
        raise TypeError(f"sparsity must be a number in [0, 1) or one per layer, got {sparsity!r}")
    values = list(sparsity) if isinstance(sparsity, Sequence) else [sparsity] * layers
    if len(values) != layers:
        raise ShapeError(
            f"sparsity must be a number or one per layer ({layers}), got {len(values)} numbers"
        )
    return [number(f"sparsity[{k}]", value, below=1.0) for k, value in enumerate(values)]


def random_state(layout: Layout, sparsity: Any, seeds: np.ndarray, ids: np.ndarray) -> torch.Tensor:
    """Unstructured random masks with an exact count per layer, uint8 ``[total]`` of 0 and 1.

    Of the n weights of a layer, ``round(sparsity * n)`` are pruned (halves up), but never all:
    those with the smallest random keys. Biases are not pruned. A network's mask depends on its
    seed, id and widths only.

    Args:
        layout: of the ensemble.
        sparsity: see `sparsities`.
        seeds, ids: uint64 ``[B]``.
    """
    state = np.full(layout.total, TRAINABLE, dtype=np.uint8)
    for layer, share in enumerate(sparsities(layout, sparsity)):
        counts = layout.fan_in[:, layer] * layout.fan_out[:, layer]
        pruned = np.minimum(np.floor(share * counts + 0.5).astype(np.int64), counts - 1)
        if not pruned.any():
            continue
        key = draws(seeds, ids, MASK_STREAM + layer, counts) >> np.uint64(32)
        owner = np.repeat(np.arange(layout.B, dtype=np.uint64), counts)
        # Network in the upper half, key in the lower: one sort ranks every network by itself.
        # Equal keys keep the order of their indices.
        order = np.argsort((owner << np.uint64(32)) | key, kind="stable")
        first = np.cumsum(counts) - counts
        rank = np.arange(order.size) - np.repeat(first, counts)
        chosen = order[rank < np.repeat(pruned, counts)]
        place = layout.weight_at[:, layer] - first
        state[chosen + place[owner[chosen].astype(np.int64)]] = PRUNED
    return torch.from_numpy(state)


def _zero_one(name: str, mask: Any) -> torch.Tensor:
    tensor = as_tensor(name, mask)
    if tensor.dtype == torch.bool:
        return tensor.clone()
    if tensor.is_complex():
        raise TypeError(f"{name} must hold bools or zeros and ones, got dtype {tensor.dtype}")
    bad = torch.nonzero((tensor != 0) & (tensor != 1))
    if bad.numel():
        at = bad[0].tolist()
        raise ValueError(
            f"{name}{at} must be 0 or 1, got {tensor[tuple(at)].item()}"
            f" ({bad.shape[0]} of {tensor.numel()} entries are neither)"
        )
    return tensor != 0


def _fill(name: str, view: torch.Tensor, mask: Any) -> None:
    if not isinstance(plain(name, mask), (torch.Tensor, np.ndarray)):
        raise TypeError(f"{name} must be a tensor, got {type(mask).__name__}")
    tensor = _zero_one(name, mask)
    if tensor.shape != view.shape:
        raise ShapeError(f"{name} must have shape {list(view.shape)}, got {list(tensor.shape)}")
    view.copy_(tensor)
