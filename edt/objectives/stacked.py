"""Layers of many networks at once, samples innermost.

What `vmap` makes of convolutions (grouped ones), pooling and their derivatives costs more than the
networks one by one. Here a layer of B networks is one batched matrix product: a convolution of its
taps ``[B, C kh kw, H W N]``, which with the samples innermost are copied in whole rows, and pooling
is a maximum of slices. For networks of the layers of `edt.objectives.layers`; all others go through
`vmap`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from edt.objectives.chained import CoreChain
from edt.objectives.chained_on_gpu import GpuChain
from edt.objectives.layers import INPUTS, POOLING, Add, Gain, Layer, Shortcut, field, known, pair
from edt.objectives.traced import read_layers

if TYPE_CHECKING:
    from edt.ensemble.blocks import Block

__all__ = ["Stack"]

#: Numbers in the taps of networks that are evaluated together: about a cache's worth.
TAPS = 2**22
#: Numbers in the taps of one network beyond which this is no gain.
LARGEST = 2**25


class Stack:
    """B networks of one list of layers.

    Args:
        layers: in order.
        doubted: the module that they were read from and the blocks of its flat vector, where its
            forward pass is its own: what the layers compute is then compared with it once.
    """

    def __init__(
        self, layers: Sequence[Layer], doubted: tuple[nn.Module, Sequence[Block]] | None = None
    ) -> None:
        self.layers = tuple(layers)
        self._doubted = doubted
        self._agreed: dict[tuple[int, ...], bool] = {}
        self._cores: dict[tuple[str, int, tuple[int, ...]], CoreChain | None] = {}
        sources = {k: layer.source for k, layer in enumerate(self.layers)}
        # Layers whose outputs are read later than by the next one.
        self._kept = {source for k, source in sources.items() if source != k - 1} | {
            layer.module.other for layer in self.layers if isinstance(layer.module, Add)
        }

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
    def of(cls, module: nn.Module, blocks: Sequence[Block]) -> Stack:
        """The layers that a module is made of.

        Args:
            module: any; it must not change afterwards.
            blocks: of its flat vector.

        Raises:
            Unread: something else is among them.
        """
        layers = read_layers(module, blocks)
        plain = all(type(part) is nn.Sequential or known(part) for part in module.modules())
        return cls(layers, None if plain else (module, blocks))

    def taps(self, shape: Sequence[int], samples: int) -> int | None:
        """Numbers in the widest layer's taps of one network, or None: the layers do not fit.

        Args:
            shape: of a sample.
            samples: evaluated together.
        """
        shapes, most = {INPUTS: tuple(shape)}, 1
        for k, layer in enumerate(self.layers):
            module: Any = layer.module
            now = shapes[layer.source]
            most = max(most, math.prod(now))
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
            elif isinstance(module, POOLING):
                if len(now) != 3:
                    return None
                rows, columns = field(module, now[1:])
                now = (now[0], now[1] // rows, now[2] // columns)
            elif isinstance(module, nn.Flatten):
                now = (math.prod(now),)
            elif isinstance(module, nn.Linear):
                if now != (module.in_features,):
                    return None
                now = (module.out_features,)
            elif isinstance(module, Shortcut):
                found = module.after(now)
                if found is None:
                    return None
                now = found
            elif isinstance(module, Add) and shapes[module.other] != now:
                return None
            if min(now) < 1:
                return None
            shapes[k] = now
        return most * samples if self._agrees(tuple(shape)) else None

    def _agrees(self, shape: tuple[int, ...]) -> bool:
        """Whether the layers give what their module does, of random numbers."""
        if self._doubted is None:
            return True
        if shape not in self._agreed:
            module, blocks = self._doubted
            draw = torch.Generator().manual_seed(0)
            parts = [torch.randn(b.shape, generator=draw, dtype=torch.float64) for b in blocks]
            # Weights of a layer keep its inputs' size.
            parts = [part * (len(part) / part.numel()) ** 0.5 if part.dim() > 1 else part
                     for part in parts]  # fmt: skip
            x = torch.randn(2, *shape, generator=draw, dtype=torch.float64)
            named = {block.name: part for block, part in zip(blocks, parts, strict=True)}
            try:
                with torch.no_grad():
                    known = functional_call(module, named, (x,))
                    mine = self.outputs(torch.cat([p.flatten() for p in parts])[None], x[None])[0]
                size = known.abs().max()
                same = mine.shape == known.shape and (mine - known).abs().max() <= 1e-9 * size
                self._agreed[shape] = bool(same)
            except (RuntimeError, ValueError, TypeError):
                self._agreed[shape] = False
        return self._agreed[shape]

    def fits(self, shape: Sequence[int], samples: int) -> int:
        """How many networks to evaluate together; 0: none."""
        each = self.taps(shape, samples)
        return 0 if each is None or each > LARGEST else max(1, TAPS // each)

    def outputs(self, rows: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """``[B, N, ...]`` of networks ``rows`` ``[B, P]`` on inputs ``[B, N, ...]``."""
        at = inputs.movedim(1, -1).contiguous()
        kept = {INPUTS: at}
        for k, layer in enumerate(self.layers):
            module: Any = layer.module
            if layer.source != k - 1:
                at = kept[layer.source]
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
                at = _Pool.apply(at, pair(module.kernel_size))  # type: ignore[no-untyped-call]
            elif isinstance(module, POOLING):
                first, *others = _fields(at, field(module, at.shape[2:4]))
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
            elif isinstance(module, Gain):
                assert weight is not None
                at = weight.view(-1, *(1,) * (at.dim() - 1)) * at
            elif isinstance(module, Shortcut):
                at = at[:, : module.kept, :: module.rows, :: module.columns]
                at = F.pad(at, (0, 0, 0, 0, 0, 0, module.ahead, module.behind))
            elif isinstance(module, Add):
                at = at + kept[module.other]
            else:
                at = module(at)
            if k in self._kept:
                kept[k] = at
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


def _padded(shape: Sequence[int], module: nn.Conv2d) -> tuple[int, int]:
    """Height and width with margins."""
    rows, columns = pair(module.padding)  # type: ignore[arg-type]
    return shape[1] + 2 * rows, shape[2] + 2 * columns


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
        for other in others:
            torch.maximum(best, other, out=best)
        ctx.save_for_backward(x, best)
        ctx.kernel = kernel
        return best

    @staticmethod
    def backward(ctx: Any, slope: Any) -> Any:
        x, best = ctx.saved_tensors
        out, left = torch.zeros_like(x), slope.clone()
        for part, place in zip(_fields(x, ctx.kernel), _fields(out, ctx.kernel), strict=True):
            torch.mul(left, part == best, out=place)
            left -= place
        return out, None


def _fields(x: torch.Tensor, kernel: tuple[int, int]) -> list[torch.Tensor]:
    """Views of x: of every field its first number, its second, ..."""
    rows, columns = kernel
    high, wide = x.shape[2] // rows * rows, x.shape[3] // columns * columns
    return [x[:, :, i:high:rows, j:wide:columns] for i in range(rows) for j in range(columns)]
