"""Embeddings into any larger width, in one layer or several at once.

Every wide neuron i of a hidden layer copies a narrow neuron p(i) with an output share s(i), and
the shares of all copies of one neuron sum to 1:

    W'_l[i, j] = W_l[p_l(i), p_{l-1}(j)] s_{l-1}(j),      b'_l[i] = b_l[p_l(i)]

which keeps output, loss and criticality (it is a composition of splits). Neurons may also be added
with output weights 0, which keeps output and loss, and criticality only if they are constant.

Reference: K. Fukumizu, S. Amari, Neural Networks 13 (2000) 317; B. Simsek et al., ICML 2021,
arXiv 2105.12221.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from edt.ensemble.kinds import Networks
from edt.errors import ShapeError, unknown_choice
from edt.landscape.layers import Network
from edt.landscape.stages import hidden_widths, layers_of, networks_of
from edt.scalars import integer

HOW = ("split", "zero", "constant")
SHARES = ("equal", "positive", "signed")
NEURONS = ("random", "even")
#: Signed shares are drawn again while their sum is below this: dividing by it would blow them up.
_LEAST_SUM = 0.3


@dataclass
class Growth:
    """Wide networks and where each of their neurons came from.

    Attributes:
        networks: M wide networks.
        source: int64 ``[M]``, the narrow network of each.
        parents: ``parents[i][l]``, int64 ``[h'_l]``: the narrow neuron each neuron of hidden layer
            l copies; -1 for one added with output weights 0. The first ``h_l`` are 0..h_l - 1.
        shares: ``shares[i][l]``, float64 ``[h'_l]``: the output share of each.
    """

    networks: Any
    source: torch.Tensor
    parents: list[list[torch.Tensor]]
    shares: list[list[torch.Tensor]]

    @property
    def added(self) -> torch.Tensor:
        """int64 ``[M]``, neurons added, over all layers."""
        return torch.tensor(
            [
                sum(row.numel() - int(row.max()) - 1 for row in layers)
                for layers in self.parents
            ]
        )  # fmt: skip


def grow(
    ens: Networks,
    width: int | Sequence[int],
    how: str = "split",
    *,
    shares: str = "equal",
    neurons: str | int = "random",
    copies: int = 1,
    seed: int = 0,
    scale: float = 1.0,
) -> Growth:
    """Embed every network into a larger width.

    Args:
        ens: B networks, none wider than ``width``.
        width: hidden width to reach; for D hidden layers a sequence of D.
        how: "split": added neurons copy old ones (keeps output, loss, criticality). "zero":
            random input weights, output weights 0 (keeps output and loss). "constant": input
            weights 0, a random bias, output weights 0 (keeps all three; needs biases).
        shares: of the copies of one neuron: "equal"; "positive", uniform on the simplex; "signed",
            random with both signs wherever there are two copies or more.
        neurons: which are copied: "random", uniformly and independently; "even", in turns from a
            random order, so that numbers of copies differ by at most 1; or the index of one.
        copies: embeddings of each network, with draws of their own.
        seed: of all draws, >= 0. The draws for network b depend on (seed, b) and the widths.
        scale: of the random input weights (times ``1 / sqrt(fan_in)``) and biases.

    Returns:
        `Growth` with ``M = copies * B`` networks, those of one source together.

    Raises:
        TypeError, ValueError: an argument is wrong, or a network is wider than ``width`` already.

    Example:
        >>> narrow = edt.Ensemble.init([2, 3], d_in=2, d_out=1)
        >>> grow(narrow, 5, shares="signed", copies=2).networks.layer_widths[:, 1].tolist()
        [5, 5, 5, 5]
    """
    sizes = hidden_widths(ens)
    wanted = _widths(sizes, width)
    for name, given, allowed in (("how", how, HOW), ("shares", shares, SHARES)):
        if given not in allowed:
            raise unknown_choice(name, given, allowed)
    if isinstance(neurons, str) and neurons not in NEURONS:
        raise unknown_choice("neurons", neurons, NEURONS)
    biased = all(layer.bias is not None for layer in layers_of(ens, 0)[:-1])
    if how == "constant" and not biased:
        raise ValueError("how='constant' needs networks with biases: a constant unit is its bias")
    copies, seed = integer("copies", copies), integer("seed", seed, 0)
    wide: list[Network] = []
    parents: list[list[torch.Tensor]] = []
    portions: list[list[torch.Tensor]] = []
    home = ens.device
    ens = ens.to(device="cpu")
    for b in range(ens.B):
        draws = np.random.Generator(np.random.Philox(key=np.array([seed, b], dtype=np.uint64)))
        narrow = layers_of(ens, b)
        widths = sizes[b].tolist()
        for _ in range(copies):
            origin = [
                _parents(draws, old, new, how, neurons)
                for old, new in zip(widths, wanted, strict=True)
            ]
            share = [_shares(draws, row, shares) for row in origin]
            wide.append(_assemble(draws, narrow, origin, share, how, scale))
            parents.append([torch.from_numpy(row) for row in origin])
            portions.append([torch.from_numpy(row) for row in share])
    source = torch.arange(ens.B).repeat_interleave(copies)
    return Growth(networks_of(wide, ens).to(device=home), source, parents, portions)


def _widths(sizes: torch.Tensor, width: Any) -> list[int]:
    wanted = list(width) if isinstance(width, Sequence) else [width]
    depth = sizes.shape[1]
    if len(wanted) != depth:
        raise ShapeError(
            f"width must name {depth} hidden widths, one a layer, got {width!r}"
        )  # fmt: skip
    widest = sizes.amax(0).tolist()
    return [
        integer(f"width of layer {layer} (the widest network's is {least})", value, least)
        for layer, (value, least) in enumerate(zip(wanted, widest, strict=True))
    ]


def _parents(
    draws: np.random.Generator, old: int, new: int, how: str, neurons: str | int
) -> np.ndarray:
    """int64 ``[new]``: the narrow neuron behind each wide one, -1 for none."""
    extra = new - old
    if how != "split":
        chosen = np.full(extra, -1)
    elif neurons == "random":
        chosen = draws.integers(0, old, extra)
    elif neurons == "even":
        chosen = np.resize(draws.permutation(old), extra)
    else:
        chosen = np.full(extra, integer("neurons (a name or an index)", neurons, 0, old - 1))
    return np.concatenate([np.arange(old), chosen]).astype(np.int64)


def _shares(draws: np.random.Generator, parents: np.ndarray, kind: str) -> np.ndarray:
    """float64 ``[new]``: shares that sum to 1 over the copies of each neuron; 0 for added ones."""
    out = np.zeros(parents.size)
    for parent in range(int(parents.max()) + 1):
        members = np.flatnonzero(parents == parent)
        size = members.size
        if kind == "equal" or size == 1:
            share = np.full(size, 1.0 / size)
        elif kind == "positive":
            share = draws.dirichlet(np.ones(size))
        else:
            share = _signed(draws, size)
        # The rounding of the sum goes where it matters least.
        share[np.argmax(np.abs(share))] += 1.0 - share.sum()
        out[members] = share
    return out


def _signed(draws: np.random.Generator, size: int) -> np.ndarray:
    while True:
        share = draws.uniform(0.2, 1.0, size)
        share[draws.permutation(size)[: draws.integers(1, size)]] *= -1.0
        total = float(share.sum())
        if abs(total) > _LEAST_SUM:
            return share / total


def _assemble(
    draws: np.random.Generator,
    narrow: Network,
    parents: list[np.ndarray],
    shares: list[np.ndarray],
    how: str,
    scale: float,
) -> Network:
    wide: Network = []
    for depth, layer in enumerate(narrow):
        last = depth == len(narrow) - 1
        rows = np.arange(layer.weight.shape[0]) if last else parents[depth]
        columns = parents[depth - 1] if depth else np.arange(layer.weight.shape[1])
        # Neurons without a parent read the entries of neuron 0 first and are overwritten below.
        pick = (np.maximum(rows, 0)[:, None], np.maximum(columns, 0)[None, :])
        weight, state = layer.weight[pick], layer.weight_state[pick]
        if depth:
            share = torch.from_numpy(shares[depth - 1]).to(weight.dtype)
            weight = weight * share.view(1, -1, *(1 for _ in weight.shape[2:]))
            state[:, columns < 0] = 1
        bias = bias_state = None
        if layer.bias is not None and layer.bias_state is not None:
            bias, bias_state = (
                layer.bias[np.maximum(rows, 0)],
                layer.bias_state[np.maximum(rows, 0)],
            )
        new = np.flatnonzero(rows < 0)
        if new.size:
            fan_in = weight[0].numel()
            fresh = scale / np.sqrt(fan_in) * draws.standard_normal((new.size, *weight.shape[1:]))
            weight[new] = torch.from_numpy(fresh * (how == "zero")).to(weight.dtype)
            state[new] = 1
            if bias is not None and bias_state is not None:
                bias[new] = torch.from_numpy(scale * draws.standard_normal(new.size)).to(bias.dtype)
                bias_state[new] = 1
        wide.append(
            replace(layer, weight=weight, weight_state=state, bias=bias, bias_state=bias_state)
        )
    return wide
