"""K-FAC and E-KFAC: the Gauss-Newton or Fisher matrix of each layer as a Kronecker product.

A layer's weights and bias ``[W b]`` (``[out, in + 1]``, row by row) see inputs ``a_n`` (with a 1 at
the end) and gradients ``g_nk`` at its outputs, k over the columns of a square root of ``l''`` (or
the one of the sample's loss). The layer's block is ``sum_n c_n sum_k (g g^T) x (a a^T)``, and

- K-FAC: ``G x A`` with ``A = sum_n c_n a_n a_n^T / sum_n c_n`` and
  ``G = sum_n c_n sum_k g_nk g_nk^T``;
- E-KFAC: the eigenvectors of G and A with the block's own diagonal in their basis,
  ``lambda_oi = sum_n c_n sum_k (u_o . g_nk)^2 (v_i . a_n)^2``, the nearest to it in that basis.

Reference: J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate
curvature", ICML 2015; T. George et al., "Fast approximate natural gradient descent in a
Kronecker-factored eigenbasis", NeurIPS 2018; F. Benzing, "Gradient descent on neurons and its link
to approximate second-order optimization", ICML 2022 (``G = I``).
"""

from __future__ import annotations

from typing import Any

import torch

from edt.curvature.inputs import prepare
from edt.curvature.kfac_modules import SHARINGS, module_layers
from edt.curvature.kronecker import Kronecker, KroneckerLayer
from edt.curvature.samples import finite_data
from edt.curvature.slopes import FISHERS, Slopes
from edt.ensemble import ModuleEnsemble
from edt.ensemble.activations import ACTIVATIONS
from edt.ensemble.masks import TRAINABLE
from edt.errors import unknown_choice
from edt.ops.losses import LOSSES
from edt.scalars import flag
from edt.tasks.given import index_of, task_and_networks
from edt.tasks.module_task import ModuleTask

__all__ = ["Kronecker", "KroneckerLayer", "kfac"]

#: Without gradients: ``G = I``.
FORWARD = "forward"


def kfac(
    task: Any,
    networks: Any,
    *,
    kind: str = "true",
    corrected: bool = False,
    sharing: str = "expand",
    draws: int = 1,
    seed: int = 0,
    theta: torch.Tensor | None = None,
    task_index: Any = None,
) -> Kronecker:
    """K-FAC (or E-KFAC) of every network.

    Args:
        task: an `edt.Task` or ``(x, y)``; for modules any `edt.ModuleTask` with a loss by name.
        networks: B chains with nothing pruned or frozen (a mask would cut the Kronecker product),
            or networks of modules whose trainable parameters are those of whole linear and
            convolutional layers.
        kind: "true": of the Gauss-Newton matrix, with all columns of ``l''`` instead of draws of
            targets; "empirical": of the empirical Fisher matrix; "mc": of the Fisher matrix with
            drawn targets; "forward": ``G = I``, from inputs alone.
        corrected: E-KFAC.
        sharing: for layers applied at many positions (`edt.curvature.kfac_modules`): "expand" or
            "reduce".
        draws: of targets for each sample, with "mc"; seed: theirs, the same for every network.
        theta, task_index: as in `edt.hessian`.

    Returns:
        `Kronecker`.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.

    Example:
        >>> step = kfac(task, networks).inverse_product(gradient, damping=1e-2)  # doctest: +SKIP
    """
    if not isinstance(kind, str) or kind not in (*FISHERS, FORWARD):
        raise unknown_choice("kind", kind, [*FISHERS, FORWARD])
    corrected = flag("corrected", corrected)
    slopes = None
    if kind != FORWARD:
        loss = task_and_networks(task, networks)[0].loss
        slopes = Slopes.asked(kind, draws, seed, loss)
    elif corrected:
        raise ValueError("corrected needs gradients, and kind='forward' has none")
    if not isinstance(sharing, str) or sharing not in SHARINGS:
        raise unknown_choice("sharing", sharing, SHARINGS)
    if isinstance(task_and_networks(task, networks)[1], ModuleEnsemble):
        return _of_modules(task, networks, slopes, corrected, sharing, theta, task_index)
    data, nets, flat, index = finite_data(task, networks, theta, task_index)
    if not bool((nets.state == TRAINABLE).all()):
        raise ValueError(
            "networks must have nothing pruned or frozen: a mask cuts Kronecker products"
        )
    problem = data.objective(nets, index).problem
    nets = nets.with_theta(flat)
    return Kronecker(nets, [_layers(nets, b, problem, slopes, corrected) for b in range(nets.B)])


