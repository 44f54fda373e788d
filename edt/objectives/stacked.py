"""Layers of many networks at once, samples innermost.

What `vmap` makes of convolutions (grouped ones), pooling and their derivatives costs more than the
networks one by one. Here a layer of B networks is one batched matrix product: a convolution of its
taps ``[B, C kh kw, H W N]``, which with the samples innermost are copied in whole rows, and pooling
is a maximum of slices. For chains of the layers below; all others go through `vmap`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from edt.objectives.chained import CoreChain
from edt.objectives.chained_on_gpu import GpuChain

if TYPE_CHECKING:
    from edt.ensemble.blocks import Block

__all__ = ["Layer", "Stack"]

#: Functions of each number by itself: the layer is called as it is.
ELEMENTWISE: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.SiLU,
    nn.Identity,
)  # fmt: skip
#: Numbers in the taps of networks that are evaluated together: about a cache's worth.
TAPS = 2**22
#: Numbers in the taps of one network beyond which this is no gain.
LARGEST = 2**25


@dataclass(frozen=True)
class Layer:
    """One layer: its module, and where its weight and bias lie in a network's flat vector."""

    module: nn.Module
    weight: Block | None = None
    bias: Block | None = None


class Stack:
    """B networks of one chain of layers.

    Args:
        layers: in order.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        self._cores: dict[tuple[str, int, tuple[int, ...]], CoreChain | None] = {}

    def core(self, rows: torch.Tensor, inputs: torch.Tensor) -> CoreChain | None:
        """The same chain in the core, for such networks and inputs; None: it has none.

        Args:
            rows: ``[B, P]``.
            inputs: ``[B, N, ...]``.
        """
        kind = rows.device.type
        able = kind in ("cpu", "cuda") and rows.dtype in (torch.float32, torch.float64)
        if not able or self.taps(inputs.shape[2:], 1) is None:
            return None
        size, shape = int(rows.shape[1]), tuple(inputs.shape[2:])
        key = (kind, size, shape)
        if key not in self._cores:
            self._cores[key] = (
                CoreChain.of(self.layers, shape, size)
                if kind == "cpu"
                else GpuChain.on(self.layers, shape, size, rows.device)
            )
        return self._cores[key]

    @classmethod
    def of(cls, module: nn.Module, blocks: Sequence[Block]) -> Stack | None:
        """The chain that a module is, or None: `nn.Sequential` of layers known here.

        Args:
            module: any.
            blocks: of its flat vector.
        """
        named = {block.name: block for block in blocks}
        layers = _flattened(module, "")
        if layers is None or any(block.role == "buffer" for block in blocks):
            return None
        found, used = [], set()
        for name, layer in layers:
            mine = {short: f"{name}.{short}" for short in layer._parameters}
            if not all(full in named for full, short in zip(mine.values(), mine, strict=True)
                       if layer._parameters[short] is not None):  # fmt: skip
                return None  # tied: the parameter has another layer's name
            used |= set(mine.values())
            weight, bias = (named.get(mine.get(short, "")) for short in ("weight", "bias"))
            found.append(Layer(layer, weight, bias))
        return cls(found) if used >= set(named) else None

    def taps(self, shape: Sequence[int], samples: int) -> int | None:
        """Numbers in the widest layer's taps of one network, or None: the layers do not fit.

        Args:
            shape: of a sample.
            samples: evaluated together.
        """
        now, most = tuple(shape), 1
        for layer in self.layers:
            module: Any = layer.module
            size = 1
            for side in now:
                size *= side
            most = max(most, size)
            if isinstance(module, nn.Conv2d):
                if len(now) != 3 or now[0] != module.in_channels:
                    return None
                (high, wide), kernel = _padded(now, module), module.kernel_size
                if high < kernel[0] or wide < kernel[1]:
                    return None
                rows, columns = module.stride
                high, wide = (high - kernel[0]) // rows + 1, (wide - kernel[1]) // columns + 1
                now = (module.out_channels, high, wide)
                most = max(most, module.in_channels * kernel[0] * kernel[1] * now[1] * now[2])
            elif isinstance(module, (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
                if len(now) != 3:
                    return None
                rows, columns = _field(module, now[1:])
                now = (now[0], now[1] // rows, now[2] // columns)
            elif isinstance(module, nn.Flatten):
                now = (size,)
            elif isinstance(module, nn.Linear):
                if now != (module.in_features,):
                    return None
                now = (module.out_features,)
            if min(now) < 1:
                return None
        return most * samples

    def fits(self, shape: Sequence[int], samples: int) -> int:
        """How many networks to evaluate together; 0: none."""
        each = self.taps(shape, samples)
        return 0 if each is None or each > LARGEST else max(1, TAPS // each)

    def outputs(self, rows: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """``[B, N, ...]`` of networks ``rows`` ``[B, P]`` on inputs ``[B, N, ...]``."""
        at = inputs.movedim(1, -1).contiguous()
        for layer in self.layers:
            module: Any = layer.module
            weight, bias = (
                None if block is None else rows[:, block.span].view(-1, *block.shape)
                for block in (layer.weight, layer.bias)
            )
            if isinstance(module, nn.Conv2d):
                assert weight is not None
                made: Any = _Convolution.apply(  # type: ignore[no-untyped-call]
                    at, weight, module.padding, module.stride
                )
                at = made if bias is None else made + bias[:, :, None, None, None]
            elif isinstance(module, nn.MaxPool2d):
                at = _Pool.apply(at, _pair(module.kernel_size))  # type: ignore[no-untyped-call]
            elif isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
                first, *others = _fields(at, _field(module, at.shape[2:4]))
                at = sum(others, first) / (1 + len(others))
            elif isinstance(module, nn.Flatten):
                at = at.flatten(1, -2)
            elif isinstance(module, nn.Linear):
                assert weight is not None
                at = (
                    torch.bmm(weight, at)
                    if bias is None
                    else torch.baddbmm(bias[:, :, None], weight, at)
                )
            else:
                at = module(at)
        return at.movedim(-1, 1)

    def gradient(
        self,
        rows: torch.Tensor,
        inputs: torch.Tensor,
        value: Callable[[torch.Tensor, slice], torch.Tensor],
        together: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(gradients ``[B, P]``, losses ``[B]``), some networks at a time.

        Args:
            rows: ``[B, P]``.
            inputs: ``[B, N, ...]``.
            value: outputs of some networks, and which -> their losses.
            together: networks at a time.
        """
        slopes, losses = torch.empty_like(rows), rows.new_empty(rows.shape[0])
        for first in range(0, rows.shape[0], together):
            part = slice(first, first + together)
            with torch.enable_grad():
                point = rows[part].detach().requires_grad_(True)
                found = value(self.outputs(point, inputs[part]), part)
                (slopes[part],) = torch.autograd.grad(found.sum(), point)
            losses[part] = found.detach()
        return slopes, losses


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _field(module: Any, sides: Sequence[int]) -> tuple[int, int]:
    """What one number of a pooled image is made of."""
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return sides[0], sides[1]
    return _pair(module.kernel_size)


