"""Kronecker factors of the linear and convolutional layers of torch modules.

A layer that is applied at T positions t of a sample (pixels, tokens) adds up ``g_nkt a_nt^T``:

- "expand" (KFC): positions as samples of their own, ``A = sum_n c_n mean_t a_nt a_nt^T`` and
  ``G = sum_n c_n sum_k sum_t g_nkt g_nkt^T``;
- "reduce": one input ``mean_t a_nt`` and one gradient ``sum_t g_nkt`` a sample.

Inputs of a convolution are its patches, in the order of its weights.

Reference: R. Grosse, J. Martens, "A Kronecker-factored approximate Fisher matrix for convolution
layers", ICML 2016; R. Eschenhagen et al., "Kronecker-factored approximate curvature for modern
neural network architectures", NeurIPS 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from edt.curvature.kronecker import KroneckerLayer, Sums
from edt.curvature.slopes import Slopes
from edt.ensemble.masks import TRAINABLE
from edt.errors import ShapeError
from edt.objectives.batches import Batch, evaluation
from edt.ops.losses import LOSSES
from edt.tasks.module_task import ModuleTask

__all__ = ["SHARINGS", "module_layers"]

SHARINGS = ("expand", "reduce")


@dataclass
class _Layer:
    """A layer with its places: flat positions of ``[W b]``, int64 ``[out, in + 1]``."""

    name: str
    part: nn.Linear | nn.Conv2d
    places: torch.Tensor


def module_layers(
    nets: Any,
    b: int,
    task: ModuleTask,
    t: int,
    slopes: Slopes | None,
    corrected: bool,
    sharing: str,
) -> list[KroneckerLayer]:
    """The layers of network b, from inputs to outputs of ``module.named_modules()``.

    Args:
        nets: an `edt.ModuleEnsemble`, float64 on the CPU.
        task: float64 on the CPU, of a loss by name. t: its target.
        slopes: which gradients; None: ``G = I``. corrected, sharing: as in `edt.curvature.kfac`.

    Raises:
        ValueError: trainable parameters outside linear and ungrouped convolutional layers, a layer
            partly pruned or frozen, one that is called twice; names it.
    """
    module = nets.to_module(b)
    layers = _layers(nets, b, module)
    sums = [Sums() for _ in layers]

    def passes() -> Iterator[list[tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]]]:
        generator = None if slopes is None else slopes.generator()
        for batch in task.targets[t]:
            yield _seen(module, layers, task, batch, slopes, generator, nets.input_shape)

    with evaluation(module, task.mode):
        for seen in passes():
            for own, (inputs, ways, weights) in zip(sums, seen, strict=True):
                own.add(*_shared(inputs, ways, sharing), weights)
        found = [
            own.layer(layer.places, layer.name) for own, layer in zip(sums, layers, strict=True)
        ]
        if corrected:
            for one in found:
                one.values = torch.zeros_like(one.values)
            for seen in passes():
                for one, (inputs, ways, weights) in zip(found, seen, strict=True):
                    # A sample's own gradient in the basis, however that was found.
                    for way in ways:
                        turned = torch.einsum(
                            "nto,nti->noi", way @ one.basis_out, inputs @ one.basis_in
                        )
                        one.values += torch.einsum("n,noi->oi", weights, turned.square())
    return found


def _layers(nets: Any, b: int, module: nn.Module) -> list[_Layer]:
    """The layers whose parameters are trained, each wholly; those of frozen ones are left out."""
    first = int(nets.offsets[b])
    state = nets.state.cpu()[first : int(nets.offsets[b + 1])] == TRAINABLE
    blocks = {block.name: block for block in nets.blocks(b) if block.role != "buffer"}
    layers = []
    for name, part in module.named_modules():
        own = [f"{name}.{kind}" if name else kind for kind in ("weight", "bias")]
        own = [key for key in own if key in blocks]
        plain = isinstance(part, nn.Linear) or (
            isinstance(part, nn.Conv2d) and part.groups == 1 and part.padding_mode == "zeros"
        )
        if not plain or not own or not any(bool(state[blocks[key].span].any()) for key in own):
            continue
        if not all(bool(state[blocks[key].span].all()) for key in own):
            raise ValueError(
                f"networks must have nothing pruned or frozen inside a layer, got {name!r}: a mask "
                "cuts Kronecker products"
            )
        rows = blocks[own[0]].shape[0]
        span = [torch.arange(blocks[key].start, blocks[key].stop).view(rows, -1) for key in own]
        layers.append(_Layer(name, part, torch.cat(span, 1) + first))
        state[layers[-1].places.reshape(-1) - first] = False
    learned = [key for key, block in blocks.items() if bool(state[block.span].any())]
    if learned:
        raise ValueError(
            "kfac is of linear and convolutional layers (ungrouped, zero padding); freeze other "
            f"parameters, got {', '.join(learned[:3])}"
        )
    return layers


def _seen(
    module: nn.Module,
    layers: list[_Layer],
    task: ModuleTask,
    batch: Batch,
    slopes: Slopes | None,
    generator: torch.Generator | None,
    shape: tuple[int, ...] | None,
) -> list[tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]]:
    """Each layer's inputs ``[n, T, in + 1]``, gradients ``[n, T, out]`` by head, and weights."""
    calls: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def keep(name: str) -> Callable[..., torch.Tensor]:
        def hook(_: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            if name in calls:
                raise ValueError(f"kfac needs every layer called once, {name!r} is called again")
            calls[name] = inputs[0].detach(), output
            return output.clone()  # what follows may write into it

        return hook

    handles = [layer.part.register_forward_hook(keep(layer.name)) for layer in layers]
    try:
        with torch.enable_grad():
            inputs, target = batch.content
            if shape is not None and isinstance(inputs, torch.Tensor):
                inputs = inputs.reshape(inputs.shape[0], *shape)
            f = task.outputs(module, inputs)
            if f.dim() != 2:
                raise ShapeError(f"kfac needs outputs [N, d_out], got {list(f.shape)}")
            missing = [layer.name for layer in layers if layer.name not in calls]
            if missing:
                raise ValueError(f"kfac needs every layer called, {missing[0]!r} is not")
            sums = [calls[layer.name][1] for layer in layers]
            heads: Any = ()
            if slopes is not None and generator is not None:
                heads = slopes.at(LOSSES[task.loss], f, target, generator)
            ways = [torch.autograd.grad(f, sums, head, retain_graph=True) for head in heads]
    finally:
        for handle in handles:
            handle.remove()
    return [
        (
            _inputs(layer.part, calls[layer.name][0]),
            [_positions(layer.part, way[k]) for way in ways],
            batch.each,
        )
        for k, layer in enumerate(layers)
    ]


def _inputs(part: nn.Linear | nn.Conv2d, a: torch.Tensor) -> torch.Tensor:
    """What the weights multiply, with a 1 at the end where there is a bias, ``[n, T, in + 1]``."""
    if isinstance(part, nn.Conv2d):
        if isinstance(part.padding, str):
            spare = [
                d * (k - 1) if part.padding == "same" else 0
                for d, k in zip(part.dilation, part.kernel_size, strict=True)
            ]
            high, wide = spare
            a = F.pad(a, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
            edge: Any = 0
        else:
            edge = part.padding
        rows = F.unfold(a, part.kernel_size, part.dilation, edge, part.stride).transpose(1, 2)
    else:
        rows = a.reshape(a.shape[0], -1, a.shape[-1])
    if part.bias is not None:
        rows = torch.cat([rows, torch.ones_like(rows[..., :1])], -1)
    return rows


def _positions(part: nn.Linear | nn.Conv2d, slope: torch.Tensor) -> torch.Tensor:
    """``[n, T, out]``."""
    if isinstance(part, nn.Conv2d):
        return slope.flatten(2).transpose(1, 2)
    return slope.reshape(slope.shape[0], -1, slope.shape[-1])


def _shared(
    inputs: torch.Tensor, ways: list[torch.Tensor], sharing: str
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    if sharing == "expand":
        return inputs, ways
    return inputs.mean(1, keepdim=True), [way.sum(1, keepdim=True) for way in ways]
