"""Chains of layers in the core, many networks at once: sample blocks are lanes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from edt import _core
from edt.ensemble.activations import ACTIVATIONS, name_of
from edt.objectives.layers import INPUTS, POOLING, Add, Gain, Layer, Shortcut, field, pair
from edt.ops.losses import loss_code
from edt.ops.threads import one_blas_thread, set_core_threads
from edt.ops.training import Rule, Run, train_arguments

__all__ = ["CoreChain"]

#: Of each network; empty: everything is there.
Masks = Sequence[_core.ChainMask]
#: Numbers between the layers of a sample: a thread keeps those of a block of 64 (float32) samples.
LARGEST = 2**20


class CoreChain:
    """One chain of layers for samples of one shape, on the CPU in float32 or float64.

    Args:
        layers: in order.
        shape: of a sample.
        parameters: numbers of a network.
    """

    def __init__(self, layers: Sequence[Layer], shape: Sequence[int], parameters: int) -> None:
        entries: list[dict[str, Any]] = []
        # Of each layer: the shape of its outputs, and which of the core's layers gives them.
        shapes, places = {INPUTS: tuple(shape)}, {INPUTS: INPUTS}
        for k, layer in enumerate(layers):
            self.shape, places[k] = shapes[layer.source], places[layer.source]
            if isinstance(layer.module, nn.Flatten):
                self.shape = (math.prod(self.shape),)
            elif not _nothing(layer, self.shape):
                entry = self._entry(layer) | {"source": places[layer.source]}
                if isinstance(layer.module, Add):
                    entry |= {"other": places[layer.module.other]}
                entries.append(entry)
                places[k] = len(entries) - 1
            shapes[k] = self.shape
        self._chain = _core.Chain(entries, parameters)

    @classmethod
    def of(cls, layers: Sequence[Layer], shape: Sequence[int], parameters: int) -> CoreChain | None:
        """The chain, or None where the core lacks a layer or a sample takes too much room."""
        kinds = (nn.Conv2d, nn.Linear, *POOLING)
        if not any(isinstance(layer.module, kinds) for layer in layers):
            return None
        for layer in layers:
            if isinstance(layer.module, nn.Module) and not isinstance(
                layer.module, (*kinds, nn.Flatten)
            ):
                try:
                    name_of(layer.module)
                except ValueError:
                    return None  # another slope or shape than the core's
        made = cls(layers, shape, parameters)
        # Of graphs that large one vector of samples goes at a time instead of four.
        most = 4 * LARGEST if made._chain.graph else LARGEST
        return made if made._chain.room <= most else None

    def _entry(self, layer: Layer) -> dict[str, Any]:
        """What the core is told of a layer; moves on to the shape after it."""
        module: Any = layer.module
        c, h, w = self.shape if len(self.shape) == 3 else (math.prod(self.shape), 1, 1)
        found = {
            "kind": "activation", "c_in": c, "h": h, "w": w, "kh": 1, "kw": 1, "top": 0, "left": 0,
            "sh": 1, "sw": 1, "weight": -1, "bias": -1, "act": 0,
        }  # fmt: skip
        out = (c, h, w)
        if isinstance(module, POOLING):
            kh, kw = field(module, (h, w))
            out = (c, h // kh, w // kw)
            kind = "pool" if isinstance(module, nn.MaxPool2d) else "mean"
            found |= {"kind": kind, "kh": kh, "kw": kw}
        elif isinstance(module, Shortcut):
            after = module.after((c, h, w))
            assert after is not None
            out = after
            found |= {
                "kind": "shortcut", "sh": module.rows, "sw": module.columns,
                "kept": module.channels((c, h, w)), "ahead": module.ahead,
            }  # fmt: skip
        elif isinstance(module, Add):
            found |= {"kind": "add"}
        elif isinstance(module, Gain):
            assert layer.weight is not None
            found |= {"kind": "gain", "weight": layer.weight.start}
        elif layer.weight is None:
            found |= {"act": ACTIVATIONS[name_of(module)].code}
        else:
            found |= {
                "kind": "affine",
                "weight": layer.weight.start,
                "bias": -1 if layer.bias is None else layer.bias.start,
            }
            if isinstance(module, nn.Conv2d):
                padding: Any = module.padding
                (kh, kw), (top, left) = module.kernel_size, pair(padding)
                sh, sw = module.stride
                rows, columns = (h + 2 * top - kh) // sh + 1, (w + 2 * left - kw) // sw + 1
                out = (module.out_channels, rows, columns)
                found |= {"kh": kh, "kw": kw, "top": top, "left": left, "sh": sh, "sw": sw}
            else:
                out = (module.out_features, 1, 1)
        self.shape = out if len(self.shape) == 3 else (out[0],)
        return found | {"c_out": out[0], "h_out": out[1], "w_out": out[2]}

    def mask(self, state: torch.Tensor) -> _core.ChainMask:
        """What a mask leaves of a network; a snapshot.

        Args:
            state: uint8 ``[P]``, see `edt.ensemble.masks`.
        """
        row = state.cpu().contiguous()
        return _core.ChainMask(self._chain, row.data_ptr())

    def outputs(self, rows: torch.Tensor, inputs: torch.Tensor, masks: Masks = ()) -> torch.Tensor:
        """``[B, N, ...]`` of networks ``rows`` ``[B, P]`` on inputs ``[B, N, ...]``.

        Args:
            rows, inputs: see above; pruned entries 0.
            masks: of each network; none: everything is there.
        """
        B, N = inputs.shape[:2]
        out = rows.new_empty(B, N, *self.shape)
        self._call("outputs", masks, rows, inputs, out)
        return out

    def gradient(
        self,
        rows: torch.Tensor,
        inputs: torch.Tensor,
        value: Callable[[torch.Tensor], torch.Tensor],
        masks: Masks = (),
        into: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(gradients ``[B, P]``, losses ``[B]``).

        Args:
            rows: ``[B, P]``.
            inputs: ``[B, N, ...]``.
            value: outputs -> losses ``[B]``.
            masks: of each network; gradients are 0 of what they do not train.
            into: ``[B, P]``, contiguous, where gradients are written; None: to new memory.
        """
        out = self.outputs(rows, inputs, masks)
        slopes, losses = slopes_of(value, out)
        grad = torch.empty_like(rows) if into is None else into
        # Blocks go forward once more: that costs less than to bring what they left from memory.
        self._call("gradient", masks, rows, inputs, slopes, grad)
        return grad, losses

    def train(
        self,
        run: Run,
        rule: Rule,
        until: int,
        members: torch.Tensor,
        masks: Masks,
        data: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]],
        loss: int,
        offsets: torch.Tensor,
        task_index: torch.Tensor,
    ) -> None:
        """Training steps of networks, see `edt.objectives.chain_steps.ChainSteps.take`.

        Args:
            run, rule, until: of the call.
            members: int64, the networks.
            masks: of each of them; none: everything is there.
            data: (inputs, targets, weights) of every target, contiguous.
            loss: the core's number of it.
            offsets, task_index: of all networks.
        """
        set_core_threads()
        addresses = [
            tuple(0 if part is None else part.data_ptr() for part in whole) for whole in data
        ]
        self._chain.train(
            masks, members.tolist(), addresses, data[0][0].shape[0], loss, offsets.data_ptr(),
            task_index.data_ptr(), task_index.numel(), run.theta.dtype == torch.float64,
            run.theta.data_ptr(), rule.hyper,
            train_arguments(run, rule, until, lambda given: given.data_ptr()),
        )  # fmt: skip

    def products(
        self,
        rows: torch.Tensor,
        inputs: torch.Tensor,
        value: Callable[[torch.Tensor], torch.Tensor],
        curvature: Callable[[torch.Tensor], torch.Tensor],
        vectors: torch.Tensor,
        masks: Masks = (),
        into: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> torch.Tensor:
        """``J^T A J v + sum_n u_n d^2 f_n v`` for K vectors, ``[B, K, P]``, f the outputs.

        Args:
            rows: ``[B, P]``.
            inputs: ``[B, N, ...]``.
            value: f of one network ``[N, d]`` -> its loss; u is its gradient.
            curvature: f of one network -> A, second derivatives of the loss ``[N, d, d]``.
            vectors: ``[B, K, P]``, 0 where a mask trains nothing.
            masks: of each network; products are 0 of what they do not train.
            into: ``[B, K, P]`` with the strides of ``vectors``, where products are written; None:
                to new memory.
            ggn: leave out the second term.
        """
        f = self.outputs(rows, inputs, masks)
        with one_blas_thread():
            A, u = seconds(f, value, curvature, ggn=ggn)
        vectors, out = laid_alike(vectors, into)
        self._call(
            "products",
            masks,
            rows,
            inputs,
            u,
            A,
            vectors,
            vectors.shape[1],
            *vectors.stride()[:2],
            out,
        )
        return out

    def loss_products(
        self,
        rows: torch.Tensor,
        inputs: torch.Tensor,
        loss: str,
        y: torch.Tensor,
        weights: torch.Tensor | float,
        vectors: torch.Tensor,
        masks: Masks = (),
        into: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> torch.Tensor:
        """As `products`, of ``sum_n c_n l(f_n, y_n)`` with a loss of the table.

        Args:
            rows: ``[B, P]``.
            inputs: ``[B, N, ...]``.
            loss: its name.
            y: targets of all networks, see `edt.objectives.chain_steps.learns`.
            weights: c ``[N]``, or their sum where all are alike.
            vectors, masks, into, ggn: see `products`.
        """
        c = weights.to(rows.dtype).contiguous() if isinstance(weights, torch.Tensor) else None
        scale = 1.0 if isinstance(weights, torch.Tensor) else weights
        vectors, out = laid_alike(vectors, into)
        self._call(
            "loss_products", masks, rows, inputs, loss_code(loss), y.contiguous(), c, scale, ggn,
            vectors, vectors.shape[1], *vectors.stride()[:2], out,
        )  # fmt: skip
        return out

    def _call(
        self,
        name: str,
        masks: Masks,
        rows: torch.Tensor,
        inputs: torch.Tensor,
        *more: torch.Tensor | float | None,
    ) -> None:
        B, N = inputs.shape[:2]
        shared = inputs.stride(0) == 0
        # Of inputs that all networks share one copy is laid out.
        x, theta = (inputs[0] if shared else inputs).contiguous(), rows.contiguous()
        set_core_threads()
        getattr(self._chain, name)(
            masks, B, N, rows.dtype == torch.float64, theta.data_ptr(), x.data_ptr(),
            0 if shared else N * self._chain.d_in,
            *(part.data_ptr() if isinstance(part, torch.Tensor) else part or 0 for part in more),
        )  # fmt: skip


def slopes_of(
    value: Callable[[torch.Tensor], torch.Tensor], out: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(slopes of the losses in the outputs, contiguous; losses ``[B]``)."""
    with torch.enable_grad():
        losses = value(out.requires_grad_(True))
        (slopes,) = torch.autograd.grad(losses.sum(), out)
    return slopes.contiguous(), losses.detach()


def laid_alike(
    vectors: torch.Tensor, into: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors ``[B, K, P]``, and where products of their strides go: ``into`` where it has them."""
    # The strides of vectors that lie close, whatever their order.
    out = torch.empty_like(vectors) if into is None else into
    if out.stride() != vectors.stride() or out.stride(2) != 1:
        vectors, out = vectors.contiguous(), vectors.new_empty(vectors.shape)
    return vectors, out


def seconds(
    f: torch.Tensor,
    value: Callable[[torch.Tensor], torch.Tensor],
    curvature: Callable[[torch.Tensor], torch.Tensor],
    *,
    ggn: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A ``[B, N, d, d]`` and u ``[B, N, d]`` (None with ``ggn``) at outputs ``f`` ``[B, N, d]``.

    Args:
        f, value, curvature, ggn: see `CoreChain.products`.
    """
    A, u = f.new_empty(*f.shape, f.shape[-1]), None if ggn else torch.empty_like(f)
    for b in range(f.shape[0]):
        # One at a time: what vector code makes of a row depends on the rows beside it.
        at = f[b].clone().requires_grad_(True)
        with torch.enable_grad():
            loss = value(at)  # names what does not fit
            if u is not None:
                (u[b],) = torch.autograd.grad(loss, at)
        A[b] = curvature(at.detach())
    return A, u


def _nothing(layer: Layer, shape: Sequence[int]) -> bool:
    """Whether a layer is a shortcut that leaves all as it is."""
    made = layer.module
    if not isinstance(made, Shortcut):
        return False
    whole = made.kept is None or made.kept == shape[0]
    return whole and (made.ahead, made.behind, made.rows, made.columns) == (0, 0, 1, 1)
