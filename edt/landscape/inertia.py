"""Escape dimensions of a split neuron in closed form: the wide Hessian's signs from narrow sums.

Split neuron j of a critical point into k copies with output shares gamma_i, sum gamma_i = 1. With
z the next layer's pre-activation, a_j the neuron's output weights and x its inputs (a 1 appended
for the bias),

    B = sum_n (a_j . dL/dz_n) sigma''(w_j.x_n) x_n x_n^T          [D, D]
    P = sum_n (dL/dz_n) sigma'(w_j.x_n) x_n^T                     [o, D]

the wide Hessian is congruent to ``H_narrow (+) [[Gamma (x) B, P^T], [P, 0]]`` on the k - 1
directions in which the copies differ. Directions in which copies differ move z only at second
order, so the same holds at any depth. Let q = rank P, Z a basis of its kernel and n+, n-, n0 the
numbers of positive, negative and zero shares:

    n_neg  = n_neg(H)  + (n+ - 1) n_neg(Z'BZ) + n- n_pos(Z'BZ) + (k-1) q
    n_pos  = n_pos(H)  + (n+ - 1) n_pos(Z'BZ) + n- n_neg(Z'BZ) + (k-1) q
    n_zero = n_zero(H) + (k-1)(o - q) + (k-1-n0) n_zero(Z'BZ) + n0 (D - q)

A constant unit (input weights 0, bias c, output weights 0) keeps criticality too. With
``S = sigma'(c) sum_n (dL/dz_n) x_n^T [o, D]`` the wide Hessian is congruent to
``H_narrow (+) [[0, S^T], [S, 0]]``: rank S directions lead down, as many up, D + o - 2 rank S are
flat. (Second derivatives over the new output weights are those over the next biases, times
sigma(c); those over the new input weights vanish but for S.)

Only signs carry over, not eigenvalues.

A unit may be a channel of a convolution (networks of modules): sums run over positions p as well,
x_np are patches, ``a_j . dL/dz_n`` is ``sum_k a_k c_npk`` with c_npk the derivative of the loss in
the channel's value at p through its output weight k alone, and P has a row for each of its K output
weights (taps, positions of a linear layer, times outputs): o reads K. A constant channel keeps
criticality where the next layer has no margins, or ``sigma(c) = 0``.

All of this holds at critical points: where the gradient on the neuron's trainable weights is zero,
as a share of the terms that cancel in it, and so small against its output weights that P is known
(``a.P`` is that gradient, and says nothing of P where a is nearly 0). A constant unit needs more:
a gradient of zero on the next biases, hence trainable ones, or ``sigma(c) = 0``. Where a premise
fails the functions refuse.

Reference: K. Fukumizu, S. Amari, Neural Networks 13 (2000) 317, theorems 1 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from edt.curvature import count_directions
from edt.curvature.verdicts import FACTOR, UNIT
from edt.ensemble import ModuleEnsemble
from edt.ensemble.kinds import Networks, is_networks
from edt.landscape.embed import split_shares
from edt.landscape.grow import Growth
from edt.landscape.layers import Layer, Network, derivatives, loss_of, run, target_of
from edt.landscape.stages import layers_of, sample_shaped
from edt.ops.threads import one_blas_thread
from edt.scalars import index
from edt.tasks import Task
from edt.tasks.given import check_sizes, samples_of, task_and_networks

Counts = tuple[int, int, int]

#: Counts that are not predicted, because a premise fails.
UNKNOWN: Counts = (-1, -1, -1)

#: A gradient above this share of the terms that cancel in it is not that of a critical point.
PREMISE = 1e-6
#: Nor, whatever its own terms, one above this share of the terms of a unit of slope 1.
ROUNDED = 1e-12


@dataclass(frozen=True)
class SplitMatrices:
    """B and P of one neuron, and the signs that count.

    Attributes:
        B: float64 ``[D, D]`` over the neuron's trainable input weights (and bias).
        P: float64 ``[o, D]`` over its trainable output weights.
        eps_B: eigenvalues of B within this are zero: ``10 u D`` times the norm of the sum of the
            absolute terms (the terms cancel, so the norm of B itself would be too optimistic).
        eps_P: singular values of P within this are zero: the same for P, and at least what the
            gradient ``a.P``, zero at an exact critical point, says about the distance to one.
        unmet: which premise fails at this neuron, in words; empty where none does.
    """

    B: torch.Tensor
    P: torch.Tensor
    eps_B: float
    eps_P: float
    unmet: str = ""

    @property
    def rank(self) -> int:
        """q = rank P."""
        return self._kernel[0]

    @property
    def eigenvalues(self) -> torch.Tensor:
        """Eigenvalues of B restricted to the kernel of P, ascending, ``[D - q]``."""
        _, basis = self._kernel
        if not basis.shape[1]:
            return self.B.new_zeros(0)
        inner = basis.T @ self.B @ basis
        values: torch.Tensor = torch.linalg.eigvalsh((inner + inner.T) / 2)
        return values

    @cached_property
    def signs(self) -> Counts:
        """Numbers of negative, zero and positive eigenvalues of B on the kernel of P."""
        values = self.eigenvalues
        negative = int((values < -self.eps_B).sum())
        positive = int((values > self.eps_B).sum())
        return negative, values.numel() - negative - positive, positive

    @cached_property
    def _kernel(self) -> tuple[int, torch.Tensor]:
        size = self.B.shape[0]
        if not self.P.shape[0] or not size:
            return 0, torch.eye(size, dtype=self.B.dtype, device=self.B.device)
        _, singular, right = torch.linalg.svd(self.P, full_matrices=True)
        rank = int((singular > self.eps_P).sum())
        return rank, right[rank:].T


def split_matrices(
    task: Task, ens: Networks, b: int = 0, *, layer: int = 0, target: int = 0
) -> list[SplitMatrices]:
    """B and P of every neuron of one hidden layer of network b.

    Args:
        task: data.
        ens: networks; only network b is looked at.
        b: network.
        layer: hidden layer, from 0.
        target: the network's task index.

    Returns:
        one `SplitMatrices` per neuron.

    Raises:
        ValueError: no such layer. IndexError: no such network.
    """
    task, ens = _data_and_networks(task, ens)
    b = index("b", b, ens.B)
    with one_blas_thread():  # small sums: threads cost more than they give
        return _matrices([_double(item) for item in layers_of(ens, b)], ens, task, layer, target)


def predicted_inertia(
    narrow: Counts, matrices: SplitMatrices, mu: float | Sequence[float] = 0.5
) -> Counts:
    """Signs of the wide Hessian: numbers of negative, zero and positive eigenvalues.

    Args:
        narrow: (n_neg, n_zero, n_pos) of the narrow Hessian.
        matrices: of the neuron that is split.
        mu: output shares as in `edt.landscape.embed.split`.

    Returns:
        (n_neg, n_zero, n_pos) of the wide Hessian; the formulas are at the top of this file.

    Raises:
        ValueError: the neuron is not where the formulas hold (``matrices.unmet``).
    """
    if matrices.unmet:
        raise ValueError(f"matrices must be of a neuron on a critical point: {matrices.unmet}")
    shares = split_shares(mu)
    copies = len(shares)
    plus = sum(share > 0.0 for share in shares)
    minus = sum(share < 0.0 for share in shares)
    none = copies - plus - minus
    q = matrices.rank
    negative, zero, positive = matrices.signs
    inputs, outputs = matrices.B.shape[0], matrices.P.shape[0]
    return (
        narrow[0] + (plus - 1) * negative + minus * positive + (copies - 1) * q,
        narrow[1] + (copies - 1) * (outputs - q) + (copies - 1 - none) * zero + none * (inputs - q),
        narrow[2] + (plus - 1) * positive + minus * negative + (copies - 1) * q,
    )


def constant_inertia(
    narrow: Counts,
    task: Task,
    ens: Networks,
    b: int = 0,
    *,
    bias: float = 0.0,
    layer: int = 0,
    target: int = 0,
) -> Counts:
    """Signs of the Hessian after a constant unit is added by `edt.landscape.embed.constant`.

    Args:
        narrow: (n_neg, n_zero, n_pos) of the narrow Hessian.
        task: data.
        ens: networks with trainable biases in the next layer; without them the unit's own output,
            ``sigma(bias)``, must be 0. Only network b is looked at.
        b: network, on a critical point.
        bias: of the new unit, whose output weights are 0.
        layer: hidden layer, from 0.
        target: the network's task index.

    Returns:
        (n_neg, n_zero, n_pos) of the wide Hessian; the formula is at the top of this file.

    Raises:
        ValueError: the wide network would be on no critical point: the next biases are frozen,
            pruned or missing while ``sigma(bias)`` is not 0, or their gradient is not zero.
    """
    task, ens = _data_and_networks(task, ens)
    rank, inputs, outputs = _constant(ens, task, b, layer, target, [bias])
    q = rank if _slope(layers_of(ens, b)[layer + 1], ens, bias) else 0
    return narrow[0] + q, narrow[1] + inputs + outputs - 2 * q, narrow[2] + q


def grown_inertia(
    growth: Growth,
    task: Task,
    ens: Networks,
    task_index: torch.Tensor | None = None,
    inertia: torch.Tensor | None = None,
) -> torch.Tensor:
    """Signs of the Hessians of networks grown by splitting or by constant units.

    They are known from the narrow networks alone.

    The neurons that were split contribute independently, in one layer or several: copies that
    differ change nothing downstream at first order, so no second derivative couples two groups.
    Hence ``n_neg`` and ``n_pos`` are those of the narrow Hessian plus, for every neuron with its
    shares, the terms at the top of this file; constant units likewise. ``n_zero`` is what is left
    of the parameters.

    Args:
        growth: from `edt.landscape.embed.grow` with ``how="split"`` or "constant".
        task: data.
        ens: the B narrow networks it was made from, on critical points.
        task_index: int64 ``[B]``, of the narrow networks; default 0.
        inertia: int64 ``[B, 3]``, (n_neg, n_zero, n_pos) of the narrow Hessians; computed if not
            given.

    Returns:
        int64 ``[M, 3]``, (n_neg, n_zero, n_pos) of each wide Hessian.

    Raises:
        ValueError: a neuron was added with random input weights and output weights 0: that is no
            critical point.
    """
    task, ens = _data_and_networks(task, ens)
    index = torch.zeros(ens.B, dtype=torch.int64) if task_index is None else task_index
    if inertia is None:
        found = count_directions(task, ens, task_index=index)
        inertia = torch.stack([found.n_neg, found.n_zero, found.n_pos], dim=1)
    matrices: dict[tuple[int, int], list[SplitMatrices]] = {}
    constants: dict[tuple[int, int], int] = {}
    rows = []
    sources, sizes = growth.source.tolist(), growth.networks.coords.tolist()
    for i, (b, size, parents, shares) in enumerate(
        zip(sources, sizes, growth.parents, growth.shares, strict=True)
    ):
        negative, positive = int(inertia[b, 0]), int(inertia[b, 2])
        for layer, (parent, share) in enumerate(zip(parents, shares, strict=True)):
            alive = _constant_slopes(growth, i, layer, parent)
            if alive:
                if (b, layer) not in constants:
                    values = _constant_biases(growth, i, layer, parent)
                    rank = _constant(ens, task, b, layer, int(index[b]), values)[0]
                    constants[b, layer] = rank
                more_each = constants[b, layer]
                negative, positive = negative + alive * more_each, positive + alive * more_each
            for j in range(int(parent.max()) + 1):
                gamma = tuple(share[parent == j].tolist())
                if len(gamma) == 1:
                    continue
                if (b, layer) not in matrices:
                    matrices[b, layer] = split_matrices(
                        task, ens, b, layer=layer, target=int(index[b])
                    )
                more = predicted_inertia((0, 0, 0), matrices[b, layer][j], gamma)
                negative, positive = negative + more[0], positive + more[2]
        rows.append((negative, size - negative - positive, positive))
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)


def _data_and_networks(task: Any, ens: Any) -> tuple[Task, Networks]:
    """Samples and networks of either kind, given in either order."""
    if is_networks(task) and not is_networks(ens):
        task, ens = ens, task
    made, ens = task_and_networks(task, ens)
    if not isinstance(ens, ModuleEnsemble):
        check_sizes(made, ens)
        return made, ens
    return samples_of(task), ens


def _constant(
    ens: Networks, task: Task, b: int, layer: int, target: int, biases: Sequence[float]
) -> tuple[int, int, int]:
    """Rank of S, and the numbers of input and output weights of new units with these biases."""
    with one_blas_thread():
        layers = [_double(item) for item in layers_of(ens, b)]
        into, out = layers[layer], layers[layer + 1]
        if out.kinked:
            raise ValueError(
                f"layer {layer + 1} of network {b} must not take maxima of a constant channel: "
                "equal values make a kink, and no Hessian"
            )
        inputs, before, slope_of = _backward(layers, ens, task, target, layer)
        rows = into.patches(inputs)
        x = torch.cat([rows, rows.new_ones(rows.shape[0], 1)], dim=1)
        # Without maxima no value matters: any unit's pre-activations do.
        delta = out.upstream(slope_of, before[:, 0], _activation(ens))
        matrix, sizes = delta.T @ x, delta.abs().T @ x.abs()
        state = out.bias_state
        free = state is not None and bool((state == 1).all())
        constants = torch.tensor(list(biases), dtype=torch.float64)
        values = out.activation(_activation(ens))(constants)
        if out.margins and bool((values != 0.0).any()):
            raise ValueError(
                f"bias must make an output of 0 where the next layer has margins, as layer "
                f"{layer + 1} of network {b} has: else the wide network is on no critical point"
            )
        free = free and not out.margins
        if not free and bool((values != 0.0).any()):
            raise ValueError(
                f"ens must have trainable biases in layer {layer + 1} of network {b}: a constant "
                "unit with an output of its own is on no critical point without them"
            )
        slope, terms = float(matrix[:, -1].norm()), float(sizes[:, -1].norm())
        if free and slope > PREMISE * terms:
            raise ValueError(
                f"network {b} must be on a critical point: the gradient on the biases of layer "
                f"{layer + 1} is {slope:.1e}, of terms of {terms:.1e}"
            )
        noise = FACTOR * UNIT[torch.float64] * x.shape[1] * _norm(sizes)
        # The column of ones is the gradient on the next biases: zero at an exact critical point.
        limit = max(noise, FACTOR * slope if free else 0.0)
        rank = int((torch.linalg.svdvals(matrix) > limit).sum())
    return rank, x.shape[1], delta.shape[1]


def _constant_biases(growth: Growth, i: int, layer: int, parent: torch.Tensor) -> list[float]:
    """Biases of the units without a parent."""
    into = layers_of(growth.networks, i)[layer]
    assert into.bias is not None
    return [float(value) for value in into.bias[torch.nonzero(parent < 0).flatten()]]


def _constant_slopes(growth: Growth, i: int, layer: int, parent: torch.Tensor) -> int:
    """How many units without a parent are constant with a slope; others must not be there."""
    new = torch.nonzero(parent < 0).flatten()
    if not new.numel():
        return 0
    into, out = layers_of(growth.networks, i)[layer : layer + 2]
    if into.bias is None or bool(into.weight[new].any()):
        raise ValueError(
            "growth must be by splitting or constant units: a neuron with random input weights "
            "and output weights 0 is on no critical point"
        )
    biases = into.bias[new].tolist()
    return sum(_slope(out, growth.networks, value) for value in biases)


def _slope(out: Layer, ens: Networks, bias: float) -> bool:
    """Whether ``sigma'(bias)`` is not 0 before a layer."""
    function = out.activation(_activation(ens))
    first, _ = derivatives(function, torch.tensor([bias], dtype=torch.float64))
    return bool(first.abs() > 0.0)


