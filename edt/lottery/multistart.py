"""Multi-start: is a wide network its own narrow networks, started together?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from edt.arguments import checked
from edt.ensemble import Ensemble, ModuleEnsemble
from edt.ensemble.architecture import Architecture
from edt.ensemble.kinds import Networks, as_networks, chains
from edt.lottery.membership import group_sum, membership, ranks
from edt.lottery.random_numbers import CONTROL_STREAM, uniforms
from edt.lottery.tickets import Tickets, neuron_mask
from edt.scalars import integer

__all__ = ["Partition", "partition", "partition_units", "partition_weights"]


@dataclass(frozen=True)
class Partition:
    """Networks cut into disjoint tickets.

    Attributes:
        tickets: K tickets, network after network.
        network: int64 ``[K]``, the network of each.
        part: int64 ``[K]``, 0, 1, ... inside a network.
    """

    tickets: Tickets
    network: torch.Tensor
    part: torch.Tensor


def partition(
    start: Ensemble, r: int, task_index: torch.Tensor, names: torch.Tensor | None = None
) -> Partition:
    """Cut networks of one hidden layer into ``floor(m / r)`` tickets each; left-over neurons are
    in none. Neurons ``i r .. (i + 1) r - 1`` form ticket i; every ticket has the output biases.

    Args:
        start: B networks at their initial parameters.
        r: neurons of a ticket.
        task_index: int64 ``[B]``.
        names: int64 ``[B]``; default 0..B-1.

    Raises:
        TypeError: networks of modules; see `partition_units` and `partition_weights`.
        ValueError: r < 1, or a network narrower than r.
    """
    widths = chains(start, "a cut into neurons", "start").layer_widths[:, 1]
    if r < 1 or int(widths.min()) < r:
        raise ValueError(f"r must be in 1..{int(widths.min())} (the least width), got {r}")
    counts = widths // r
    network = torch.repeat_interleave(torch.arange(start.B), counts)
    first = torch.repeat_interleave(torch.cumsum(counts, 0) - counts, counts)
    part = torch.arange(network.numel()) - first
    wide = start.select(network)
    neurons = torch.arange(int(widths.max())) // r == part[:, None]
    label = torch.arange(start.B) if names is None else names
    tickets = Tickets(wide, neuron_mask(wide, neurons), task_index[network], label[network])
    return Partition(tickets, network, part)


def partition_weights(
    start: Networks, parts: int, seed: int = 0, names: torch.Tensor | None = None
) -> Partition:
    """Cut any networks into sparse tickets: the weights of every layer, dealt out at random.

    Every layer's n weights go to ``parts`` tickets of ``n // parts`` or one more; what is no
    weight (biases, norms) belongs to all.

    Args:
        start: B networks of either kind at their initial parameters.
        parts: tickets of each network, at least 2.
        seed: of the deal; that of a network depends on its name only.
        names: int64 ``[B]``; default 0..B-1.

    Raises:
        ValueError: fewer than 2 parts, or a layer with fewer weights than parts.

    Example:
        >>> made = partition_weights(Ensemble.init([4], [0], d_in=2, d_out=1), 2)
        >>> made.tickets.size.tolist()
        [11, 11]
    """
    parts = integer("parts", parts, 2)
    as_networks(start, "start")
    at = membership(start)
    weights = torch.nonzero((start.state != 0) & ~at.bias).flatten()
    count = group_sum(torch.ones_like(weights), at.block[weights], at.layers * start.B)
    least = int(count[count > 0].min())
    if least < parts:
        raise ValueError(f"parts must be at most {least}, the weights of the least layer")
    label = torch.arange(start.B) if names is None else names
    key = uniforms(start, seed, label, CONTROL_STREAM)[weights]
    dealt = torch.full((start.total,), -1, dtype=torch.int64)
    dealt[weights] = ranks(key, at.block[weights]) % parts
    return _cut(start, dealt, parts, label)


def partition_units(
    start: ModuleEnsemble, parts: int, names: torch.Tensor | None = None
) -> Partition:
    """Cut wide networks of modules into narrow ones: every hidden layer's units or channels.

    Of c channels those from ``i c / parts`` on form ticket i; it has all inputs and output biases.
    The tickets are networks of ``1 / parts`` of the width, but for their initial scale.

    Args:
        start: B networks, each a ``torch.nn.Sequential`` of linear and convolutional layers and
            norms over channels, with layers without parameters between them.
        parts: tickets of each network, at least 2, at most the channels of the narrowest layer.
        names: int64 ``[B]``; default 0..B-1.

    Raises:
        TypeError: other modules, whose channels hang together in ways that are not known; see
            `partition_weights`. ValueError: parts out of range.
    """
    parts = integer("parts", parts, 2)
    if not isinstance(start, ModuleEnsemble):
        raise TypeError(
            f"start must be an edt.ModuleEnsemble, got {type(start).__name__}; chains are cut by "
            "partition"
        )
    dealt = torch.cat([_units(start.architecture(b), parts) for b in range(start.B)])
    return _cut(start, dealt, parts, torch.arange(start.B) if names is None else names)


def _cut(start: Networks, dealt: torch.Tensor, parts: int, names: torch.Tensor) -> Partition:
    """Tickets of what each part was dealt: its number, -1 for all, -2 for none."""
    network = torch.arange(start.B).repeat_interleave(parts)
    part = torch.arange(parts).repeat(start.B)
    wide = start.select(network)
    mine = dealt[start.positions(network)]
    own = torch.repeat_interleave(part, wide.offsets.diff())
    keep = ((mine == own) | (mine == -1)) & (wide.state != 0)
    tickets = Tickets(wide, keep, torch.zeros_like(network), names[network])
    return Partition(tickets, network, part)


def _units(architecture: Architecture, parts: int) -> torch.Tensor:
    """The part of every parameter of a sequential network, int64 ``[P]``."""
    skeleton = architecture.skeleton
    layers = list(skeleton.named_children()) if type(skeleton) is nn.Sequential else []
    owners = {block.name.rpartition(".")[0] for block in architecture.blocks}
    known = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)
    strange = [name for name, layer in layers if name in owners and not isinstance(layer, known)]
    deep = owners - {name for name, _ in layers}
    grouped = [name for name, layer in layers if getattr(layer, "groups", 1) != 1]
    if not layers or strange or deep or grouped:
        raise TypeError(
            f"a cut into units needs a torch.nn.Sequential of linear and convolutional layers, got "
            f"{type(skeleton).__name__}; partition_weights cuts any network"
        )
    blocks = {block.name: block for block in architecture.blocks}
    dealt = torch.full((architecture.size,), -1, dtype=torch.int64)
    with_weights = [name for name, layer in layers if isinstance(layer, (nn.Linear, nn.Conv2d))]
    before = torch.full((1,), -1, dtype=torch.int64)  # inputs belong to all
    for name, layer in layers:
        if name not in owners:
            continue
        if not isinstance(layer, (nn.Linear, nn.Conv2d)):
            for block in architecture.blocks:
                if block.name.rpartition(".")[0] == name and block.role == "norm":
                    dealt[block.span] = before
            continue
        rows, columns = layer.weight.shape[:2]
        if name == with_weights[-1]:
            after = torch.full((rows,), -1, dtype=torch.int64)
        elif rows < parts:
            raise ValueError(f"parts must be at most {rows}, the units of layer {name!r}")
        else:
            after = torch.arange(rows) * parts // rows
        # Flattened channels have as many columns as positions each.
        source = before.repeat_interleave(columns // before.numel())[None]
        target = after[:, None].expand(rows, columns)
        source = source.expand(rows, columns)
        both = torch.where(target == source, target, torch.full_like(target, -2))
        both = torch.where(target == -1, source, torch.where(source == -1, target, both))
        weight = blocks[f"{name}.weight"]
        dealt[weight.span] = both.reshape(-1).repeat_interleave(weight.size // (rows * columns))
        if f"{name}.bias" in blocks:
            dealt[blocks[f"{name}.bias"].span] = after
        before = after
    return dealt


checked(__name__)