def _padded(shape: Sequence[int], module: nn.Conv2d) -> tuple[int, int]:
    """Height and width with margins."""
    rows, columns = _pair(module.padding)  # type: ignore[arg-type]
    return shape[1] + 2 * rows, shape[2] + 2 * columns


def _flattened(module: nn.Module, name: str) -> list[tuple[str, nn.Module]] | None:
    """(name, layer) of a Sequential's layers in order, or None: something else is among them."""
    if _hooked(module):
        return None
    if type(module) is nn.Sequential:
        found: list[tuple[str, nn.Module]] = []
        for short, child in module.named_children():
            inner = _flattened(child, f"{name}.{short}" if name else short)
            if inner is None:
                return None
            found += inner
        # `named_children` names a layer that stands twice once.
        return found if len(module) == len(dict(module.named_children())) else None
    return [(name, module)] if _known(module) else None


def _hooked(module: nn.Module) -> bool:
    return any(
        getattr(module, kind)
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks",
                     "_backward_pre_hooks")
    )  # fmt: skip


def _known(module: Any) -> bool:
    """Whether `Stack.outputs` computes what the layer would."""
    if type(module) is nn.Conv2d:
        return (
            module.dilation == (1, 1)
            and module.groups == 1
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )
    if type(module) is nn.MaxPool2d:
        kernel = _pair(module.kernel_size)
        return (
            _pair(module.stride) == kernel
            and _pair(module.padding) == (0, 0)
            and _pair(module.dilation) == (1, 1)
            and not module.ceil_mode
            and not module.return_indices
        )
    if type(module) is nn.AvgPool2d:
        return (
            _pair(module.stride) == _pair(module.kernel_size)
            and _pair(module.padding) == (0, 0)
            and not module.ceil_mode
            and module.divisor_override is None
        )
    if type(module) is nn.AdaptiveAvgPool2d:
        return module.output_size in (1, (1, 1))
    if type(module) is nn.Flatten:
        return bool(module.start_dim == 1 and module.end_dim == -1)
    if type(module) in ELEMENTWISE:
        return not getattr(module, "inplace", False)
    return type(module) is nn.Linear


