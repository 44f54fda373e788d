"""Controls: what is left of a ticket when its weights, or its positions, are taken away.

Reference: J. Frankle, M. Carbin, ICLR 2019 (random reinitialisation, random tickets); H. Zhou et
al., "Deconstructing lottery tickets", NeurIPS 2019, arXiv 1905.01067 (signs).
"""

from __future__ import annotations

import numpy as np
import torch

from edt.arguments import checked
from edt.ensemble.masks import PRUNED
from edt.errors import unknown_choice
from edt.lottery.membership import group_sum, membership, ranks
from edt.lottery.module_recipe import ModuleRecipe
from edt.lottery.random_numbers import CONTROL_STREAM, bits, uniforms
from edt.lottery.recipe import Recipe
from edt.lottery.tickets import Tickets, neuron_mask


def random_ticket(
    tickets: Tickets, seed: int, *, neurons: bool = False, disjoint: bool = False
) -> Tickets:
    """Tickets of the same size at random positions, at the initial weights they find there.

    Args:
        tickets: K tickets.
        seed: of the positions; those of a ticket depend on its name only.
        neurons: choose whole neurons of the hidden layer (for tickets of neurons); otherwise as
            many weights and as many biases of each layer as the ticket has.
        disjoint: choose among what the ticket does not have; biases (and what else is no weight)
            that the ticket has stay. Tickets of weights only.

    Raises:
        ValueError: a ticket with more than half of a layer's weights has no disjoint twin.
    """
    start = tickets.start
    if disjoint:
        if neurons:
            raise ValueError("disjoint is for tickets of weights, not with neurons=True")
        return Tickets(start, _elsewhere(tickets, seed), tickets.task_index, tickets.names)
    if not neurons:
        return Tickets(start, _shuffle(tickets, seed), tickets.task_index, tickets.names)
    at = membership(start)
    m = int(start.layer_widths[:, 1].max())
    key = bits(start, seed, tickets.names, CONTROL_STREAM)
    chosen = torch.zeros(start.B, m, dtype=torch.bool)
    first = (at.layer == 0) & (at.column == 0)
    network, row = at.network[first], at.row[first]
    count = group_sum(tickets.keep[first], network, start.B)
    rank = ranks(torch.from_numpy((key >> np.uint64(1)).astype(np.int64))[first], network)
    chosen[network, row] = rank < count[network]
    return Tickets(start, neuron_mask(start, chosen), tickets.task_index, tickets.names)


def shuffled_ticket(tickets: Tickets, seed: int) -> Tickets:
    """The ticket's mask and its initial weights, moved together to random places of the layer.

    Weights and biases of each layer are shuffled apart. Unlike `random_ticket` the values are the
    ticket's own; unlike `reinitialised` they sit elsewhere.
    """
    start = tickets.start
    at = membership(start)
    live = torch.nonzero(start.state != PRUNED).flatten()
    group = at.kind[live]
    key = uniforms(start, seed, tickets.names, CONTROL_STREAM)[live]
    order = torch.from_numpy(np.lexsort((key.numpy(), group.numpy())))
    straight = torch.from_numpy(np.lexsort((live.numpy(), group.numpy())))
    theta, keep = start.theta.clone(), tickets.keep.clone()
    theta[live[straight]] = start.theta[live[order]]
    keep[live[straight]] = tickets.keep[live[order]]
    return Tickets(start.with_theta(theta), keep, tickets.task_index, tickets.names)


def reinitialised(tickets: Tickets, recipe: Recipe | ModuleRecipe, seed: int) -> Tickets:
    """The same masks, every parameter drawn again from the initialisation."""
    theta = recipe.redraw(tickets.start, seed, tickets.names)
    start = tickets.start.with_theta(theta)
    return Tickets(start, tickets.keep, tickets.task_index, tickets.names)


def sign_preserved(tickets: Tickets, recipe: Recipe | ModuleRecipe, seed: int) -> Tickets:
    """The same masks, every parameter drawn again but with the sign it had."""
    theta = recipe.redraw(tickets.start, seed, tickets.names).abs()
    old = tickets.start.theta
    start = tickets.start.with_theta(torch.where(old < 0.0, -theta, theta))
    return Tickets(start, tickets.keep, tickets.task_index, tickets.names)


def _shuffle(tickets: Tickets, seed: int) -> torch.Tensor:
    """bool ``[total]``: as many entries of each layer's weights and biases, chosen at random."""
    start = tickets.start
    at = membership(start)
    live = torch.nonzero(start.state != PRUNED).flatten()
    group = at.kind[live]
    count = group_sum(tickets.keep[live], group, 2 * at.layers * at.networks)
    key = uniforms(start, seed, tickets.names, CONTROL_STREAM)[live]
    keep = torch.zeros(start.total, dtype=torch.bool)
    keep[live] = ranks(key, group) < count[group]
    return keep


def _elsewhere(tickets: Tickets, seed: int) -> torch.Tensor:
    """bool ``[total]``: as many weights of each layer, none of them the ticket's."""
    start = tickets.start
    at = membership(start)
    groups = at.layers * at.networks
    free = tickets.rest & ~at.bias
    wanted = group_sum(tickets.keep & ~at.bias, at.block, groups)
    short = torch.nonzero(wanted > group_sum(free, at.block, groups)).flatten()
    if short.numel():
        network, layer = divmod(int(short[0]), at.layers)
        raise ValueError(
            f"ticket {network} has more than half of the weights of layer {layer}: as many others "
            "are not there; prune further, or leave disjoint out"
        )
    where = torch.nonzero(free).flatten()
    key = uniforms(start, seed, tickets.names, CONTROL_STREAM)[where]
    keep = tickets.keep & at.bias
    keep[where] = ranks(key, at.block[where]) < wanted[at.block[where]]
    return keep


CONTROLS = ("ticket", "random", "reinit", "shuffled", "signed")


def control(name: str, tickets: Tickets, recipe: Recipe | ModuleRecipe, seed: int) -> Tickets:
    """One of `CONTROLS` by name; "ticket" is the ticket itself."""
    if name == "random":
        return random_ticket(tickets, seed)
    if name == "reinit":
        return reinitialised(tickets, recipe, seed)
    if name == "shuffled":
        return shuffled_ticket(tickets, seed)
    if name == "signed":
        return sign_preserved(tickets, recipe, seed)
    if name != "ticket":
        raise unknown_choice("control", name, CONTROLS)
    return tickets


checked(__name__)
