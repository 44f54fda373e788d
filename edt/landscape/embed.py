"""Narrow networks inside wide ones that compute the same function.

Three ways to add a neuron to a hidden layer without changing the output. What else they keep:

==============  ======  ====  ===========================================================
embedding       output  loss  criticality
==============  ======  ====  ===========================================================
`split`         yes     yes   yes: a critical point stays one, for any output weights
`zero_output`   yes     yes   only where `new_output_gradient` is zero
`constant`      yes     yes   only with output weights 0 (then the new bias gradient is 0)
==============  ======  ====  ===========================================================

`grow` composes them to any larger width, in several layers at once.

Hidden layers are counted from 0. New neurons stand behind the old ones; masks and frozen
parameters are copied with the neuron.

Reference: K. Fukumizu, S. Amari, "Local minima and plateaus in hierarchical structures of
multilayer perceptrons", Neural Networks 13 (2000) 317.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from edt.arguments import checked
from edt.ensemble.arrays import as_tensor, integers, reals
from edt.ensemble.kinds import Networks
from edt.errors import ShapeError
from edt.landscape.grow import Growth, grow
from edt.landscape.layers import Network
from edt.landscape.stages import hidden_widths, layers_of, networks_of
from edt.scalars import index
from edt.tasks import Task

__all__ = [
    "Embedding",
    "Growth",
    "constant",
    "grow",
    "new_output_gradient",
    "split",
    "split_every",
    "split_pairs",
    "split_shares",
    "zero_output",
]


@dataclass
class Embedding:
    """Wide networks and where they came from.

    Attributes:
        networks: the wide ensemble, M networks.
        source: int64 ``[M]``, narrow network of each.
        neuron: int64 ``[M]``, the neuron that was split; -1 for other embeddings.
        layer: hidden layer, from 0.
        added: neurons added to that layer.
    """

    networks: Any
    source: torch.Tensor
    neuron: torch.Tensor
    layer: int
    added: int


def split(
    ens: Networks, neuron: Any = 0, mu: float | Sequence[float] = 0.5, *, layer: int = 0
) -> Embedding:
    """Duplicate one neuron in every network.

    ``a sigma(w.x) = sum_i gamma_i a sigma(w.x)`` with ``sum_i gamma_i = 1``: output, loss and
    criticality are kept, on the whole plane of such gamma.

    Args:
        ens: B networks.
        neuron: index, or int64 ``[B]``.
        mu: output shares: a number mu means (mu, 1 - mu); a sequence gives all k shares.
        layer: hidden layer, from 0.

    Returns:
        `Embedding` with B networks.

    Raises:
        TypeError: neuron or mu of another kind. ShapeError: neuron of another length.
        ValueError: shares do not sum to 1, no such layer or neuron.

    Example:
        >>> wide = split(narrow, neuron=2, mu=0.5).networks  # doctest: +SKIP
    """
    _check_layer(ens, layer)
    index = integers("neuron", neuron)
    if index.dim() == 0:
        index = index.expand(int(ens.B))
    if index.shape != (int(ens.B),):
        raise ShapeError(
            f"neuron must be an index or one per network [{int(ens.B)}], got shape "
            f"{tuple(index.shape)}"
        )
    return split_pairs(ens, torch.arange(int(ens.B)), index, mu, layer=layer)


def split_every(ens: Networks, mu: float | Sequence[float] = 0.5, *, layer: int = 0) -> Embedding:
    """Split every neuron of every network in turn: one wide network for each (network, neuron).

    Args:
        ens, mu, layer: as in `split`.

    Returns:
        `Embedding` with ``sum_b h_b`` networks, network after network, neuron after neuron.
    """
    width = _check_layer(ens, layer)
    source = torch.arange(int(ens.B)).repeat_interleave(width)
    neuron = torch.cat([torch.arange(int(w)) for w in width])
    return split_pairs(ens, source, neuron, mu, layer=layer)


def split_pairs(
    ens: Networks,
    source: torch.Tensor,
    neuron: torch.Tensor,
    mu: float | Sequence[float] = 0.5,
    *,
    layer: int = 0,
) -> Embedding:
    """Split ``neuron[i]`` of network ``source[i]`` for each i: both int64 ``[M]``."""
    widths = _check_layer(ens, layer)
    shares = split_shares(mu)
    wide: list[Network] = []
    source, neuron = integers("source", source), integers("neuron", neuron)
    if source.dim() != 1 or source.shape != neuron.shape:
        raise ShapeError(
            f"source and neuron must both be [M], got {list(source.shape)} and {list(neuron.shape)}"
        )
    for b, j in zip(source.tolist(), neuron.tolist(), strict=True):
        index("source", b, ens.B)
        width = int(widths[b])
        if not 0 <= j < width:
            raise ValueError(f"neuron must be in 0..{width - 1} for network {b}, got {j}")
        wide.append(_split_one(layers_of(ens, b), layer, j, shares))
    return Embedding(networks_of(wide, ens), source.clone(), neuron.clone(), layer, len(shares) - 1)


def split_shares(mu: Any) -> tuple[float, ...]:
    """Output shares as a tuple that sums to 1.

    Raises:
        TypeError: not numbers. ValueError: not finite, or another sum.
    """
    try:
        given = reals("mu", mu).flatten().tolist()
    except TypeError as error:
        words = f"mu must be a number or a sequence of numbers, got {mu!r:.60}"
        raise TypeError(f"{words} ({error})") from None
    single = isinstance(mu, (int, float)) or getattr(mu, "ndim", 1) == 0
    shares = (given[0], 1.0 - given[0]) if single else tuple(given)
    if not shares or not abs(sum(shares) - 1.0) <= 1e-12 * max(1.0, *map(abs, shares)):
        raise ValueError(f"mu: the output shares must be finite and sum to 1, got {shares}")
    return shares


def zero_output(ens: Networks, incoming: torch.Tensor, *, layer: int = 0) -> Embedding:
    """Add neurons with any input weights and output weights 0 to every network.

    Keeps output and loss. The new input weights have no gradient; the new output weights have
    ``sum_n (dL/dz)_n sigma(w.x_n)``, z the next layer's pre-activation, which is zero only by
    chance: see `new_output_gradient`.

    Args:
        ens: B networks whose layer before has one size I.
        incoming: ``[q, I]``, or ``[q, I + 1]`` with the bias last; a tensor, array or lists.
        layer: hidden layer, from 0.

    Raises:
        TypeError, ValueError: not finite numbers. ShapeError: another shape.
    """
    _check_layer(ens, layer)
    incoming = _numbers("incoming", incoming)
    into = layers_of(ens, 0)[layer]
    fan_in = into.weight[0].numel() + int(into.bias is not None)
    if incoming.dim() != 2 or incoming.shape[1] != fan_in or not incoming.shape[0]:
        raise ShapeError(
            f"incoming must have shape [q, {fan_in}] "
            f"({'weights' if into.bias is None else 'weights, then bias'}), got "
            f"{tuple(incoming.shape)}"
        )
    rows = incoming.to(ens.theta)
    wide = []
    for b in range(int(ens.B)):
        layers = layers_of(ens, b)
        out = int(layers[layer + 1].weight.shape[0])
        wide.append(_append(layers, layer, rows, rows.new_zeros(out, rows.shape[0])))
    return _everyone(ens, wide, layer, int(rows.shape[0]))


def constant(
    ens: Networks, bias: float = 0.0, outgoing: torch.Tensor | None = None, *, layer: int = 0
) -> Embedding:
    """Add a neuron with zero input weights, a constant sigma(bias), compensated downstream.

    The next layer's bias loses ``a sigma(bias)``. Keeps output and loss. At a critical point the
    new output weights and the new bias have zero gradient (the next bias has); the new input
    weights have ``sigma'(bias) a.sum_n (dL/dz)_n x_n``, zero for ``a = 0``.

    Args:
        ens: B networks with biases.
        bias: the new neuron's bias.
        outgoing: ``[out]`` output weights a, the same at every tap; default 0.
        layer: hidden layer, from 0.
    """
    _check_layer(ens, layer)
    value = _numbers("bias", [bias]).to(ens.theta)[0]
    outgoing = None if outgoing is None else _numbers("outgoing", outgoing)
    wide = []
    for b in range(int(ens.B)):
        layers = layers_of(ens, b)
        into, out = layers[layer], layers[layer + 1]
        if into.bias is None or out.bias is None:
            raise ValueError(
                "constant needs networks with biases: there is no bias to compensate in"
            )
        a = (
            out.weight.new_zeros(out.weight.shape[0])
            if outgoing is None
            else outgoing.to(ens.theta)
        )
        if a.shape != (out.weight.shape[0],):
            raise ShapeError(
                f"outgoing must have shape [{out.weight.shape[0]}], got {tuple(a.shape)}"
            )
        shift = a * out.activation(getattr(ens, "activation", ""))(value) * out.weight[0, 0].numel()
        if out.margins and bool(shift.any()):
            raise ValueError(
                "outgoing must be 0 where the next layer has margins: near them a constant "
                "channel is not a bias"
            )
        row = torch.cat([into.weight.new_zeros(into.weight[0].numel()), value.reshape(1)])
        grown = _append(layers, layer, row[None], a[:, None])
        grown[layer + 1] = replace(grown[layer + 1], bias=out.bias - shift)
        wide.append(grown)
    return _everyone(ens, wide, layer, 1)


def new_output_gradient(
    embedding: Embedding, task: Task, task_index: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """Gradient on the added neurons' output weights, one ``[out, added]`` per wide network.

    The embedded point is critical exactly where the narrow one is and this is zero.

    Args:
        embedding: from `zero_output` or `constant`.
        task, task_index: as in `edt.ops`; ``task_index`` per wide network.
    """
    from edt import functional

    ens = embedding.networks
    _, flat = functional.loss_and_grad(ens, task, task_index=task_index)
    gradient = ens.with_theta(flat)
    return [
        layers_of(gradient, b)[embedding.layer + 1].weight[:, -embedding.added :]
        for b in range(int(ens.B))
    ]


def _split_one(layers: Network, layer: int, j: int, shares: tuple[float, ...]) -> Network:
    into, out = layers[layer], layers[layer + 1]
    extra = len(shares) - 1
    grown = list(layers)
    grown[layer] = replace(
        into,
        weight=_with_copies(into.weight, j, extra),
        weight_state=_with_copies(into.weight_state, j, extra),
        bias=None if into.bias is None else _with_copies(into.bias, j, extra),
        bias_state=None if into.bias_state is None else _with_copies(into.bias_state, j, extra),
    )
    weight = _with_copies(out.weight.transpose(0, 1), j, extra).transpose(0, 1).contiguous()
    a = out.weight[:, j]
    weight[:, j] = shares[0] * a
    for k, share in enumerate(shares[1:]):
        weight[:, out.weight.shape[1] + k] = share * a
    state = _with_copies(out.weight_state.transpose(0, 1), j, extra).transpose(0, 1)
    grown[layer + 1] = replace(out, weight=weight, weight_state=state.contiguous())
    return grown


def _with_copies(rows: torch.Tensor, j: int, extra: int) -> torch.Tensor:
    return torch.cat([rows, rows[j : j + 1].expand(extra, *rows.shape[1:])])


def _append(layers: Network, layer: int, rows: torch.Tensor, columns: torch.Tensor) -> Network:
    into, out = layers[layer], layers[layer + 1]
    fan_in, added = into.weight[0].numel(), rows.shape[0]
    grown = list(layers)
    free = into.weight_state.new_ones
    bias = bias_state = None
    if into.bias is not None and into.bias_state is not None:
        bias = torch.cat([into.bias, rows[:, fan_in]])
        bias_state = torch.cat([into.bias_state, free(added)])
    one, taps = into.weight.shape[1:], out.weight.shape[2:]
    columns = columns.reshape(*columns.shape[:2], *(1 for _ in taps))
    columns = columns.expand(-1, -1, *taps)
    grown[layer] = replace(
        into,
        weight=torch.cat([into.weight, rows[:, :fan_in].reshape(added, *one)]),
        weight_state=torch.cat([into.weight_state, free(added, *one)]),
        bias=bias,
        bias_state=bias_state,
    )
    grown[layer + 1] = replace(
        out,
        weight=torch.cat([out.weight, columns], dim=1),
        weight_state=torch.cat([out.weight_state, free(columns.shape)], dim=1),
    )
    return grown


def _everyone(ens: Networks, wide: list[Network], layer: int, added: int) -> Embedding:
    count = int(ens.B)
    return Embedding(
        networks_of(wide, ens),
        torch.arange(count),
        torch.full((count,), -1, dtype=torch.int64),
        layer,
        added,
    )


def _numbers(name: str, value: Any) -> torch.Tensor:
    """Finite numbers from a tensor, an array or lists."""
    out = reals(name, value) if isinstance(value, (list, tuple)) else as_tensor(name, value)
    if not bool(torch.isfinite(out).all()):
        raise ValueError(f"{name} must be finite, got {out.tolist()!r:.60}")
    return out


def _check_layer(ens: Networks, layer: int) -> torch.Tensor:
    """Units of the layer, int64 ``[B]``."""
    widths = hidden_widths(ens)
    depth = widths.shape[1]
    if not 0 <= layer < depth:
        raise ValueError(f"layer must be a hidden layer 0..{depth - 1}, got {layer}")
    return widths[:, layer]


checked(__name__)
