"""Population loss of relu students of relu teachers under Gaussian inputs, in closed form.

Output weights are 1, inputs x ~ N(0, I). With t the angle between w and v,

    phi(w, v) = E[relu(w.x) relu(v.x)] = |w| |v| (sin t + (pi - t) cos t) / (2 pi)
    F(W)      = E[(sum_i relu(w_i.x) - sum_j relu(v_j.x))^2] / 2
              = sum_ij phi(w_i, w_j) / 2 - sum_ij phi(w_i, v_j) + sum_ij phi(v_i, v_j) / 2

Reference: Y. Cho, L. Saul, NIPS 2009; I. Safran, O. Shamir, ICML 2018, arXiv 1712.08968.
"""

from __future__ import annotations

import math

import torch

from edt.errors import ShapeError

#: Cosines at which n (below) would divide by zero; the terms vanish there.
_TINY = 1e-150


def population_loss(students: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """F of each student.

    Args:
        students: float64 ``[R, n, d]``, input weights; no row may be zero.
        teacher: float64 ``[k, d]``.

    Returns:
        float64 ``[R]``.

    Raises:
        ShapeError: sizes do not fit.

    Example:
        >>> float(population_loss(torch.eye(3).double()[None], torch.eye(3).double()))
        0.0
    """
    _check(students, teacher)
    own, cross = _kernel(students, students), _kernel(students, teacher.expand(1, -1, -1))
    fixed = _kernel(teacher[None], teacher[None])
    loss: torch.Tensor = 0.5 * own.sum((1, 2)) - cross.sum((1, 2)) + 0.5 * fixed.sum()
    return loss


def population_gradient(students: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """dF/dW of each student.

    ``dF/dw_i = sum_u s_u (|u| sin t w_i/|w_i| + (pi - t) u) / (2 pi)`` over students (s = 1) and
    teachers (s = -1).

    Args:
        students, teacher: as in `population_loss`.

    Returns:
        float64 ``[R, n, d]``.
    """
    _check(students, teacher)
    return Gradient(students, teacher)(students)


class Gradient:
    """`population_gradient` with memory of its own: many calls at one size.

    Args:
        students: an example of the shape ``[R, n, d]``.
        teacher: ``[k, d]``.
    """

    def __init__(self, students: torch.Tensor, teacher: torch.Tensor) -> None:
        runs, n, _ = students.shape
        k = teacher.shape[0]
        self.teacher, self.reach = teacher, torch.linalg.vector_norm(teacher, dim=1)
        # With v_j = e_j, cosines are coordinates and products with V are copies.
        self.axes = torch.equal(teacher, torch.eye(*teacher.shape, dtype=teacher.dtype))
        self.way = (teacher / self.reach[:, None]).T.contiguous()
        # Pairs of students, then pairs with the teacher: one pass of arithmetic over both.
        inner, outer = runs * n * n, runs * n * k
        self.cosine = students.new_empty(inner + outer)
        self.sine = torch.empty_like(self.cosine)
        self.own, self.cross = _two(self.cosine, inner, (runs, n, n), (runs * n, k))
        self.own_sine, self.cross_sine = _two(self.sine, inner, (runs, n, n), (runs * n, k))

    def __call__(self, students: torch.Tensor) -> torch.Tensor:
        """dF/dW; the result is the caller's."""
        runs, n, d = students.shape
        norm = torch.linalg.vector_norm(students, dim=2, keepdim=True)
        unit = students / norm
        torch.bmm(unit, unit.transpose(1, 2), out=self.own)
        if self.axes:
            self.cross.copy_(unit.view(runs * n, d))
        else:
            torch.mm(unit.view(runs * n, d), self.way, out=self.cross)
        self.cosine.clamp_(-1.0, 1.0)
        torch.mul(self.cosine, self.cosine, out=self.sine)
        self.sine.neg_().add_(1.0).sqrt_()
        self.cosine.asin_().add_(0.5 * math.pi)  # pi - t
        radial = torch.bmm(self.own_sine, norm).view(runs * n)
        radial.addmv_(self.cross_sine, self.reach, alpha=-1.0)
        unit.mul_(radial.view(runs, n, 1))
        whole = torch.baddbmm(unit, self.own, students)
        if self.axes:
            whole.view(runs * n, d).sub_(self.cross)
        else:
            whole.view(runs * n, d).addmm_(self.cross, self.teacher, alpha=-1.0)
        return whole.mul_(0.5 / math.pi)


def _two(
    flat: torch.Tensor, at: int, first: tuple[int, ...], second: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two parts of a vector, shaped."""
    return flat[:at].view(first), flat[at:].view(second)


def population_hessian(students: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """d^2F/dW^2 of each student.

    With n(w, v) the unit vector along ``v/|v| - cos t w/|w|``,

        H_ii = I/2 + sum_u s_u |u| sin t (I - w w'/|w|^2 + n(w,u) n(w,u)') / (2 pi |w|)
        H_ij = ((pi - t) I + w_i n(w_i,w_j)'/|w_i| + w_j n(w_j,w_i)'/|w_j|) / (2 pi)

    over the other students (s = 1) and the teachers (s = -1).

    Args:
        students, teacher: as in `population_loss`.

    Returns:
        float64 ``[R, n d, n d]``, symmetric.
    """
    _check(students, teacher)
    runs, n, d = students.shape
    k = teacher.shape[0]
    other = torch.cat([students, teacher.expand(runs, k, d)], dim=1)
    sign = torch.cat([students.new_ones(n), -students.new_ones(k)])
    norm, reach = students.norm(dim=2), other.norm(dim=2)
    unit, way = students / norm[..., None], other / reach[..., None]
    cosine, sine, angle = _angles(unit, way)
    # side[r, i, u] = n(w_i, u), zero where u is parallel to w_i.
    side = way[:, None] - cosine[..., None] * unit[:, :, None]
    length = side.norm(dim=3, keepdim=True)
    side = torch.where(length > 1e-14, side / length.clamp_min(_TINY), torch.zeros_like(side))
    pull = sign * reach[:, None, :] * sine / norm[..., None]
    pull[:, torch.arange(n), torch.arange(n)] = 0.0
    across = torch.einsum("riu,riua,riub->riab", pull, side, side)
    eye = torch.eye(d, dtype=students.dtype)
    plane = eye - unit[..., :, None] * unit[..., None, :]
    own = 0.5 * eye + (pull.sum(2)[..., None, None] * plane + across) / (2.0 * math.pi)
    inner = side[:, :, :n]
    block = (math.pi - angle[:, :, :n, None, None]) * eye
    block = block + torch.einsum("rja,rijb->rijab", way[:, :n], inner.transpose(1, 2))
    block = (block + torch.einsum("ria,rijb->rijab", unit, inner)) / (2.0 * math.pi)
    block[:, torch.arange(n), torch.arange(n)] = own
    full = block.permute(0, 1, 3, 2, 4).reshape(runs, n * d, n * d)
    return 0.5 * (full + full.transpose(1, 2))


def _kernel(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """phi of all pairs: ``[R, n, d]`` and ``[R or 1, k, d]`` to ``[R, n, k]``."""
    norm, reach = one.norm(dim=2), other.norm(dim=2)
    cosine, sine, angle = _angles(one / norm[..., None], other / reach[..., None])
    product = norm[:, :, None] * reach[:, None, :]
    kernel: torch.Tensor = product * (sine + (math.pi - angle) * cosine) / (2.0 * math.pi)
    return kernel


def _angles(
    unit: torch.Tensor, way: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cosine, sine and angle of all pairs of unit vectors."""
    cosine = (unit @ way.transpose(1, 2)).clamp(-1.0, 1.0)
    return cosine, (1.0 - cosine * cosine).sqrt(), torch.acos(cosine)


def _check(students: torch.Tensor, teacher: torch.Tensor) -> None:
    if students.dim() != 3 or teacher.dim() != 2 or students.shape[2] != teacher.shape[1]:
        raise ShapeError(
            "students must have shape [R, n, d] and teacher [k, d], got "
            f"{list(students.shape)} and {list(teacher.shape)}"
        )
    if students.dtype != torch.float64 or teacher.dtype != torch.float64:
        raise TypeError(f"students and teacher must be float64, got {students.dtype}")
