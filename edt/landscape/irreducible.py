"""Reducible networks and their irreducible cores.

A network is reducible when fewer neurons compute the same outputs: neurons that repeat another (up
to the activation's symmetries), neurons without effect (dead), neurons that do not move
(constant), and groups that cancel. The core is what is left. It stands for all networks that
embed it, and two networks compute the same function exactly when their cores agree up to
permutation and symmetry (for analytic activations and generic data; relu-like ones also need the
kinks where the data are).

A unit is a neuron, or a channel of a convolution: its input weights are then a kernel, and it has
an output weight for every tap that reads it. Maxima taken of a channel tell it from its mirror
image, and margins of zeros a channel from one that is larger by a constant; those symmetries do
not hold there.

Every step is accepted by what it does to the outputs on the data, not by how close parameters
are: at a flat minimum copies agree only to the fourth root of the loss's rounding, while merging
them changes the outputs by the square of their distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from edt.landscape.layers import Layer, Network, along, total
from edt.landscape.symmetry import SYMMETRIES, Symmetry, unit_symmetry


@dataclass
class Core:
    """An irreducible function ``f(x) = W_D s(... s(W_0 x + b_0) ...) + b_D + L x + Q(x, x)``.

    All float64. Biases are kept even where the network had none: reflecting a sigmoid leaves a
    constant behind.

    L and Q are there for networks of neurons alone; W_k are convolutions where the network's are.

    Attributes:
        activations: of each hidden layer.
        layers: the network's, which say what stands around the weights; their numbers do not
            matter.
        weights: ``[out, in]`` of each layer; ``[out, in, ...]`` of convolutions, and of linear
            layers that read several positions of a channel.
        biases: ``[out]`` of each layer.
        linear: ``[d_out, d_in]``: the linear part of identity networks, and of square networks
            with one hidden layer; else zero.
        quadratic: ``[d_out, d_in, d_in]``, symmetric: the quadratic part of a square network with
            one hidden layer; else zero.
        copies: for each hidden layer, how many of the network's neurons each neuron stands for.
        dead, constant, cancelled: neurons removed: without effect; with an effect that does not
            depend on the data (a bias now); merged with others to nothing.
    """

    activations: tuple[str, ...]
    layers: Network
    weights: list[torch.Tensor]
    biases: list[torch.Tensor]
    linear: torch.Tensor
    quadratic: torch.Tensor
    copies: list[list[int]]
    dead: int = 0
    constant: int = 0
    cancelled: int = 0

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons left in each hidden layer."""
        return tuple(int(weight.shape[0]) for weight in self.weights[:-1])

    @property
    def plain(self) -> bool:
        """Whether all layers are of neurons: no convolutions or positions."""
        return all(type(layer) is Layer for layer in self.layers)

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Of the units of each hidden layer."""
        return tuple(
            unit_symmetry(name, following)
            for name, following in zip(self.activations, self.layers[1:], strict=True)
        )

    @property
    def width(self) -> int:
        """Units left in all hidden layers; for forms of identity and square, their rank."""
        if self.linear.numel() and self._mixing and not any(self.widths):
            form = torch.cat([self.linear, self.quadratic.flatten(0, 1)])
            if float(form.abs().max()) == 0.0:
                return 0
            return int(torch.linalg.matrix_rank(form, rtol=1e-9))
        return sum(self.widths)

    @property
    def duplicates(self) -> int:
        """Neurons that repeated another, and whose output weights joined it."""
        return sum(count - 1 for layer in self.copies for count in layer)

    @property
    def _mixing(self) -> bool:
        return any(SYMMETRIES[name].mixing for name in self.activations)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs ``[N, d_out]`` at float64 ``[N, d_in]`` (or samples of the network's shape)."""
        out = self.inputs(x, len(self.weights))[-1]
        if self.linear.numel() and self._mixing:
            out = out + x @ self.linear.T + torch.einsum("ni,oij,nj->no", x, self.quadratic, x)
        return out

    def inputs(self, x: torch.Tensor, count: int) -> list[torch.Tensor]:
        """What the first ``count`` layers are given, and what the last of them makes of it.

        The last but one layer's outputs have gone through activation and pooling where a layer
        follows.
        """
        found = [x]
        weights, biases = self._at_least_one()
        for k, layer in enumerate(self.layers[:count]):
            z = replace(layer, weight=weights[k], bias=biases[k]).forward(found[-1])
            last = k + 1 == len(self.layers)
            found.append(z if last else self.layers[k + 1].enter(z, self.activations[k]))
        return found

    def _at_least_one(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Weights and biases, with a unit of zeros where torch lacks layers of no channels."""
        weights, biases = list(self.weights), list(self.biases)
        for k, width in enumerate(self.widths):
            if width == 0 and not self.plain:
                size = weights[k].shape, weights[k + 1].shape
                weights[k] = weights[k].new_zeros(1, *size[0][1:])
                biases[k] = biases[k].new_zeros(1)
                weights[k + 1] = weights[k].new_zeros(size[1][0], 1, *size[1][2:])
        return weights, biases


def reduce_network(
    layers: Network,
    activation: str,
    x: torch.Tensor,
    coef: torch.Tensor,
    tolerance: float,
    near: float = 0.1,
) -> Core:
    """The core of one network.

    Args:
        layers: from `edt.landscape.layers.unpack` or `edt.landscape.stages.layers_of`.
        activation: of its hidden neurons; stages of modules have their own.
        x: float64 ``[N, d_in]`` (or samples of the network's shape), where outputs must stay.
        coef: ``[N]``, sample weights that sum to 1.
        tolerance: root mean square (over coef, summed over outputs) by which all steps together
            may change the outputs.
        near: pairs of neurons are tried when their input weights differ by less than this share.

    Returns:
        `Core`.
    """
    plain = all(type(layer) is Layer for layer in layers)
    d_in, d_out = int(layers[0].weight.shape[1]) if plain else 0, int(layers[-1].weight.shape[0])
    work = Core(
        tuple(layer.activation_name(activation) for layer in layers[1:]),
        layers,
        [layer.weight.to(torch.float64) for layer in layers],
        [
            torch.zeros(layer.weight.shape[0], dtype=torch.float64)
            if layer.bias is None
            else layer.bias.to(torch.float64)
            for layer in layers
        ],
        linear=torch.zeros(d_out, d_in, dtype=torch.float64),
        quadratic=torch.zeros(d_out, d_in, d_in, dtype=torch.float64),
        copies=[[1] * int(layer.weight.shape[0]) for layer in layers[:-1]],
    )
    target = work(x)
    if plain and SYMMETRIES[activation].mixing and (activation == "identity" or len(layers) == 2):
        return _as_form(work)
    hidden = range(len(layers) - 1)
    symmetries = work.symmetries
    while True:
        for layer in hidden:
            work = _normalised(work, layer, symmetries[layer])
        for layer in hidden:
            following = next(
                (
                    trial
                    for trial in _fewer(work, layer, symmetries[layer], x, tolerance, near)
                    if _distance(trial(x), target, coef) <= tolerance
                ),
                None,
            )
            if following is not None:
                work = following
                break
        else:
            return work


def _as_form(work: Core) -> Core:
    """Identity and square networks as linear and quadratic forms: no neurons are left."""
    first, last = work.weights[0], work.weights[-1]
    bias = work.biases[0]
    if work.activations[0] == "identity":
        linear, shift = first, bias
        for weight, more in zip(work.weights[1:], work.biases[1:], strict=True):
            linear, shift = weight @ linear, weight @ shift + more
        work.linear, work.biases[-1] = linear, shift
    else:  # sum_i a_i (w_i.x + b_i)^2 / 2
        work.quadratic = 0.5 * torch.einsum("oi,ij,ik->ojk", last, first, first)
        work.linear = torch.einsum("oi,i,ij->oj", last, bias, first)
        work.biases[-1] = work.biases[-1] + 0.5 * last @ bias.square()
    work.weights = [
        weight.new_zeros(
            weight.shape[0] if k == len(work.weights) - 1 else 0,
            weight.shape[1] if k == 0 else 0,
        )
        for k, weight in enumerate(work.weights)
    ]
    work.biases[:-1] = [bias.new_zeros(0) for bias in work.biases[:-1]]
    work.copies = [[] for _ in work.copies]
    return work


def _normalised(work: Core, layer: int, symmetry: Symmetry) -> Core:
    """Homogeneous activations: input weights (with bias) of length 1, the rest in the outputs.

    Neurons with input weights 0 are left alone (they are constant and will be removed).
    """
    if symmetry.degree is None:
        return work
    rows = torch.cat([work.weights[layer].flatten(1), work.biases[layer][:, None]], dim=1)
    length = rows.norm(dim=1)
    length = torch.where(length > 0.0, length, torch.ones_like(length))
    weights, biases = list(work.weights), list(work.biases)
    weights[layer] = weights[layer] / along(length, weights[layer], 0)
    biases[layer] = biases[layer] / length
    weights[layer + 1] = weights[layer + 1] * along(length**symmetry.degree, weights[layer + 1], 1)
    return replace(work, weights=weights, biases=biases)


def reduce_phase(difference: torch.Tensor, symmetry: Symmetry) -> tuple[torch.Tensor, torch.Tensor]:
    """Differences of biases up to half periods: (what is left, sign of the shift)."""
    if symmetry.half_period is None:
        return difference, torch.ones_like(difference)
    turns = torch.round(difference / symmetry.half_period)
    return difference - turns * symmetry.half_period, 1.0 - 2.0 * (turns % 2)


def _distance(output: torch.Tensor, target: torch.Tensor, coef: torch.Tensor) -> float:
    return math.sqrt(float((coef[:, None] * (output - target).square()).sum()))


def _fewer(
    work: Core, layer: int, symmetry: Symmetry, x: torch.Tensor, tolerance: float, near: float
) -> Iterator[Core]:
    """Networks with a unit less in this layer, the most promising first."""
    if not work.widths[layer]:
        return
    for i in range(work.weights[layer].shape[0]):
        if not bool(work.weights[layer + 1][:, i].any()):
            yield _removed(work, layer, i, 0.0)
    for _, i, j, sign, flip in _pairs(work, layer, symmetry, near):
        yield _merged(work, layer, symmetry, i, j, sign, flip)
    value = work.inputs(x, layer + 1)[-1]
    # Of a channel: all its positions.
    value = value.reshape(value.shape[0], work.weights[layer].shape[0], -1).movedim(1, 2)
    value = value.flatten(0, 1)
    mean = value.mean(0)
    lengths = work.weights[layer + 1].movedim(1, 0).flatten(1).norm(dim=1)
    strength = (value - mean).square().mean(0).sqrt() * lengths
    for i in torch.argsort(strength).tolist():
        if work.plain and len(work.copies) == 1 and float(strength[i]) > 3.0 * tolerance:
            return  # beside one hidden layer that is what the outputs would lose
        yield _removed(work, layer, i, float(mean[i]))


def _pairs(
    work: Core, layer: int, symmetry: Symmetry, near: float
) -> list[tuple[float, int, int, float, float]]:
    """Pairs of similar neurons, closest first: (distance, i, j, reflected, shifted)."""
    weight, bias = work.weights[layer].flatten(1), work.biases[layer]
    length = torch.sqrt(weight.square().sum(1) + bias.square()).clamp_min(1e-300)
    longest = torch.maximum(length[:, None], length[None, :])
    # A ramp and its mirror image are a neuron and a linear function: two neurons, not one.
    signs = (1.0, -1.0) if symmetry.free else (1.0,)
    pairs = []
    for sign in signs:
        gap = (weight[:, None] - sign * weight[None]).square().sum(2)
        rest, flip = reduce_phase(bias[:, None] - sign * bias[None], symmetry)
        distance = torch.sqrt(gap + rest.square()) / longest
        pairs += [
            (float(distance[i, j]), i, j, sign, float(flip[i, j]))
            for i, j in (distance < near).nonzero().tolist()
            if i < j
        ]
    return sorted(pairs)


def _merged(
    work: Core, layer: int, symmetry: Symmetry, i: int, j: int, sign: float, flip: float
) -> Core:
    """A copy in which neuron j has joined neuron i.

    With ``v_j`` close to ``sign v_i`` the copies' outputs add, and their input weights meet at the
    mean weighted by output weights, which keeps the output to second order in their distance.
    """
    weights, biases = list(work.weights), list(work.biases)
    column, factor = weights[layer + 1][:, j], flip
    row, shift = weights[layer][j], biases[layer][j]
    if sign < 0.0:
        reflection = symmetry.reflection
        assert reflection is not None
        factor = flip * reflection.sign
        biases[layer + 1] = biases[layer + 1] + total(column) * reflection.offset
        row, shift = -row, -shift
    column = factor * column
    both = weights[layer + 1][:, i] + column
    turned, _ = reduce_phase(biases[layer][i] - shift, symmetry)
    shift = biases[layer][i] - turned
    power = float((both * both).sum())
    share = float((column * both).sum()) / power if power > 0.0 else 0.5
    if not -0.5 <= share <= 1.5:  # nearly cancelling: the mean would be thrown far off
        share = 0.5
    keep = [k for k in range(weights[layer].shape[0]) if k != j]
    rows, shifts, outgoing = (
        weights[layer].clone(),
        biases[layer].clone(),
        weights[layer + 1].clone(),
    )
    rows[i] = (1.0 - share) * rows[i] + share * row
    shifts[i] = (1.0 - share) * shifts[i] + share * shift
    outgoing[:, i] = both
    weights[layer], biases[layer] = rows[keep], shifts[keep]
    weights[layer + 1] = outgoing[:, keep]
    copies = [list(counts) for counts in work.copies]
    copies[layer][i] += copies[layer].pop(j)
    return replace(work, weights=weights, biases=biases, copies=copies)


def _removed(work: Core, layer: int, i: int, level: float) -> Core:
    """A copy without neuron i, its mean activation moved into the next bias."""
    weights, biases = list(work.weights), list(work.biases)
    keep = [k for k in range(weights[layer].shape[0]) if k != i]
    column = weights[layer + 1][:, i]
    shift = level * total(column)
    biases[layer + 1] = biases[layer + 1] + shift
    weights[layer], biases[layer] = weights[layer][keep], biases[layer][keep]
    weights[layer + 1] = weights[layer + 1][:, keep]
    copies = [list(counts) for counts in work.copies]
    count = copies[layer].pop(i)
    out = replace(work, weights=weights, biases=biases, copies=copies)
    if count > 1:
        out.cancelled += count
    elif bool(shift.any()):
        out.constant += 1
    else:
        out.dead += 1
    return out
