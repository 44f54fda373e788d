"""What a loss and its derivatives are, from torch.nn's own losses and torch.func alone.

Nothing here is edt's but the networks as `torch.nn.Sequential` and the order of their parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import func
from torch.nn import functional as F

import edt
from edt.training.epochs import epoch_order

__all__ = ["EACH", "by_func", "descended", "example", "targets"]

Sample = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: (outputs [N, d_out], targets) -> [N], as torch.nn has them.
EACH: dict[str, Sample] = {
    "mse": lambda f, y: F.mse_loss(f, y, reduction="none").sum(-1),
    "cross_entropy": lambda f, y: F.cross_entropy(f, y, reduction="none"),
    "soft_cross_entropy": lambda f, y: F.cross_entropy(f, y, reduction="none"),
    "bce": lambda f, y: F.binary_cross_entropy_with_logits(f, y, reduction="none").sum(-1),
    "logistic": lambda f, y: -F.logsigmoid(y * f).sum(-1),
    "squared_hinge": lambda f, y: (1 - y * f).clamp_min(0).square().sum(-1),
    "huber": lambda f, y: F.huber_loss(f, y, reduction="none").sum(-1),
}


def targets(loss: str, draw: torch.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    """Random targets that a loss is meant for, of ``shape`` = (N, d_out)."""
    if loss == "cross_entropy":
        return torch.randint(0, shape[1], shape[:1], generator=draw)
    y = torch.randn(shape, generator=draw, dtype=torch.float64)
    if loss == "soft_cross_entropy":
        return torch.softmax(y, -1)
    if loss == "bce":
        return torch.rand(shape, generator=draw, dtype=torch.float64)
    return y if loss in ("mse", "huber") else torch.sign(y)


def example(loss: str, samples: int, seed: int) -> tuple[edt.Task, edt.Ensemble]:
    """Weighted samples of two outputs, and two networks that reach every branch of the losses."""
    draw = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(samples, 3, generator=draw, dtype=torch.float64)
    y = targets(loss, draw, (samples, 2))
    weights = 0.5 + torch.rand(samples, generator=draw, dtype=torch.float64)
    task = edt.Task(x, y, loss, weights)
    return task, edt.Ensemble.init([4, 3], [0], d_in=3, d_out=2, scale=2.0)


def _outputs(ens: edt.Ensemble, b: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """(flat parameters of network b, inputs) -> outputs."""
    module = ens.to_module(b)
    named = {name: part.detach() for name, part in module.named_parameters()}
    ends = [0, *torch.tensor([part.numel() for part in named.values()]).cumsum(0).tolist()]

    def outputs(flat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        parts = {
            name: flat[start:end].view(part.shape)
            for (name, part), (start, end) in zip(named.items(), pairwise(ends), strict=True)
        }
        found: torch.Tensor = func.functional_call(module, parts, (x,))
        return found

    return outputs


def by_func(
    loss: str | Sample, ens: edt.Ensemble, task: edt.Task, b: int, vectors: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Loss, gradient, Hessian, Gauss-Newton matrix and products with both, of network b.

    Args:
        loss: name in `EACH`, or a function as there.
        vectors: ``[K, P_b]``.
    """
    outputs, each = _outputs(ens, b), EACH[loss] if isinstance(loss, str) else loss
    x, y, coef = task.x, task.y, task.coef.reshape(-1)
    flat = torch.cat([part.detach().reshape(-1) for part in ens.to_module(b).parameters()])

    def value(flat: torch.Tensor) -> torch.Tensor:
        return coef @ each(outputs(flat, x), y)

    def one(f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return each(f[None], y[None])[0]

    grad, value_ = func.grad_and_value(value)(flat)
    jacobian = func.jacrev(outputs)(flat, x)
    # Backwards twice: torch has no forward derivatives of some losses' slopes.
    curve = func.vmap(func.jacrev(func.jacrev(one)))(outputs(flat, x), y)
    ggn = torch.einsum("n,nop,noq,nqr->pr", coef, jacobian, curve, jacobian)
    _, product = func.vjp(func.grad(value), flat)
    return {
        "loss": value_,
        "grad": grad,
        "hessian": func.jacrev(func.grad(value))(flat),
        "ggn": ggn,
        "hvp": torch.stack([product(v)[0] for v in vectors]),
        "ggn_vp": vectors @ ggn,
    }


def descended(
    loss: str | Sample,
    ens: edt.Ensemble,
    task: edt.Task,
    b: int,
    *,
    seed: int,
    batch: int,
    steps: int,
    lr: float,
) -> torch.Tensor:
    """Flat parameters of network b after steps of gradient descent on minibatches."""
    outputs, each = _outputs(ens, b), EACH[loss] if isinstance(loss, str) else loss
    flat = torch.cat([part.detach().reshape(-1) for part in ens.to_module(b).parameters()])
    samples = len(task.x)
    a_pass = -(-samples // batch)
    for step in range(steps):
        chosen = epoch_order(seed, step // a_pass, samples)[step % a_pass * batch :][:batch]
        coef = task.coef.reshape(-1)[chosen] * (samples / len(chosen))
        x, y = task.x[chosen], task.y[chosen]
        flat = flat - lr * func.grad(lambda p, c=coef, x=x, y=y: c @ each(outputs(p, x), y))(flat)
    return flat
