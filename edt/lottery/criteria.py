"""What a weight is worth: scores for `edt.lottery.prune.prune_lowest`, lowest go first.

Reference: N. Lee, T. Ajanthan, P. Torr, "SNIP", ICLR 2019, arXiv 1810.02340; C. Wang, G. Zhang, R.
Grosse, "GraSP", ICLR 2020, arXiv 2002.07376; Y. LeCun, J. Denker, S. Solla, "Optimal brain
damage", NeurIPS 1989; B. Hassibi, D. Stork, "Optimal brain surgeon", NeurIPS 1992.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from edt.arguments import checked
from edt.ensemble import ModuleEnsemble
from edt.ensemble.kinds import Networks, chains
from edt.ensemble.masks import PRUNED, TRAINABLE
from edt.functional import hessian, hvp, loss_and_grad
from edt.lottery.connectivity import connected
from edt.lottery.membership import group_sum, membership
from edt.lottery.random_numbers import CONTROL_STREAM, bits, uniforms
from edt.objectives.batches import evaluation
from edt.scalars import integer, number
from edt.tasks.given import task_and_networks

#: Largest number of coordinates whose exact Hessian is formed.
DENSE_LIMIT = 4096


def random_scores(ens: Networks, seed: int, names: torch.Tensor) -> torch.Tensor:
    """Uniform random scores; those of a network depend on (seed, its name) only."""
    return uniforms(ens, integer("seed", seed, 0, 2**63 - 1), names, CONTROL_STREAM)


def snip(task: Any, ens: Networks, task_index: torch.Tensor | None = None) -> torch.Tensor:
    """``|w g|``: how much the loss feels a weight being scaled (connection sensitivity).

    Args:
        task: the whole data; the paper uses one batch.
        ens: B networks, usually at their start.
        task_index: int64 ``[B]``.

    Returns:
        ``[total]``.
    """
    task, ens = task_and_networks(task, ens)
    _, grad = loss_and_grad(task, ens, task_index=task_index)
    return (ens.theta * grad).detach().abs()


#: Outputs are divided by this in the paper's code, for cross-entropy.
GRASP_TEMPERATURE = 200.0


def grasp(
    task: Any,
    ens: Networks,
    task_index: torch.Tensor | None = None,
    *,
    temperature: float | None = None,
) -> torch.Tensor:
    """``w (H g)``: pruning a weight changes the gradient's square norm by about -2 of this.

    g and H are those of the loss of ``f / temperature``. At 1 the outputs of a fresh network are
    apart enough for the softmax to saturate in parts, which the products with H feel most.

    Weights whose removal weakens the gradient flow least (or strengthens it) go first.

    Args:
        task, ens, task_index: as in `snip`.
        temperature: default 200 for cross-entropy, as in the code of the paper, else 1.

    Returns:
        ``[total]``.

    Raises:
        TypeError: a temperature for modules whose loss is not one of outputs by name. ValueError:
            not a positive number.
    """
    task, ens = task_and_networks(task, ens)
    entropy = str(getattr(task, "loss", "")).endswith("cross_entropy")
    if temperature is None:
        temperature = GRASP_TEMPERATURE if entropy else 1.0
    heat = number("temperature", temperature, strict=True)
    if isinstance(ens, ModuleEnsemble):
        task = task.with_temperature(heat) if heat != 1.0 else task
    if isinstance(ens, ModuleEnsemble) or heat == 1.0:
        _, grad = loss_and_grad(task, ens, task_index=task_index)
        return (ens.theta * hvp(task, ens, grad.detach(), task_index=task_index)).detach()
    # Outputs are divided by dividing the last layer: a diagonal change of parameters.
    at = membership(ens)
    scale = torch.ones_like(ens.theta)
    scale[(at.layer == at.layers - 1).to(scale.device)] = 1.0 / heat
    cool = ens.with_theta(ens.theta.detach() * scale)
    _, grad = loss_and_grad(task, cool, task_index=task_index)
    product = hvp(task, cool, scale.square() * grad.detach(), task_index=task_index)
    return (ens.theta * scale * product).detach()


def synflow(ens: Networks) -> torch.Tensor:
    """``|w dR/dw|`` with ``R = 1^T |W_D| ... |W_0| 1``: the strength of the paths through a weight.

    Needs no data. Pruned in one go, a layer may go altogether: see `synflow_prune`.

    Args:
        ens: chains, whose activations are left out; or networks of modules with an
            ``input_shape``, which see an input of ones in eval mode with all their numbers positive
            and biases and running means 0 (their ReLUs let everything through then).

    Returns:
        ``[total]``, float64 up to a factor of each network; biases 0.

    Raises:
        ValueError: modules without ``input_shape``.

    Reference: H. Tanaka et al., NeurIPS 2020, arXiv 2006.05467.
    """
    if isinstance(ens, ModuleEnsemble):
        return _synflow_of_modules(ens)
    nets = chains(ens, "synflow", "ens")
    out = torch.zeros(nets.total, dtype=torch.float64)
    for b in range(nets.B):
        # Divided by each layer's largest entry, for products over layers.
        sizes = [
            nets.weight(b, layer).detach().cpu().double().abs() for layer in range(nets.depth + 1)
        ]
        sizes = [size / size.max().clamp_min(1e-300) for size in sizes]
        into = [torch.ones(nets.d_in, dtype=torch.float64)]
        for size in sizes:
            into.append(size @ into[-1])
        onward = torch.ones(nets.d_out, dtype=torch.float64)
        for layer in reversed(range(nets.depth + 1)):
            score = onward[:, None] * sizes[layer] * into[layer][None, :]
            at = int(nets.layout.weight_at[b, layer])
            out[at : at + score.numel()] = score.reshape(-1)
            onward = sizes[layer].T @ onward
    return out


def _synflow_of_modules(ens: ModuleEnsemble) -> torch.Tensor:
    if ens.input_shape is None:
        raise ValueError(
            "synflow of modules needs the shape of an input: edt.ModuleEnsemble(..., input_shape=)"
        )
    theta = ens.theta.detach().cpu().double().abs()
    out = torch.zeros_like(theta)
    for architecture, members in ens.groups():
        module = copy.deepcopy(architecture.module_on(torch.device("cpu"))).double()
        ones = torch.ones(1, *ens.input_shape, dtype=torch.float64)
        for b in members.tolist():
            span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
            flat = theta[span].clone()
            for block in architecture.blocks:
                if block.name.rpartition(".")[2] in ("bias", "running_mean"):
                    flat[block.span] = 0.0
            flat.requires_grad_()
            with evaluation(module, "eval"), torch.enable_grad():
                found = functional_call(module, architecture.tensors(flat), (ones,))
                (slope,) = torch.autograd.grad(found.sum(), flat)
            score = (flat * slope).detach()
            out[span] = score / score.max().clamp_min(1e-300)
    return out.to(ens.device)


def synflow_prune(ens: Networks, density: float, rounds: int = 100) -> Any:
    """Networks with ``density`` of their weights left by SynFlow in rounds of ``density^(k/n)``.

    Args:
        ens: as in `synflow`.
        density: in (0, 1], of all layers together.
        rounds: n, 100 in the paper.
    """
    from edt.lottery.prune import keep_highest

    number("density", density, strict=True)
    if density > 1.0:
        raise ValueError(f"density must be in (0, 1], got {density}")
    for k in range(1, integer("rounds", rounds) + 1):
        share = density ** (k / rounds)
        ens = ens.with_state(keep_highest(ens, synflow(ens), share, "global"))
    return ens


def obd(
    task: Any,
    ens: Networks,
    task_index: torch.Tensor | None = None,
    *,
    probes: int = 32,
    seed: int = 0,
) -> torch.Tensor:
    """``h_qq w_q^2 / 2``: the loss's rise if a weight goes and all others stay (at a minimum).

    The diagonal is exact for networks of up to 4,096 coordinates, and otherwise Hutchinson's
    estimate ``mean v * (H v)`` over random signs v.

    Args:
        task, ens, task_index: as in `snip`, trained networks.
        probes: signs vectors of the estimate.
        seed: of the signs.

    Returns:
        ``[total]``.
    """
    task, ens = task_and_networks(task, ens)
    diagonal = torch.zeros_like(ens.theta)
    if int(ens.coords.max()) <= DENSE_LIMIT:
        blocks = hessian(task, ens, task_index=task_index)
        live = ens.state == TRAINABLE
        diagonal[live] = torch.cat([block.diagonal() for block in blocks])
    else:
        names = ens.network_ids
        for probe in range(probes):
            coin = bits(ens, seed, names + probe, CONTROL_STREAM) >> np.uint64(63)
            signs = torch.from_numpy(1.0 - 2.0 * coin.astype(np.float64)).to(ens.dtype)
            diagonal += signs * hvp(task, ens, signs, task_index=task_index) / probes
    return (0.5 * diagonal * ens.theta.square()).detach()


def obs_prune(
    task: Any,
    ens: Networks,
    share: float,
    task_index: torch.Tensor | None = None,
    *,
    damping: float = 1e-6,
) -> Any:
    """Optimal brain surgeon: prune one weight after another, each time moving all others.

    The weight of least ``w_q^2 / (2 [H^-1]_qq)`` goes, the others move by
    ``-w_q / [H^-1]_qq H^-1 e_q``, and H^-1 loses that coordinate. The Hessian is the exact one
    (its absolute value: negative curvature would reward removal), formed once and damped by
    ``damping`` times its largest eigenvalue.

    Args:
        ens: B trained networks of at most 4,096 coordinates.
        task, task_index: as in `snip`.
        share: of each network's remaining weights to prune; biases stay but move.
        damping: see above.

    Returns:
        `Ensemble` with the weights pruned and the others moved. A network keeps its last path of
        weights from inputs to outputs, and one without coordinates is returned as it is.

    Raises:
        ValueError: networks too large, a share out of range, or a network whose parameters or
            Hessian are not finite.
    """
    task, ens = task_and_networks(task, ens)
    share = number("share", share, below=1.0)
    if int(ens.coords.max()) > DENSE_LIMIT:
        raise ValueError(
            f"the optimal brain surgeon forms exact Hessians of up to {DENSE_LIMIT} coordinates, a "
            f"network has {int(ens.coords.max())}"
        )
    theta, state = ens.theta.clone(), ens.state.clone()
    at = membership(ens)
    blocks = hessian(task, ens, task_index=task_index)
    lost = [b for b, block in enumerate(blocks) if not bool(torch.isfinite(block).all())]
    if lost:
        raise ValueError(
            f"ens must have finite Hessians, got NaN or Inf in {len(lost)} of {ens.B} networks, "
            f"network {lost[0]} the first; leave out what diverged by ens.select"
        )
    for b, block in enumerate(blocks):
        if not block.numel():
            continue
        own = torch.nonzero((at.network == b) & (ens.state == TRAINABLE)).flatten()
        weights = ~at.bias[own]
        values, vectors = torch.linalg.eigh(block.double())
        size = values.abs()
        inverse = (vectors / (size + damping * size.max().clamp_min(1e-300))) @ vectors.mT
        w = theta[own].double()
        alone = ens.network(b)
        local = own - int(ens.offsets[b])
        whole = bool(connected(alone))
        left = min(int(share * int(weights.sum()) + 0.5), int(weights.sum()) - 1)
        while left > 0 and bool(weights.any()):
            saliency = w.square() / inverse.diagonal().clamp_min(1e-300)
            q = int(torch.where(weights, saliency, torch.inf).argmin())
            trial = alone.state.clone()
            trial[local[q]] = PRUNED
            fewer = alone.with_state(trial)
            if whole and not bool(connected(fewer)):
                weights[q] = False
                continue
            alone, left = fewer, left - 1
            column = inverse[:, q].clone()
            w = w - w[q] / column[q] * column
            inverse = inverse - torch.outer(column, column) / column[q]
            w[q] = 0.0
            weights[q] = False
            inverse[q, :] = inverse[:, q] = 0.0
            state[own[q]] = PRUNED
        theta[own] = w.to(theta.dtype)
    return ens.with_theta(theta).with_state(state)


def edge_popup(
    task: Any,
    ens: Networks,
    density: float,
    task_index: torch.Tensor | None = None,
    *,
    steps: int = 200,
    lr: float = 0.1,
    momentum: float = 0.9,
    seed: int = 0,
) -> Any:
    """Strong tickets: a mask of frozen initial weights that is good without training them.

    Every weight has a score; the mask keeps the ``density`` of highest scores in each layer. The
    scores follow ``s <- s - lr w dL/d(w m)``, the gradient through the mask as if it were the
    identity, with momentum. The mask of least loss met is returned.

    Args:
        ens: B networks at their start, nothing pruned.
        task, task_index: as in `snip`.
        density: share of each layer's weights to keep, in (0, 1].
        steps, lr, momentum: of the scores' descent, full batch; the step is relative to the
            gradient's size in each layer.
        seed: of the initial scores.

    Returns:
        `Ensemble` with everything frozen: the weights kept at their initial values, the others
        pruned.

    Raises:
        ValueError: density out of range, or a network whose loss is never finite.

    Reference: V. Ramanujan et al., "What's hidden in a randomly weighted neural network?", CVPR
    2020, arXiv 1911.13299.
    """
    from edt.lottery.prune import prune_lowest

    task, ens = task_and_networks(task, ens)
    if not 0.0 < density <= 1.0:
        raise ValueError(f"density must be in (0, 1], got {density}")
    at = membership(ens)
    groups = at.layers * at.networks
    dense = ens.with_state(torch.full_like(ens.state, TRAINABLE))
    score = 0.01 * uniforms(ens, seed, ens.network_ids.abs() % 2**38, CONTROL_STREAM).to(ens.dtype)
    velocity = torch.zeros_like(score)
    best = torch.full((ens.B,), torch.inf, dtype=torch.float64)
    kept = torch.ones_like(ens.state)
    for _ in range(steps):
        state = prune_lowest(dense, score, 1.0 - density)
        live = state != PRUNED
        # Pruned weights are 0 but trainable here: their gradient is what the scores need.
        loss, grad = loss_and_grad(dense, task, ens.theta * live, task_index)
        better = (loss < best)[at.network]
        kept = torch.where(better, state, kept)
        best = torch.minimum(best, loss)
        # A network whose gradient overflows stands still.
        slope = torch.nan_to_num(ens.theta * grad, nan=0.0, posinf=0.0, neginf=0.0)
        size = group_sum(slope.double().square(), at.block, groups)
        count = group_sum(torch.ones_like(at.block), at.block, groups)
        scale = (size / count).sqrt().clamp_min(1e-300)[at.block]
        velocity = momentum * velocity + (slope / scale).to(score.dtype)
        score = score - 0.01 * lr * velocity
    lost = torch.nonzero(~torch.isfinite(best)).flatten().tolist()
    if lost and steps:
        raise ValueError(
            f"ens must have finite losses, got none under any mask tried for {len(lost)} of "
            f"{ens.B} networks, network {lost[0]} the first; leave them out by ens.select"
        )
    frozen = torch.where(kept == PRUNED, PRUNED, 2).to(torch.uint8)
    return ens.with_state(frozen)


#: Criteria that look at networks at their start, by name.
AT_START: dict[str, Any] = {"snip": snip, "grasp": grasp}

checked(__name__)