class _Convolution(torch.autograd.Function):
    """``[B, C, H, W, N]`` and weights ``[B, O, C, kh, kw]`` to ``[B, O, H', W', N]``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        w: torch.Tensor,
        padding: tuple[int, int],
        stride: tuple[int, int],
    ) -> Any:
        B, out = w.shape[:2]
        padded = F.pad(x, (0, 0, padding[1], padding[1], padding[0], padding[0]))
        _, channels, rows, columns, samples = padded.shape
        kh, kw = w.shape[3:]
        (sh, sw), (tall, broad) = stride, (rows - kh, columns - kw)
        high, wide = tall // sh + 1, broad // sw + 1
        s = padded.stride()
        taps = padded.as_strided(
            (B, channels, kh, kw, high, wide, samples),
            (s[0], s[1], s[2], s[3], sh * s[2], sw * s[3], s[4]),
        ).reshape(B, channels * kh * kw, high * wide * samples)
        ctx.save_for_backward(taps, w)
        ctx.sizes = (channels, kh, kw, high, wide, samples, padding, stride, rows, columns)
        return torch.bmm(w.reshape(B, out, -1), taps).view(B, out, high, wide, samples)

    @staticmethod
    def backward(ctx: Any, slope: Any) -> Any:
        taps, w = ctx.saved_tensors
        channels, kh, kw, high, wide, samples, padding, (sh, sw), *padded_sides = ctx.sizes
        B, out = w.shape[:2]
        rows = slope.reshape(B, out, -1)
        of_weight = torch.bmm(rows, taps.transpose(1, 2)).view(w.shape)
        if not ctx.needs_input_grad[0]:
            return None, of_weight, None, None
        spread = torch.bmm(w.reshape(B, out, -1).transpose(1, 2), rows)
        spread = spread.view(B, channels, kh, kw, high, wide, samples)
        padded = spread.new_zeros(B, channels, *padded_sides, samples)
        for i in range(kh):
            for j in range(kw):
                rows, columns = slice(i, i + sh * high, sh), slice(j, j + sw * wide, sw)
                padded[:, :, rows, columns] += spread[:, :, i, j]
        top, left = padding
        inner = padded[:, :, top : padded.shape[2] - top, left : padded.shape[3] - left]
        return inner, of_weight, None, None


class _Pool(torch.autograd.Function):
    """Maxima of ``kh x kw`` fields of ``[B, C, H, W, N]``; of equal ones the first, as torch's."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kernel: tuple[int, int]) -> Any:
        first, *others = _fields(x, kernel)
        best = first.clone()
        for field in others:
            torch.maximum(best, field, out=best)
        ctx.save_for_backward(x, best)
        ctx.kernel = kernel
        return best

    @staticmethod
    def backward(ctx: Any, slope: Any) -> Any:
        x, best = ctx.saved_tensors
        out, left = torch.zeros_like(x), slope.clone()
        for field, place in zip(_fields(x, ctx.kernel), _fields(out, ctx.kernel), strict=True):
            torch.mul(left, field == best, out=place)
            left -= place
        return out, None


def _fields(x: torch.Tensor, kernel: tuple[int, int]) -> list[torch.Tensor]:
    """Views of x: of every field its first number, its second, ..."""
    rows, columns = kernel
    high, wide = x.shape[2] // rows * rows, x.shape[3] // columns * columns
    return [x[:, :, i:high:rows, j:wide:columns] for i in range(rows) for j in range(columns)]