def _of_modules(
    task: Any,
    networks: Any,
    slopes: Slopes | None,
    corrected: bool,
    sharing: str,
    theta: torch.Tensor | None,
    task_index: Any,
) -> Kronecker:
    _, flat = prepare(task, networks, theta, task_index)
    data, nets = task_and_networks(task, networks)
    if not isinstance(data, ModuleTask) or data.loss not in LOSSES or not data.splits:
        raise TypeError(
            f"task must have a loss by name, one of {', '.join(LOSSES)}, got "
            f"{getattr(data, 'loss', type(data).__name__)}"
        )
    index = index_of(data, nets, task_index).tolist()
    data = data.to(nets.dtype).to(torch.float64, torch.device("cpu"))
    nets = nets.to(torch.float64, device="cpu").with_theta(flat.double())
    layers = [
        module_layers(nets, b, data, index[b], slopes, corrected, sharing) for b in range(nets.B)
    ]
    return Kronecker(nets, layers)


def _places(nets: Any, b: int, layer: int) -> torch.Tensor:
    """Flat positions of ``[W b]``, int64 ``[out, in + 1]``."""
    layout = nets.layout
    fan_in, fan_out = int(layout.fan_in[b, layer]), int(layout.fan_out[b, layer])
    weights = torch.arange(fan_out * fan_in).reshape(fan_out, fan_in)
    parts = [weights + int(layout.weight_at[b, layer])]
    if layout.has_bias:
        parts.append((torch.arange(fan_out) + int(layout.bias_at[b, layer]))[:, None])
    return torch.cat(parts, 1)


def _layers(
    nets: Any, b: int, problem: Any, slopes: Slopes | None, corrected: bool
) -> list[KroneckerLayer]:
    t = problem.task_of(b)
    weights = problem.coef[t]
    activation, loss = ACTIVATIONS[nets.activation].function, LOSSES[problem.loss]
    with torch.enable_grad():
        a, inputs, sums = problem.inputs(t), [], []
        for layer in range(nets.depth + 1):
            inputs.append(a.detach())
            z = a @ nets.weight(b, layer).T
            if nets.has_bias:
                z = z + nets.bias(b, layer)
            z = z if z.requires_grad else z.detach().requires_grad_()
            sums.append(z)
            a = activation(z) if layer < nets.depth else z
        f = sums[-1]
        heads = () if slopes is None else slopes.at(
            loss, f, problem.targets(t), slopes.generator()
        )  # fmt: skip
        found = [torch.autograd.grad(f, sums, head, retain_graph=True) for head in heads]
    out = []
    for layer in range(nets.depth + 1):
        each = inputs[layer]
        if nets.has_bias:
            each = torch.cat([each, torch.ones_like(each[:, :1])], 1)
        ways = [slope[layer] for slope in found]
        left = each.T @ (weights[:, None] * each) / weights.sum()
        right = sum((g.T @ (weights[:, None] * g) for g in ways), torch.zeros(()).double())
        if slopes is None:
            right = torch.eye(sums[layer].shape[1], dtype=torch.float64)
        into, basis_in = torch.linalg.eigh(left)
        onto, basis_out = torch.linalg.eigh(right)
        values = torch.outer(onto, into)
        if corrected:
            squares = weights[:, None] * (each @ basis_in).square()
            values = sum(((g @ basis_out).square().T @ squares for g in ways), 0.0 * values)
        places = _places(nets, b, layer)
        block = KroneckerLayer(left, right, basis_in, basis_out, values, places, str(layer))
        out.append(block)
    return out
