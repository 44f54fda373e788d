"""The loss of one-hidden-layer networks over infinitely many normal inputs, exactly.

With students ``f(x) = sum_i a_i sigma(w_i.x + b_i) + c`` and the teacher alike, put all neurons in
one list with output weights ``s_u`` (a teacher's with a minus sign) and ``e = c - c_teacher``. Then

    L = E|f - g|^2 = sum_u |s_u|^2 V_u + 2 sum_{u<v} s_u.s_v K_uv + 2 sum_u s_u.e M_u + |e|^2

(M, V, K: `edt.infinite.normal`). Gradient and Hessian follow by the chain rule from the
derivatives of K over means, variances and the covariance. Cost: quadratic in the number of
neurons.

L is a difference of terms of the size of the squared outputs, so it is exact to about 1e-15 of
*those*: at a zero of the loss it reads 1e-15, where finite data reads 1e-30.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from edt.infinite.normal import Singles, pairs, singles
from edt.ops.threads import one_blas_thread

if TYPE_CHECKING:
    from edt.ensemble import Ensemble

__all__ = ["PopulationObjective"]

#: Rounding of the loss as a multiple of the sum of the magnitudes of its terms.
ROUNDING = 4.0 * 2.0**-52


class PopulationObjective:
    """Population losses of B networks; see `edt.objectives.Objective` for the methods.

    Args:
        ens: students; only their structure is used.
        teachers: networks of the same activation with as many inputs and outputs.
        index: int64 ``[B]``, each student's teacher.

    Attributes:
        rounding: float64 ``[B]``, rounding error of the losses last computed.
    """

    def __init__(self, ens: Ensemble, teachers: Ensemble, index: torch.Tensor) -> None:
        self._widths = ens.layer_widths[:, 1].to(torch.int64)
        self._bias = bool(ens.has_bias)
        self._activation = ens.activation
        self.B = int(ens.B)
        self.offsets = ens.offsets.to(torch.int64)
        self.coords = ens.coords.to(torch.int64)
        self.trainable = ens.state == 1
        self._pruned = ens.state == 0
        self.squares = True
        self._d_in, self._d_out = int(ens.d_in), int(ens.d_out)
        self._index = index.to(torch.int64)
        self._teachers = [_parts(teachers.network(t)) for t in range(int(teachers.B))]
        self.scale = torch.stack([_size(part, self._activation) for part in self._teachers])
        self.scale = self.scale[self._index]
        self.rounding = torch.zeros(self.B, dtype=torch.float64)

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Objective`."""
        for group, terms in self._terms(theta, active, 1):
            loss[group] = terms.loss()
            self.rounding[group] = ROUNDING * terms.magnitude()

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Objective`."""
        for group, terms in self._terms(theta, active, 1):
            loss[group] = terms.loss()
            self.rounding[group] = ROUNDING * terms.magnitude()
            rows = self._flatten(terms.gradient())
            for b, row in zip(group.tolist(), rows, strict=True):
                span = slice(int(self.offsets[b]), int(self.offsets[b + 1]))
                grad[span] = torch.where(self.trainable[span], row, torch.zeros_like(row))

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        out_offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Exact Hessians or Gauss-Newton matrices; see `Objective`."""
        for group, terms in self._terms(theta, active, 2):
            order = self._order(terms.m)
            for b, matrix in zip(group.tolist(), terms.hessian(ggn), strict=True):
                span = slice(int(self.offsets[b]), int(self.offsets[b + 1]))
                places = order[torch.nonzero(self.trainable[span]).flatten()]
                size, begin = places.numel(), int(out_offsets[b])
                out[begin : begin + size * size] = matrix[places][:, places].reshape(-1)

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Products with K vectors (the matrix is formed); see `Objective`."""
        for group, terms in self._terms(theta, active, 2):
            order = self._order(terms.m)
            for b, matrix in zip(group.tolist(), terms.hessian(ggn), strict=True):
                span = slice(int(self.offsets[b]), int(self.offsets[b + 1]))
                here = self.trainable[span]
                places = order[torch.nonzero(here).flatten()]
                columns = vectors[:, span][:, here].T
                out[:, span] = 0.0
                product = (matrix[places][:, places] @ columns).T
                out[:, torch.nonzero(here).flatten() + span.start] = product

    def target_variance(self) -> torch.Tensor:
        """``E|g|^2 - |E g|^2`` of each teacher, float64 ``[T]``."""
        out = []
        for part in self._teachers:
            terms = Terms(*part, 0, self._activation, 1)
            mean = (part[2] * terms.mean.value[..., None]).sum(1) + part[3]
            out.append(terms.loss()[0] - (mean * mean).sum())
        return torch.stack(out)

    def _terms(
        self, theta: torch.Tensor, active: torch.Tensor | None, order: int
    ) -> Iterator[tuple[torch.Tensor, Terms]]:
        """`_groups`, with one thread for what is done between them: the tensors are small."""
        with one_blas_thread():
            yield from self._groups(theta, active, order)

    def _groups(
        self, theta: torch.Tensor, active: torch.Tensor | None, order: int
    ) -> Iterator[tuple[torch.Tensor, Terms]]:
        """The active networks in groups of one width and one teacher."""
        chosen = torch.ones(self.B, dtype=torch.bool) if active is None else active.bool()
        theta = torch.where(self._pruned, torch.zeros_like(theta), theta)
        keys = sorted(
            {
                (int(self._widths[b]), int(self._index[b]))
                for b in torch.nonzero(chosen).flatten().tolist()
            }
        )
        for m, t in keys:
            group = torch.nonzero(chosen & (self._widths == m) & (self._index == t)).flatten()
            rows = torch.stack(
                [theta[int(self.offsets[b]) : int(self.offsets[b + 1])] for b in group.tolist()]
            )
            weights, biases, outputs, rest = _unflatten(
                rows, m, self._d_in, self._d_out, self._bias
            )
            own = self._teachers[t]
            count = group.numel()
            yield (
                group,
                Terms(
                    torch.cat([weights, own[0].expand(count, -1, -1)], 1),
                    torch.cat([biases, own[1].expand(count, -1)], 1),
                    torch.cat([outputs, -own[2].expand(count, -1, -1)], 1),
                    rest - own[3],
                    m,
                    self._activation,
                    order,
                ),
            )

    def _order(self, m: int) -> torch.Tensor:
        """Place in the blocks (w, b of each neuron; a of each; e) of every flat parameter."""
        d, o = self._d_in, self._d_out
        neuron = torch.arange(m)
        weights = (neuron[:, None] * (d + 1) + torch.arange(d)).reshape(-1)
        outputs = m * (d + 1) + (neuron[None, :] * o + torch.arange(o)[:, None]).reshape(-1)
        if not self._bias:
            return torch.cat([weights, outputs])
        biases = neuron * (d + 1) + d
        rest = m * (d + 1) + m * o + torch.arange(o)
        return torch.cat([weights, biases, outputs, rest])

    def _flatten(self, blocks: torch.Tensor) -> torch.Tensor:
        """``[R, blocks] -> [R, total]`` in the flat order of networks."""
        d, o = self._d_in, self._d_out
        m = (blocks.shape[1] - o) // (d + 1 + o)
        return blocks[:, self._order(m)]


class Terms:
    """M, V, K of R networks of one width with their derivatives, and what is made of them.

    Args:
        weights: ``[R, n, d]``, students first.
        biases: ``[R, n]``.
        outputs: s, ``[R, n, o]``.
        rest: e, ``[R, o]``.
        m: number of students.
        activation: name.
        order: 1 or 2, of the derivatives.
    """

    def __init__(
        self,
        weights: torch.Tensor,
        biases: torch.Tensor,
        outputs: torch.Tensor,
        rest: torch.Tensor,
        m: int,
        activation: str,
        order: int,
    ) -> None:
        self.w, self.s, self.e, self.m = weights, outputs, rest, m
        self._smooth = activation != "relu"
        v = (weights * weights).sum(2)
        c = (weights[:, :, None] * weights[:, None]).sum(3)
        self.mean, self.square = singles(activation, biases, v, order)
        self.k = pairs(
            activation, biases[:, :, None], biases[:, None], v[:, :, None], v[:, None], c, order
        )
        self.eye = torch.eye(weights.shape[1], dtype=torch.bool)
        #: K with V on the diagonal.
        value = torch.where(self.eye, self.square.value[:, None], self.k.value)
        self.value = value
        self.pull = (outputs[:, :, None] * outputs[:, None]).sum(3)
        self.lean = (outputs * rest[:, None]).sum(2)
        # Slope of K over (w, b) of its first neuron, [R, n, n, d + 1]; half of V's on the diagonal.
        slope = self.k.slope
        over_w = (
            2.0 * weights[:, :, None] * slope[2][..., None] + weights[:, None] * slope[4][..., None]
        )
        whole = torch.cat([over_w, slope[0][..., None]], 3)
        self.own = _single_slope(self.square, weights)
        self.first = torch.where(self.eye[..., None], 0.5 * self.own[:, :, None], whole)
        self.tilt = _single_slope(self.mean, weights)

    def loss(self) -> torch.Tensor:
        """``[R]``."""
        mean = self.mean.value
        whole = (self.pull * self.value).sum((1, 2)) + 2.0 * (self.lean * mean).sum(1)
        return (whole + (self.e * self.e).sum(1)).clamp_min(0.0)

    def magnitude(self) -> torch.Tensor:
        """Sum of the magnitudes of the terms of the loss, ``[R]``."""
        mean = self.mean.value
        whole = (self.pull * self.value).abs().sum((1, 2)) + 2.0 * (self.lean * mean).abs().sum(1)
        return whole + (self.e * self.e).sum(1)

    def gradient(self) -> torch.Tensor:
        """``[R, m (d + 1) + m o + o]``: (w, b) of each neuron, outputs of each, e."""
        m, mean = self.m, self.mean.value
        inner = 2.0 * (self.pull[:, :m, :, None] * self.first[:, :m]).sum(2)
        inner = inner + 2.0 * self.lean[:, :m, None] * self.tilt[:, :m]
        outer = 2.0 * (self.value[:, :m, :, None] * self.s[:, None]).sum(2)
        outer = outer + 2.0 * mean[:, :m, None] * self.e[:, None]
        rest = 2.0 * (self.s * mean[..., None]).sum(1) + 2.0 * self.e
        return torch.cat([inner.flatten(1), outer.flatten(1), rest], 1)

    def hessian(self, ggn: bool) -> torch.Tensor:
        """``[R, P, P]`` in the order of `gradient`; with ``ggn`` its Gauss-Newton part."""
        assert self.k.second is not None
        runs, m, o = self.w.shape[0], self.m, self.s.shape[2]
        size = self.w.shape[2] + 1
        s, first, mean = self.s[:, :m], self.first[:, :m, :m], self.mean.value[:, :m]
        pull = self.pull[:, :m, :m]
        # (w, b) with (w, b).
        cross = _cross(self.w[:, :m], self.k.slope[:, :, :m, :m], self.k.second[:, :, :, :m, :m])
        own = _single_second(self.square, self.w)[:, :m]
        same = self.eye[:m, :m]
        if ggn and not self._smooth:
            # relu: sigma sigma'' = 0, so V'' is all slope times slope.
            cross = torch.where(same[..., None, None], 0.5 * own[:, :, None], cross)
        block = 2.0 * pull[..., None, None] * cross
        if not ggn:
            away = _along(self.w[:, :m], self.w, self.k.slope[:, :, :m], self.k.second[:, :, :, :m])
            away = away.masked_fill(self.eye[:m, :, None, None], 0.0)
            diagonal = 2.0 * (self.pull[:, :m, :, None, None] * away).sum(2)
            alone = torch.diagonal(self.pull, dim1=1, dim2=2)[:, :m]
            diagonal = diagonal + alone[..., None, None] * own
            bent = _single_second(self.mean, self.w)[:, :m]
            diagonal = diagonal + 2.0 * self.lean[:, :m, None, None] * bent
            block = torch.where(same[..., None, None], diagonal[:, :, None], block)
        inner = block.permute(0, 1, 3, 2, 4).reshape(runs, m * size, m * size)
        # (w, b) with outputs: [R, i, size, j, o].
        mixed = 2.0 * first.permute(0, 1, 3, 2)[..., None] * s[:, :, None, None]
        if not ggn:
            miss = 2.0 * (self.first[:, :m, :, :, None] * self.s[:, None, :, None]).sum(2)
            miss = miss + 2.0 * self.tilt[:, :m, :, None] * self.e[:, None, None]
            mixed = mixed + same[None, :, None, :, None] * miss[:, :, :, None]
        mixed = mixed.reshape(runs, m * size, m * o)
        unit = torch.eye(o, dtype=self.w.dtype)
        outer = 2.0 * self.value[:, :m, :m, None, None] * unit
        outer = outer.permute(0, 1, 3, 2, 4).reshape(runs, m * o, m * o)
        tilt = (2.0 * self.tilt[:, :m, :, None] * s[:, :, None]).reshape(runs, m * size, o)
        level = (2.0 * mean[..., None, None] * unit).reshape(runs, m * o, o)
        corner = (2.0 * unit).expand(runs, o, o)
        top = torch.cat([inner, mixed, tilt], 2)
        middle = torch.cat([mixed.mT, outer, level], 2)
        bottom = torch.cat([tilt.mT, level.mT, corner], 2)
        whole = torch.cat([top, middle, bottom], 1)
        return 0.5 * (whole + whole.mT)


def _single_slope(of: Singles, w: torch.Tensor) -> torch.Tensor:
    """Derivative over (w, b), ``[R, n, d + 1]``."""
    return torch.cat([2.0 * w * of.slope[1][..., None], of.slope[0][..., None]], 2)


def _single_second(of: Singles, w: torch.Tensor) -> torch.Tensor:
    """Second derivative over (w, b), ``[R, n, d + 1, d + 1]``."""
    assert of.second is not None
    eye = torch.eye(w.shape[2], dtype=w.dtype)
    square = 2.0 * of.slope[1][..., None, None] * eye
    square = square + 4.0 * of.second[1, 1][..., None, None] * w[..., :, None] * w[..., None, :]
    edge = 2.0 * of.second[0, 1][..., None] * w
    return _bordered(square, edge, edge, of.second[0, 0])


def _cross(w: torch.Tensor, slope: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """``d^2 K_ij / d(w, b)_i d(w, b)_j`` of students, ``[R, m, m, d + 1, d + 1]``."""
    eye = torch.eye(w.shape[2], dtype=w.dtype)
    one, two = w[:, :, None], w[:, None]
    b = second[..., None, None]
    square = slope[4][..., None, None] * eye
    square = square + 4.0 * b[2, 3] * one[..., :, None] * two[..., None, :]
    square = square + 2.0 * b[2, 4] * one[..., :, None] * one[..., None, :]
    square = square + 2.0 * b[3, 4] * two[..., :, None] * two[..., None, :]
    square = square + b[4, 4] * two[..., :, None] * one[..., None, :]
    right = 2.0 * one * second[2, 1][..., None] + two * second[4, 1][..., None]
    below = 2.0 * two * second[0, 3][..., None] + one * second[0, 4][..., None]
    return _bordered(square, right, below, second[0, 1])


def _along(
    w: torch.Tensor, others: torch.Tensor, slope: torch.Tensor, second: torch.Tensor
) -> torch.Tensor:
    """``d^2 K_ij / d(w, b)_i^2`` of students i with all j, ``[R, m, n, d + 1, d + 1]``."""
    eye = torch.eye(w.shape[2], dtype=w.dtype)
    one, two = w[:, :, None], others[:, None]
    b = second[..., None, None]
    product = one[..., :, None] * two[..., None, :]
    square = 2.0 * slope[2][..., None, None] * eye
    square = square + 4.0 * b[2, 2] * one[..., :, None] * one[..., None, :]
    square = square + 2.0 * b[2, 4] * (product + product.mT)
    square = square + b[4, 4] * two[..., :, None] * two[..., None, :]
    edge = 2.0 * one * second[2, 0][..., None] + two * second[4, 0][..., None]
    return _bordered(square, edge, edge, second[0, 0])


def _bordered(
    square: torch.Tensor, right: torch.Tensor, below: torch.Tensor, corner: torch.Tensor
) -> torch.Tensor:
    """``[[square, right], [below^T, corner]]``."""
    top = torch.cat([square, right[..., :, None]], -1)
    low = torch.cat([below, corner[..., None]], -1)
    return torch.cat([top, low[..., None, :]], -2)


_Parts = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def _unflatten(rows: torch.Tensor, m: int, d: int, o: int, bias: bool) -> _Parts:
    """``[R, total]`` to weights ``[R, m, d]``, biases, outputs ``[R, m, o]``, output biases."""
    runs, at = rows.shape[0], m * d
    weights, biases = rows[:, :at].view(runs, m, d), rows.new_zeros(runs, m)
    if bias:
        biases, at = rows[:, at : at + m], at + m
    outputs = rows[:, at : at + m * o].view(runs, o, m).transpose(1, 2)
    rest = rows[:, at + m * o :] if bias else rows.new_zeros(runs, o)
    return weights, biases, outputs, rest


def _parts(teacher: Ensemble) -> _Parts:
    """The parts of one network, float64."""
    row = teacher.theta.detach().to(torch.float64)[None]
    m = int(teacher.layer_widths[0, 1])
    return _unflatten(row, m, int(teacher.d_in), int(teacher.d_out), bool(teacher.has_bias))


def _size(parts: _Parts, activation: str) -> torch.Tensor:
    """``E|g|^2`` of a teacher: the loss of a zero output."""
    return Terms(*parts, 0, activation, 1).loss()[0]
