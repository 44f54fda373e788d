"""A mask compiled for images of one size, and the three products of a sparse layer.

With ``w`` the weights that are there, one a tap, a layer is bilinear in (x, w):

    y[c] = sum_k w_k  S_k x[c_k],        S_k the shift of tap k, by stride and padding.

Its derivatives are the two other products of the same taps, ``x'[g, w]`` and ``w'[x, g]``, and
those of each are the remaining two, so that everything is differentiable any number of times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from edt import _core
from edt.ops.threads import set_core_threads

__all__ = ["Layout", "Shape", "product"]


@dataclass(frozen=True)
class Shape:
    """Sizes of a layer and of the images it is given.

    Attributes:
        c_in, c_out: channels.
        h, w, h_out, w_out: rows and columns.
        stride, padding, dilation: (rows, columns); padding before the first row and column.
        flat: a linear layer, whose images are samples side by side in ``w`` columns.
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
        out, within, dy, dx = (found.to(torch.int32) for found in torch.nonzero(mask.cpu()).T)
        # Channels of a group read the inputs of that group.
        groups = shape.c_in // mask.shape[1]
        inputs = within + out // (shape.c_out // groups) * mask.shape[1]
        rows = (out, inputs, dy * shape.dilation[0], dx * shape.dilation[1])
        rows = tuple(row.to(torch.int32).contiguous() for row in rows)
        sizes = {
            "c_in": shape.c_in, "c_out": shape.c_out, "h": shape.h, "w": shape.w,
            "h_out": shape.h_out, "w_out": shape.w_out, "flat": shape.flat,
            "stride_h": shape.stride[0], "stride_w": shape.stride[1],
            "pad_h": shape.padding[0], "pad_w": shape.padding[1],
            "reach_h": (mask.shape[2] - 1) * shape.dilation[0],
            "reach_w": (mask.shape[3] - 1) * shape.dilation[1],
        }  # fmt: skip
        self.core = _core.Taps(sizes, out.numel(), *(row.data_ptr() for row in rows))
        self.taps = int(out.numel())

    def size(self, samples: int, out: bool) -> tuple[int, ...]:
        """Of a batch of the layer's inputs, or of its outputs."""
        s = self.shape
        channels = s.c_out if out else s.c_in
        if s.flat:
            return samples, channels
        return (samples, channels, s.h_out, s.w_out) if out else (samples, channels, s.h, s.w)


@dataclass
class _Lanes:
    """Images, and the same packed with samples as lanes, once that is asked for."""

    layout: Layout
    images: Tensor
    out: bool
    _packed: Tensor | None = field(default=None, repr=False)

    def packed(self) -> int:
        """Address of the packed images."""
        if self._packed is None:
            given = self.images.detach().contiguous()
            size, double = given.shape[0], given.dtype == torch.float64
            core = self.layout.core
            room = _fresh(given, (core.packed_size(self.out, size, double),))
            set_core_threads()
            core.pack(self.out, size, double, given.data_ptr(), room.data_ptr())
            self._packed = room
        return self._packed.data_ptr()


def _fresh(like: Tensor, size: tuple[int, ...]) -> Tensor:
    """Memory that is about to be written."""
    room = like.new_empty(size)
    _core.prefer_huge_pages(room.data_ptr(), room.numel() * room.element_size())
    return room


class _Product(torch.autograd.Function):
    """``y = w * x + bias``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, layout: Layout) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.layout = layout
        lanes = _Lanes(layout, x, False)
        ctx.lanes = lanes
        out = _fresh(x, layout.size(x.shape[0], True))
        shift = None if bias is None else bias.detach().contiguous()
        weights, packed = w.detach().contiguous(), lanes.packed()
        set_core_threads()
        layout.core.forward(
            x.shape[0], x.dtype == torch.float64, weights.data_ptr(),
            0 if shift is None else shift.data_ptr(), packed, out.data_ptr(),
        )  # fmt: skip
        return out

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = slopes
        x, w = ctx.saved_tensors
        lanes = _Lanes(ctx.layout, slope, True)
        need_x, need_w, need_bias, _ = ctx.needs_input_grad
        over = (0,) if slope.ndim == 2 else (0, 2, 3)
        return (
            _INPUT_GRAD(slope, w, lanes) if need_x else None,
            _WEIGHT_GRAD(x, slope, ctx.lanes, lanes) if need_w else None,
            slope.sum(over) if need_bias else None,
            None,
        )


class _InputGrad(torch.autograd.Function):
    """``x'[g, w]``: bilinear in the slopes and the weights."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, w: Tensor, lanes: _Lanes) -> Tensor:
        ctx.save_for_backward(slope, w)
        ctx.lanes, layout = lanes, lanes.layout
        out = _fresh(slope, layout.size(slope.shape[0], False))
        weights, packed = w.detach().contiguous(), lanes.packed()
        set_core_threads()
        layout.core.input_grad(
            slope.shape[0], slope.dtype == torch.float64, weights.data_ptr(), packed,
            out.data_ptr(),
        )  # fmt: skip
        return out

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        (u,) = above
        slope, w = ctx.saved_tensors
        need_slope, need_w, _ = ctx.needs_input_grad
        layout = ctx.lanes.layout
        return (
            _PRODUCT(u, w, None, layout) if need_slope else None,
            _WEIGHT_GRAD(u, slope, _Lanes(layout, u, False), ctx.lanes) if need_w else None,
            None,
        )


class _WeightGrad(torch.autograd.Function):
    """``w'[x, g]``: bilinear in the inputs and the slopes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor, inputs: _Lanes, slopes: _Lanes) -> Tensor:
        ctx.save_for_backward(x, slope)
        ctx.inputs, ctx.slopes, layout = inputs, slopes, inputs.layout
        out = x.new_empty(layout.taps)
        packed, packed_slopes = inputs.packed(), slopes.packed()
        set_core_threads()
        layout.core.weight_grad(
            x.shape[0], x.dtype == torch.float64, packed, packed_slopes, out.data_ptr()
        )
        return out

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        (u,) = above
        x, slope = ctx.saved_tensors
        need_x, need_slope, _, _ = ctx.needs_input_grad
        return (
            _INPUT_GRAD(slope, u, ctx.slopes) if need_x else None,
            _PRODUCT(x, u, None, ctx.inputs.layout) if need_slope else None,
            None,
            None,
        )


# As functions with types.
_PRODUCT: Callable[..., Tensor] = _Product.apply
_INPUT_GRAD: Callable[..., Tensor] = _InputGrad.apply
_WEIGHT_GRAD: Callable[..., Tensor] = _WeightGrad.apply


def product(x: Tensor, w: Tensor, bias: Tensor | None, layout: Layout) -> Tensor:
    """Outputs of a sparse layer.

    Args:
        x: ``[N, c_in]`` or ``[N, c_in, h, w]``, float32 or float64 on the CPU, N >= 1.
        w: ``[taps]``, same dtype: the weights that are there, in the order of the mask.
        bias: ``[c_out]`` or None.
        layout: taps.

    Returns:
        ``[N, c_out]`` or ``[N, c_out, h_out, w_out]``. A sample's outputs do not depend on the
        others, and nothing on the number of threads.
    """
    return _PRODUCT(x, w, bias, layout)
