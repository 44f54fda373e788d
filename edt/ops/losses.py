"""The losses: what each means in PyTorch, and its number in the compiled core.

With outputs ``f [N, d_out]`` of a network and targets y, the loss of sample n is ``l(f_n, y_n)``.
The core has the same formulas. Everything that depends on the loss asks this table.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch

from edt import _core

__all__ = ["LOSSES", "Loss", "loss_code", "smoothed"]


class Loss(ABC):
    """One loss.

    Attributes:
        classes: whether targets are class numbers ``[N]`` instead of vectors ``[N, d_out]``.
        squares: whether it is a sum of squared residuals.
        shifts: whether adding a number to all outputs changes nothing.
        likelihood: whether ``exp(-l(f, y))`` is, up to a constant, a law of targets; those of an
            exponential family have ``E l' l'^T = l''``.
        signs: whether targets are -1 or 1.
    """

    classes: bool
    squares: bool
    shifts: bool = False
    likelihood: bool = False
    signs: bool = False

    @abstractmethod
    def sample(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``l(f_n, y_n)``: ``[..., N, d_out]`` -> ``[..., N]``."""

    @abstractmethod
    def curve(self, f: torch.Tensor, y: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """``A_n v_n`` with ``A_n = d^2 l_n / df_n^2``, ``[..., N, d_out]``."""

    @abstractmethod
    def size(self, y: torch.Tensor) -> torch.Tensor:
        """Size of l to compare its rounding with, float64 ``[..., N]``."""

    def curvature(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``A_n``, ``[N, d_out, d_out]``."""
        eye = torch.eye(f.shape[-1], dtype=f.dtype, device=f.device)
        rows = [self.curve(f, y, unit.expand_as(f)) for unit in eye]
        return torch.stack(rows, -2)

    def draw(self, f: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Targets of the law ``exp(-l(f_n, .))``, one a sample, as `sample` takes them.

        Args:
            f: ``[N, d_out]``.

        Raises:
            NotImplementedError: the loss is no `likelihood`.
        """
        raise NotImplementedError

    def of_shares(self, y: torch.Tensor) -> torch.Tensor:
        """Targets of 0 and 1 as those of a loss of vectors: -1 and 1 where it has `signs`."""
        return 2.0 * y - 1.0 if self.signs else y

    def check(self, y: torch.Tensor) -> None:  # noqa: B027 (most losses take all numbers)
        """Insist on targets that the loss is meant for.

        Raises:
            ValueError: others; says which are allowed.
        """

    @property
    def dims(self) -> int:
        """Dimensions of the targets of one task."""
        return 1 if self.classes else 2


class SquaredError(Loss):
    """``|f - y|^2``, summed over outputs, no factor 1/2: of a normal law of variance 1/2."""

    classes, squares, likelihood = False, True, True

    def sample(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `Loss`."""
        return (f - y).square().sum(-1)

    def curve(self, f: torch.Tensor, y: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """``2 v``."""
        return 2.0 * v

    def size(self, y: torch.Tensor) -> torch.Tensor:
        """The loss of a zero output."""
        y = y.to(torch.float64)
        return (y * y).sum(-1)

    def draw(self, f: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """See `Loss`."""
        noise = torch.randn(f.shape, dtype=f.dtype, generator=generator)
        return f + math.sqrt(0.5) * noise


class _Softmax(Loss):
    """``log sum_o exp(f_o) - sum_o y_o f_o``."""

    shifts = likelihood = True

    def curve(self, f: torch.Tensor, y: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """``p v - p (p.v)``, p the softmax of f."""
        p = torch.softmax(f, -1)
        return p * (v - (p * v).sum(-1, keepdim=True))


class CrossEntropy(_Softmax):
    """``log sum_o exp(f_o) - f_y`` of logits f and a class y."""

    classes, squares = True, False

    def sample(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `Loss`."""
        index = y.expand(f.shape[:-1])[..., None]
        return torch.logsumexp(f, -1) - f.gather(-1, index)[..., 0]

    def size(self, y: torch.Tensor) -> torch.Tensor:
        """1."""
        return torch.ones_like(y, dtype=torch.float64)

    def draw(self, f: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """See `Loss`."""
        drawn: torch.Tensor = torch.softmax(f, -1).multinomial(1, generator=generator)
        return drawn[:, 0]


class SoftCrossEntropy(_Softmax):
    """``log sum_o exp(f_o) - sum_o y_o f_o`` of logits f and shares y that add up to 1."""

    classes, squares = False, False

    def sample(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `Loss`."""
        return torch.logsumexp(f, -1) - (y * f).sum(-1)

    def size(self, y: torch.Tensor) -> torch.Tensor:
        """1."""
        return torch.ones_like(y[..., 0], dtype=torch.float64)

    def draw(self, f: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """A class, as its share of 1."""
        drawn = torch.softmax(f, -1).multinomial(1, generator=generator)
        return torch.zeros_like(f).scatter_(-1, drawn, 1.0)

    def check(self, y: torch.Tensor) -> None:
        """Shares: >= 0, adding up to 1 to a millionth."""
        total = y.to(torch.float64).sum(-1)
        if bool((y < 0).any()) or bool(((total - 1.0).abs() > 1e-6).any()):
            raise ValueError(
                "y must hold shares >= 0 that add up to 1 for each sample for soft_cross_entropy, "
                f"got a least entry of {float(y.min()):g} and sums in "
                f"{float(total.min()):g}..{float(total.max()):g}"
            )


class _OneOutput(Loss):
    """Losses of one output at a time, added over the outputs."""

    classes, squares = False, False
    #: What targets may be, in words, and as a test.
    allowed = "real numbers"

    @abstractmethod
    def each(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """l of each output."""

    @abstractmethod
    def second(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``d^2 l / df^2`` of each output, >= 0."""

    def sample(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `Loss`."""
        return self.each(f, y).sum(-1)

    def curve(self, f: torch.Tensor, y: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """``l'' v``."""
        return self.second(f, y) * v

    def size(self, y: torch.Tensor) -> torch.Tensor:
        """The loss of a zero output, or 1 where that is less."""
        y = y.to(torch.float64)
        return self.sample(torch.zeros_like(y), y).clamp_min(1.0)

    def allows(self, y: torch.Tensor) -> torch.Tensor:
        """bool, entry by entry."""
        return torch.ones_like(y, dtype=torch.bool)

    def check(self, y: torch.Tensor) -> None:
        """See `Loss`."""
        bad = torch.nonzero(~self.allows(y))
        if bad.numel():
            at = bad[0].tolist()
            raise ValueError(
                f"y must hold {self.allowed} for {NAMES[type(self)]}, got {float(y[tuple(at)]):g} "
                f"at {at}"
            )


class BinaryCrossEntropy(_OneOutput):
    """``log(1 + exp(f)) - y f`` of a logit f and a share y: `binary_cross_entropy_with_logits`."""

    likelihood = True
    allowed = "shares in [0, 1]"

    def each(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `_OneOutput`."""
        # log(1 + exp(f)) - y f, without taking large numbers from each other.
        return (1.0 - y) * f - torch.nn.functional.logsigmoid(f)

    def second(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``s (1 - s)``, s the logistic function of f."""
        return torch.sigmoid(f) * torch.sigmoid(-f)

    def draw(self, f: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """0 or 1."""
        return torch.sigmoid(f).bernoulli(generator=generator)

    def allows(self, y: torch.Tensor) -> torch.Tensor:
        """See `_OneOutput`."""
        return (y >= 0) & (y <= 1)


class Logistic(_OneOutput):
    """``log(1 + exp(-y f))`` of a label y of -1 or 1."""

    likelihood = signs = True
    allowed = "labels -1 or 1"

    def each(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `_OneOutput`."""
        return -torch.nn.functional.logsigmoid(y * f)

    def second(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``y^2 s (1 - s)``, s the logistic function of y f."""
        return y * y * torch.sigmoid(y * f) * torch.sigmoid(-y * f)

    def draw(self, f: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """-1 or 1."""
        return 2.0 * torch.sigmoid(f).bernoulli(generator=generator) - 1.0

    def allows(self, y: torch.Tensor) -> torch.Tensor:
        """See `_OneOutput`."""
        return y.abs() == 1


class SquaredHinge(_OneOutput):
    """``max(0, 1 - y f)^2`` of a label y of -1 or 1; the second derivative jumps at ``y f = 1``."""

    signs = True
    allowed = "labels -1 or 1"

    def each(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `_OneOutput`."""
        return torch.relu(1.0 - y * f).square()

    def second(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``2 y^2`` where ``y f < 1``, else 0."""
        return torch.where(y * f < 1.0, 2.0 * y * y, torch.zeros_like(f))

    def allows(self, y: torch.Tensor) -> torch.Tensor:
        """See `_OneOutput`."""
        return y.abs() == 1


class Huber(_OneOutput):
    """``r^2 / 2`` where ``|r| <= 1``, else ``|r| - 1/2``, with ``r = f - y``."""

    def each(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `_OneOutput`."""
        r = f - y
        return torch.where(r.abs() <= 1.0, 0.5 * r * r, r.abs() - 0.5)

    def second(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """1 where ``|r| <= 1``, else 0."""
        return ((f - y).abs() <= 1.0).to(f.dtype)


#: By name.
LOSSES: dict[str, Loss] = {
    "mse": SquaredError(),
    "cross_entropy": CrossEntropy(),
    "soft_cross_entropy": SoftCrossEntropy(),
    "bce": BinaryCrossEntropy(),
    "logistic": Logistic(),
    "squared_hinge": SquaredHinge(),
    "huber": Huber(),
}
NAMES = {type(loss): name for name, loss in LOSSES.items()}


def smoothed(y: torch.Tensor, classes: int, share: float, dtype: torch.dtype) -> torch.Tensor:
    """Classes ``[..., N]`` as shares ``[..., N, K]``: ``share`` spread evenly over all K.

    Reference: C. Szegedy et al., "Rethinking the inception architecture", CVPR 2016.
    """
    hot = torch.nn.functional.one_hot(y, classes).to(dtype)
    return (1.0 - share) * hot + share / classes


def loss_code(name: str) -> int:
    """The compiled core's number of a loss."""
    return _core.CODES["loss"].index(name)
