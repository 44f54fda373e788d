"""A mask compiled for images of one size, and the products of a sparse layer.

With ``w`` the weights that are there, one a tap, a layer is bilinear in (x, w):

    y[c] = sum_k w_k  S_k x[c_k],        S_k the shift of tap k, by stride and padding.

Its derivatives are two more products of the same taps, ``x'[g, w]`` and ``w'[x, g]``, of which one
call of the core makes both; and those of each are the remaining two, so that everything is
differentiable any number of times. Weights and their gradients are dense tensors, of which only
what the mask has is read, and the rest is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edt import _core
from edt.nn.team import use_torch_threads
from edt.ops.threads import set_core_threads

__all__ = ["Layout", "Shape", "product"]


@dataclass(frozen=True)
class Shape:
    """Sizes of a layer and of the images it is given.

    Attributes:
        c_in, c_out: channels.
        h, w, h_out, w_out: rows and columns.
        stride, padding, dilation: (rows, columns); padding before the first row and column.
        flat: a linear layer.
    """

    c_in: int
    c_out: int
    h: int = 1
    w: int = 1
    h_out: int = 1
    w_out: int = 1
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    flat: bool = False


class Layout:
    """The taps of a mask, for images of one size.

    Args:
        mask: bool ``[c_out, c_in / groups, rows, columns]``.
        shape: sizes.
    """

    def __init__(self, mask: Tensor, shape: Shape) -> None:
        self.shape = shape
        found = torch.nonzero(mask.cpu())
        out, within, dy, dx = found.T
        # Channels of a group read the inputs of that group.
        groups = shape.c_in // mask.shape[1]
        inputs = within + out // (shape.c_out // groups) * mask.shape[1]
        rows = (out, inputs, dy * shape.dilation[0], dx * shape.dilation[1])
        rows = tuple(row.to(torch.int32).contiguous() for row in rows)
        places = torch.nonzero(mask.reshape(-1)).flatten()
        sizes = {
            "c_in": shape.c_in, "c_out": shape.c_out, "h": shape.h, "w": shape.w,
            "h_out": shape.h_out, "w_out": shape.w_out, "flat": shape.flat,
            "stride_h": shape.stride[0], "stride_w": shape.stride[1],
            "pad_h": shape.padding[0], "pad_w": shape.padding[1],
            "reach_h": (mask.shape[2] - 1) * shape.dilation[0],
            "reach_w": (mask.shape[3] - 1) * shape.dilation[1],
        }  # fmt: skip
        self.core = _core.Taps(
            sizes, mask.numel(), places.numel(), *(row.data_ptr() for row in (*rows, places))
        )  # fmt: skip

    def size(self, samples: int, out: bool) -> tuple[int, ...]:
        """Of a batch of the layer's inputs, or of its outputs."""
        s = self.shape
        channels = s.c_out if out else s.c_in
        if s.flat:
            return samples, channels
        return (samples, channels, s.h_out, s.w_out) if out else (samples, channels, s.h, s.w)


#: Bytes from which on memory is used again (csrc/cpu/recycled.h).
LARGE = 1 << 20


def _fresh(like: Tensor, size: Sequence[int]) -> Tensor:
    """Memory that is about to be written."""
    count = math.prod(size)
    bytes_ = count * like.element_size()
    if bytes_ < LARGE:
        return torch.empty(size, dtype=like.dtype)
    room: Any = _core.Recycled(bytes_)
    return torch.frombuffer(room, dtype=like.dtype, count=count).view(size)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _outputs(x: Tensor, w: Tensor, bias: Tensor | None, layout: Layout) -> Tensor:
    """The core's ``w * x + bias``."""
    x, w = x.contiguous(), w.contiguous()
    shift = None if bias is None else bias.contiguous()
    samples = x.shape[0]
    out = _fresh(x, layout.size(samples, True))
    set_core_threads()
    layout.core.forward(
        samples, x.dtype is torch.float64, w.data_ptr(), _address(shift), x.data_ptr(),
        out.data_ptr(),
    )  # fmt: skip
    return out


def _gradients(
    x: Tensor, w: Tensor, slope: Tensor, layout: Layout, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The core's ``x'[g, w]``, ``w'[x, g]`` and the sums of g, where they are wanted."""
    x, w, slope = x.contiguous(), w.contiguous(), slope.contiguous()
    dx = _fresh(x, x.shape) if wanted[0] else None
    dw = torch.empty_like(w) if wanted[1] else None
    dbias = w.new_empty(w.shape[0]) if wanted[2] else None
    set_core_threads()
    layout.core.gradients(
        x.shape[0], x.dtype is torch.float64, w.data_ptr(), x.data_ptr(), slope.data_ptr(),
        _address(dx), _address(dw), _address(dbias),
    )  # fmt: skip
    return dx, dw, dbias


class _Product(torch.autograd.Function):
    """``y = w * x + bias``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, layout: Layout) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.layout = layout
        return _outputs(x, w, bias, layout)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        # Without a graph of these derivatives, a node of it would be made in vain.
        gradients = _GRADIENTS if torch.is_grad_enabled() else _gradients
        return *gradients(x, w, slopes[0], ctx.layout, ctx.needs_input_grad[:3]), None


class _Gradients(torch.autograd.Function):
    """`_gradients`, differentiable."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, slope: Tensor, layout: Layout, wanted: tuple[bool, ...]
    ) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(x, w, slope)
        ctx.layout = layout
        ctx.set_materialize_grads(False)
        return _gradients(x, w, slope, layout, wanted)

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        to_x, to_w, to_bias = above
        x, w, slope = ctx.saved_tensors
        layout: Layout = ctx.layout
        need_x, need_w, need_slope, _, _ = ctx.needs_input_grad
        grad_x = grad_w = grad_slope = None
        if need_x and to_w is not None:
            grad_x = _GRADIENTS(x, to_w, slope, layout, (True, False, False))[0]
        if need_w and to_x is not None:
            grad_w = _GRADIENTS(to_x, w, slope, layout, (False, True, False))[1]
        if need_slope:
            parts = []
            if to_x is not None:
                parts.append(_PRODUCT(to_x, w, None, layout))
            if to_w is not None:
                parts.append(_PRODUCT(x, to_w, to_bias, layout))
            elif to_bias is not None:
                shape = (-1,) if slope.ndim == 2 else (-1, 1, 1)
                parts.append(to_bias.reshape(shape).expand_as(slope))
            grad_slope = sum(parts[1:], start=parts[0]) if parts else None
        return grad_x, grad_w, grad_slope, None, None


use_torch_threads()

# As functions with types.
_PRODUCT: Callable[..., Tensor] = _Product.apply
_GRADIENTS: Callable[..., tuple[Tensor | None, ...]] = _Gradients.apply


def product(x: Tensor, w: Tensor, bias: Tensor | None, layout: Layout) -> Tensor:
    """Outputs of a sparse layer.

    Args:
        x: ``[N, c_in]`` or ``[N, c_in, h, w]``, float32 or float64 on the CPU, N >= 1.
        w: the layer's weight, same dtype; what the mask does not have is not read.
        bias: ``[c_out]`` or None.
        layout: taps.

    Returns:
        ``[N, c_out]`` or ``[N, c_out, h_out, w_out]``. A sample's outputs do not depend on the
        others, and nothing on the number of threads.
    """
    return _PRODUCT(x, w, bias, layout)