def _activation(ens: Networks) -> str:
    """Of chains; networks of modules have it among their stages."""
    return str(getattr(ens, "activation", ""))


def _matrices(
    layers: Network, ens: Networks, task: Task, layer: int, target: int
) -> list[SplitMatrices]:
    if not 0 <= layer < len(layers) - 1:
        raise ValueError(f"layer must be a hidden layer 0..{len(layers) - 2}, got {layer}")
    into, out = layers[layer], layers[layer + 1]
    inputs, before, slope_of = _backward(layers, ens, task, target, layer)
    sigma = out.activation(_activation(ens))
    firsts, seconds = derivatives(sigma, before)
    inputs = into.patches(inputs)
    if into.bias is not None:
        inputs = torch.cat([inputs, inputs.new_ones(inputs.shape[0], 1)], dim=1)
    found = []
    for j in range(into.weight.shape[0]):
        delta = out.upstream(slope_of, before[:, j], _activation(ens))
        first, second = firsts[:, j].flatten(), seconds[:, j].flatten()
        free_in = into.weight_state[j].flatten() == 1
        if into.bias_state is not None:
            free_in = torch.cat([free_in, into.bias_state[j : j + 1] == 1])
        free_out = out.weight_state[:, j].flatten() == 1
        x = inputs[:, free_in]
        a = out.weight[:, j].flatten()
        pull = delta @ a
        # What the gradient on the inputs, zero at an exact critical point, says about P: a frozen
        # output counts here, though it has no row in P.
        length = float(a.norm())
        forced = x.T @ (pull * first)
        slack = float(forced.norm()) / length if length > 0.0 else 0.0
        terms = _norm((delta * first[:, None]).abs().T @ x.abs())
        # The gradient on the output weights is a sum like P, with the unit's output for its inputs.
        value = sigma(before[:, j].flatten())
        rise = float((delta[:, free_out].T @ value).norm())
        rises = float((delta[:, free_out].abs().T @ value.abs()).norm())
        unmet = ""
        # A unit that is silent on nearly all data has terms of the size of rounding.
        least = ROUNDED * _norm(delta.abs().T @ x.abs())
        if slack > max(PREMISE * terms, least):
            unmet = (
                f"of neuron {j} the gradient on the input weights is {float(forced.norm()):.1e} at "
                f"output weights of {length:.1e}, so that P is not known to be 0 along them"
            )
        elif rise > max(PREMISE * rises, least):
            unmet = (
                f"the gradient on the output weights of neuron {j} is {rise:.1e}, of terms of "
                f"{rises:.1e}"
            )
        one = _one(x, pull * second, delta[:, free_out], first, slack)
        found.append(replace(one, unmet=unmet))
    return found


