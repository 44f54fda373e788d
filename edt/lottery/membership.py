"""Where every parameter of an ensemble belongs: its network, layer, neuron and input.

Protocols of pruning and perturbation act on all networks at once, as operations on flat vectors;
these arrays say what each entry of such a vector is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from edt.ensemble import ModuleEnsemble
from edt.ensemble.kinds import Networks

Flat = torch.Tensor


@dataclass(frozen=True)
class Membership:
    """Arrays ``[total]`` aligned with ``theta``.

    Attributes:
        network: int64, which network.
        layer: int64, 0 (from the inputs) to D.
        row: int64, the neuron the parameter feeds.
        column: int64, the neuron or input it comes from; -1 for biases.
        layers: D + 1.
        networks: B.
    """

    network: Flat
    layer: Flat
    row: Flat
    column: Flat
    layers: int
    networks: int

    @property
    def bias(self) -> Flat:
        """bool ``[total]``, True for biases."""
        return self.column < 0

    @property
    def block(self) -> Flat:
        """int64 ``[total]``, ``network * layers + layer``: one number for every layer of every
        network."""
        return self.network * self.layers + self.layer

    @property
    def kind(self) -> Flat:
        """int64 ``[total]``, like `block`, with weights and biases apart."""
        return 2 * self.block + self.bias.to(torch.int64)


def membership(ens: Networks) -> Membership:
    """Network, layer, row and column of every parameter.

    Args:
        ens: B networks of any widths.

    Returns:
        `Membership`.

    Example:
        >>> at = membership(Ensemble([2], d_in=3, d_out=1))
        >>> at.row.tolist()
        [0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0]
    """
    if isinstance(ens, ModuleEnsemble):
        return _of_modules(ens)
    layout = ens.layout
    shape = (layout.B, layout.depth + 1)
    areas = (layout.fan_in * layout.fan_out).reshape(-1)
    rows = layout.fan_out.reshape(-1)
    index = np.arange(layout.total)
    parts = [np.stack([areas, rows], axis=1) if layout.has_bias else areas[:, None]]
    sizes = parts[0].reshape(-1)
    segment = np.repeat(np.arange(sizes.size), sizes)
    inside = index - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kinds = parts[0].shape[1]
    block, is_bias = segment // kinds, segment % kinds == 1
    fan_in = np.repeat(layout.fan_in.reshape(-1), parts[0].sum(axis=1))
    row = np.where(is_bias, inside, inside // fan_in)
    column = np.where(is_bias, -1, inside % fan_in)
    network, layer, rows_, columns = (
        torch.from_numpy(a) for a in (block // shape[1], block % shape[1], row, column)
    )
    return Membership(network, layer, rows_, columns, layers=shape[1], networks=layout.B)


def _of_modules(ens: ModuleEnsemble) -> Membership:
    """Layers are the weights in order, with what follows each; only weights have columns."""
    network = torch.arange(ens.B).repeat_interleave(ens.offsets.diff())
    layer, row = torch.zeros_like(network), torch.zeros_like(network)
    column = torch.full_like(network, -1)
    most = 1
    for b, start in enumerate(ens.offsets[:-1].tolist()):
        seen = -1
        for block in ens.blocks(b):
            span = slice(start + block.start, start + block.stop)
            inside = torch.arange(block.size)
            if block.role == "weight":
                seen += 1
                width = block.size // block.filters
                row[span], column[span] = inside // width, inside % width
            else:
                row[span] = inside
            layer[span] = max(seen, 0)
        most = max(most, seen + 1)
    return Membership(network, layer, row, column, layers=most, networks=ens.B)


def layers_of(ens: Networks) -> int:
    """Number of layers of weights (the most of any network)."""
    return membership(ens).layers if isinstance(ens, ModuleEnsemble) else ens.depth + 1


def ranks(keys: Flat, group: Flat) -> Flat:
    """Rank of every entry inside its group, smallest key first, int64 ``[n]``.

    Equal keys keep the order of their indices, so the result is one and the same everywhere.

    Args:
        keys: ``[n]``, any real dtype.
        group: int64 ``[n]``.

    Example:
        >>> ranks(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0, 0, 1])).tolist()
        [1, 0, 0]
    """
    order = np.lexsort((keys.numpy(), group.numpy()))
    sorted_group = group.numpy()[order]
    start = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]])
    first = np.repeat(start, np.diff(np.r_[start, order.size]))
    out = np.empty(order.size, dtype=np.int64)
    out[order] = np.arange(order.size) - first
    return torch.from_numpy(out)


def group_sum(values: Flat, group: Flat, groups: int) -> Flat:
    """Sums over groups, in index order (the same bits on every machine).

    Args:
        values: ``[n]``, any dtype (bools count).
        group: int64 ``[n]`` in 0..groups-1.
        groups: how many.

    Returns:
        ``[groups]``: int64 for bools and integers, else float64.
    """
    whole = not values.is_floating_point()
    dtype = torch.int64 if whole else torch.float64
    # bincount adds one entry after another, in order.
    sums = np.bincount(group.numpy(), weights=values.to(torch.float64).numpy(), minlength=groups)
    return torch.from_numpy(sums).to(dtype)
