"""`Tickets`: subnetworks with their initial weights, many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edt.ensemble import Ensemble, ModuleEnsemble
from edt.ensemble.arrays import as_tensor, integers
from edt.ensemble.checks import network_indices
from edt.ensemble.kinds import Networks, as_networks, chains
from edt.ensemble.masks import FROZEN, PRUNED, TRAINABLE, flat_mask
from edt.errors import ShapeError
from edt.lottery.membership import group_sum, membership


@dataclass(frozen=True)
class Tickets:
    """K tickets: each a set of parameters of a network, at their initial values.

    The ticket of network k is ``keep`` inside ``start``; everything else that is trainable there
    is the **rest**. What becomes of a ticket when the rest is pruned, frozen or changed is what
    the protocols of this package ask.

    What both need belongs to both. Kept parameters are **shared** when the rest could not be a
    network without them: the bias of a unit that the rest feeds, too (of the outputs, above all),
    and layers of which the ticket holds everything. Shared parameters stay and are trained in all
    four forms:

    ==============  ========  ======  ======
    form            ticket    shared  rest
    ==============  ========  ======  ======
    `alone`         trained   trained pruned
    `inside`        trained   trained trained
    `rest_frozen`   trained   trained frozen
    `without`       pruned    trained trained
    ==============  ========  ======  ======

    Attributes:
        start: K whole networks at their initial parameters.
        keep: bool ``[total]``, True for the ticket's parameters.
        task_index: int64 ``[K]``, the target each network learns.
        names: int64 ``[K]``, 0..2**38 - 1: what the random numbers of a ticket's experiments
            are keyed by, so that they do not depend on which other tickets there are.

    Raises:
        ShapeError: lengths do not fit. ValueError: a ticket without parameters, or one that keeps
            a pruned parameter; names out of range.
    """

    start: Any
    keep: torch.Tensor
    task_index: torch.Tensor
    names: torch.Tensor

    def __post_init__(self) -> None:
        as_networks(self.start, "start")
        if tuple(self.keep.shape) != (self.start.total,) or self.keep.dtype != torch.bool:
            raise ShapeError(
                f"keep must be bool [{self.start.total}] (all parameters), got "
                f"{self.keep.dtype} {list(self.keep.shape)}"
            )
        for name in ("task_index", "names"):
            value = getattr(self, name)
            if tuple(value.shape) != (self.start.B,) or value.dtype != torch.int64:
                raise ShapeError(
                    f"{name} must be int64 [{self.start.B}] (one per network), got "
                    f"{value.dtype} {list(value.shape)}"
                )
        if bool((self.keep & (self.start.state == PRUNED)).any()):
            raise ValueError("keep must not name pruned parameters of start")
        if bool((self.size == 0).any()):
            raise ValueError(f"ticket {int((self.size == 0).nonzero()[0])} keeps no parameter")
        if self.names.numel() and not 0 <= int(self.names.min()) <= int(self.names.max()) < 2**38:
            raise ValueError("names must be in 0..2**38-1")

    @classmethod
    def of(
        cls, start: Networks, keep: torch.Tensor, task_index: Any = None, names: Any = None
    ) -> Tickets:
        """Tickets with defaults: target 0, names 0..K-1."""
        count = start.B
        index = torch.zeros(count, dtype=torch.int64) if task_index is None else task_index
        label = torch.arange(count) if names is None else names
        return cls(
            start,
            _flat(start, keep),
            integers("task_index", index),
            integers("names", label),
        )

    def __len__(self) -> int:
        return int(self.start.B)

    @property
    def size(self) -> torch.Tensor:
        """int64 ``[K]``, parameters of each ticket."""
        return group_sum(self.keep, membership(self.start).network, self.start.B)

    @property
    def rest(self) -> torch.Tensor:
        """bool ``[total]``, what is neither ticket nor pruned; no running statistics."""
        there: torch.Tensor = self.start.state != PRUNED
        if isinstance(self.start, ModuleEnsemble):
            there = there & ~self.start.role_mask("buffer")
        return ~self.keep & there

    @property
    def shared(self) -> torch.Tensor:
        """bool ``[total]``, kept parameters that the rest needs as well; see the class."""
        at = membership(self.start)
        rest, weights = self.rest, ~at.bias
        layers = at.networks * at.layers
        # Units (network, layer, row) by one number; rows are below the longest.
        unit = at.block * (int(at.row.max()) + 1) + at.row
        fed = torch.zeros(int(unit.max()) + 1, dtype=torch.bool)
        fed[unit[rest & weights]] = True
        touched = torch.zeros(layers, dtype=torch.bool)
        touched[at.block[rest]] = True
        whole = ~touched[at.block] & touched.view(at.networks, -1).any(1)[at.network]
        return self.keep & ((at.bias & fed[unit]) | whole)

    def select(self, indices: Any) -> Tickets:
        """The chosen tickets, in the given order, repeats allowed."""
        index = network_indices(indices, self.start.B)
        chosen = torch.from_numpy(index)
        return Tickets(
            self.start.select(index),
            self.keep[self.start.positions(index)],
            self.task_index[chosen],
            self.names[chosen],
        )

    def repeat(self, times: int) -> Tickets:
        """Every ticket ``times`` times in a row."""
        return self.select(np.repeat(np.arange(self.start.B), times))

    def alone(self) -> Any:
        """The tickets as networks of their own: the rest is pruned."""
        return self.start.with_state(self.start.state.masked_fill(self.rest, PRUNED))

    def inside(self) -> Any:
        """The whole networks, ticket and rest trainable."""
        return self.start.with_state(self.start.state.masked_fill(self.keep | self.rest, TRAINABLE))

    def rest_frozen(self) -> Any:
        """The whole networks with the rest frozen at its initial values."""
        return self.start.with_state(self.start.state.masked_fill(self.rest, FROZEN))

    def without(self) -> Any:
        """The rest as networks of their own: the ticket is pruned, but for what is `shared`."""
        own = self.keep & ~self.shared
        return self.start.with_state(self.start.state.masked_fill(own, PRUNED))

    def rest_as_features(self) -> Any:
        """The whole networks with a rest that can be turned down but not retrained.

        The rest's input weights and biases are frozen at their initial values; its weights into the
        last layer are trained like the ticket's. (With the whole rest frozen, r neurons face the
        target minus a random function that no r neurons can give, and lose whatever they are.)
        """
        at = membership(self.start)
        features = self.rest & ~((at.layer == at.layers - 1) & ~at.bias)
        return self.inside().with_state(self.inside().state.masked_fill(features, FROZEN))

    def __repr__(self) -> str:
        share = float(self.keep.double().mean())
        tickets = f"{len(self)} ticket{'s' if len(self) != 1 else ''}"
        return f"Tickets({tickets}, {100 * share:.1f}% of {self.start!r})"


def _flat(start: Networks, keep: Any) -> torch.Tensor:
    if isinstance(start, ModuleEnsemble):
        return as_tensor("keep", keep).to(torch.bool)
    return flat_mask(start.layout, "keep", keep)


def neuron_mask(ens: Ensemble, neurons: torch.Tensor, layer: int = 0) -> torch.Tensor:
    """Parameters of chosen neurons of one hidden layer: inputs, bias and outputs.

    Biases of the layer above belong to no neuron of this one; they are kept, as are all other
    layers: a ticket of neurons is a narrower network.

    Args:
        ens: B networks.
        neurons: bool ``[B, h]`` with h at least every network's width; entries beyond it are not
            looked at.
        layer: hidden layer, 0..D-1.

    Returns:
        bool ``[total]``.

    Raises:
        TypeError: no tensor. ShapeError, ValueError: wrong shape, or no such hidden layer.
    """
    ens = chains(ens, "a ticket of neurons", "ens")
    if not 0 <= layer < ens.depth:
        raise ValueError(f"layer must be a hidden layer, 0..{ens.depth - 1}, got {layer}")
    if not isinstance(neurons, torch.Tensor):
        raise TypeError(f"neurons must be a torch.Tensor of bool, got {type(neurons).__name__}")
    widest = int(ens.layer_widths[:, layer + 1].max())
    if neurons.dim() != 2 or neurons.shape[0] != ens.B or neurons.shape[1] < widest:
        raise ShapeError(
            f"neurons must be bool [{ens.B}, {widest}] (networks, neurons), got "
            f"{list(neurons.shape)}"
        )
    at = membership(ens)
    keep = torch.ones(ens.total, dtype=torch.bool)
    into = at.layer == layer
    out = (at.layer == layer + 1) & ~at.bias
    keep[into] = neurons[at.network[into], at.row[into]]
    keep[out] = neurons[at.network[out], at.column[out]]
    return keep & (ens.state != PRUNED)