def _one(
    x: torch.Tensor, second: torch.Tensor, delta: torch.Tensor, slope: torch.Tensor, slack: float
) -> SplitMatrices:
    size = x.shape[1]
    B = x.T @ (second[:, None] * x)
    terms = x.T @ (second.abs()[:, None] * x)
    P = (delta * slope[:, None]).T @ x
    sizes = (delta * slope[:, None]).abs().T @ x.abs()
    noise = FACTOR * UNIT[torch.float64] * max(size, 1)
    eps_P = max(noise * _norm(sizes), FACTOR * slack)
    return SplitMatrices(B, P, noise * _norm(terms), eps_P)


def _norm(matrix: torch.Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix)) if matrix.numel() else 0.0


def _double(layer: Layer) -> Layer:
    bias = None if layer.bias is None else layer.bias.to(torch.float64)
    return replace(layer, weight=layer.weight.to(torch.float64), bias=bias)


def _backward(
    layers: Network, ens: Networks, task: Task, target: int, layer: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs and pre-activations of one layer, and dL/dz of the next: ``[N, ...]`` each."""
    activation = _activation(ens)
    x, y, coef = target_of(task, target)
    y = y.to(torch.float64) if y.is_floating_point() else y
    inputs, before = run(layers, activation, sample_shaped(ens, x.to(torch.float64)))
    after = before[layer + 1].detach().requires_grad_(True)
    with torch.enable_grad():
        value = after
        for following in layers[layer + 2 :]:
            value = following.forward(following.enter(value, activation))
        (delta,) = torch.autograd.grad(loss_of(task, value, y, coef.to(torch.float64)), after)
    return inputs[layer], before[layer], delta
