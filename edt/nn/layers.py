"""`MaskedLinear` and `MaskedConv2d`: torch's layers with a mask that their kernels follow."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from edt.ensemble.arrays import as_tensor
from edt.errors import ShapeError, unknown_choice
from edt.nn.taps import Layout, Shape, product
from edt.ops.cache import TensorCache
from edt.scalars import integer

__all__ = ["KERNELS", "MaskedConv2d", "MaskedLinear"]

#: Which kernels a layer takes.
KERNELS = ("auto", "sparse", "dense")
#: "auto" without a measurement (`edt.nn.sparsify`): sparse up to this share of weights.
DENSITY = 0.2
#: Sizes of inputs, with their batches, that a layer keeps in mind.
PLANS = 64


def _checked(kernel: str) -> str:
    if kernel not in KERNELS:
        raise unknown_choice("kernel", kernel, KERNELS)
    return kernel


class _Taps(NamedTuple):
    """How many weights a mask has, and its compiled lists for each size of images."""

    weights: int
    layouts: dict[Shape, Layout]


class _Plan(NamedTuple):
    """What a layer does with inputs of one size, while mask and dtype stay as they are."""

    mask: Tensor
    version: int
    dtype: torch.dtype
    layout: Layout


class _Masked(nn.Module):
    """What both layers do about masks: compile them, and compile anew what has changed.

    Attributes:
        mask: bool, as the weight; a buffer, so it is saved and moved with the layer. It may be
            changed in place at any time, or with `set_mask`.
        kernel: "sparse", "dense" (torch's own, on the masked weight), or "auto": the faster one
            where `edt.nn.sparsify` has measured, else sparse up to a density of 0.2. Dtypes and
            devices that the sparse kernels do not have (they have float32 and float64 on the CPU)
            are dense.
        compiled: how often a mask was compiled so far: once for each mask and size of images.
    """

    weight: Any
    bias: Any
    mask: Tensor
    kernel: str
    compiled: int
    faster: str | None
    seconds: dict[str, float]

    def _set_up(self, mask: Any, kernel: str) -> None:
        self.kernel, self.compiled = _checked(kernel), 0
        self.faster, self.seconds = None, {}
        self._masks: TensorCache[_Taps] = TensorCache()
        self._plans: dict[torch.Size, _Plan] = {}
        self.register_buffer("mask", torch.ones_like(self.weight, dtype=torch.bool))
        if mask is not None:
            self.set_mask(mask)

    def set_mask(self, mask: Any) -> None:
        """Take another mask; weights keep their values, also where they are pruned.

        Args:
            mask: 0/1 or bool, as the weight or of a shape that broadcasts to it, such as
                ``[c_out, c_in, 1, 1]`` for whole kernels.

        Raises:
            ShapeError: it does not broadcast to the weight. ValueError: other values than 0 and 1.
        """
        given = as_tensor("mask", mask)
        if given.dtype != torch.bool and not bool(((given == 0) | (given == 1)).all()):
            raise ValueError("mask must hold 0 and 1 only")
        try:
            wide = given.to(torch.bool).expand(self.weight.shape)
        except RuntimeError:
            raise ShapeError(
                f"mask must broadcast to the weight's shape {list(self.weight.shape)}, got "
                f"{list(given.shape)}"
            ) from None
        with torch.no_grad():
            self.mask.copy_(wide)

    @property
    def density(self) -> float:
        """Share of the weights that are there."""
        return self._taps().weights / max(1, self.mask.numel())

    @property
    def masked_weight(self) -> Tensor:
        """The weight, 0 where the mask is."""
        masked: Tensor = self.weight * self.mask
        return masked

    def chosen(self, x: Tensor) -> str:
        """The kernel that these inputs get: "sparse" or "dense"."""
        able = (
            x.device.type == "cpu"
            and x.dtype in (torch.float32, torch.float64)
            and self.weight.dtype == x.dtype
            and self.weight.device == x.device
            and x.numel() > 0
        )
        if not able or self.kernel == "dense":
            return "dense"
        if self.kernel == "sparse":
            return "sparse"
        return self.faster or ("sparse" if self.density <= DENSITY else "dense")

    def _taps(self) -> _Taps:
        """What is known of the mask as it is now."""
        found = self._masks.find((self.mask,))
        if found is None:
            weights = int(torch.count_nonzero(self.mask))
            found = self._masks.store(_Taps(weights, {}), (self.mask,))
        return found

    def _layout(self, shape: Shape) -> Layout:
        taps = self._taps()
        if shape not in taps.layouts:
            four = self.mask.reshape(*self.mask.shape, *[1] * (4 - self.mask.ndim))
            taps.layouts[shape] = Layout(four, shape)
            self.compiled += 1
        return taps.layouts[shape]

    def _plan(self, x: Tensor) -> Layout | None:
        """Taps for these inputs; None: the dense kernel. From the layer's attributes."""
        raise NotImplementedError

    def _planned(self, x: Tensor, weight: Tensor) -> Layout | None:
        """`_plan`, kept as long as the mask, its version and all attributes stay as they are.

        In a network this code has left the caches of the processor when a layer's turn comes again:
        looking at every attribute anew takes longer than the products of a small layer.
        """
        mask: Any = self._buffers["mask"]
        kept = self._plans.get(x.shape)
        if (
            kept is not None
            and kept.mask is mask
            and kept.version == mask._version
            and kept.dtype is x.dtype
            and kept.dtype is weight.dtype
            and x.is_cpu
            and weight.is_cpu
        ):
            return kept.layout
        layout = self._plan(x)
        if layout is not None and not mask.is_inference():
            if len(self._plans) >= PLANS:
                self._plans.clear()
            self._plans[x.shape] = _Plan(mask, mask._version, x.dtype, layout)
        return layout

    def __setattr__(self, name: str, value: Any) -> None:
        # Another kernel, stride or padding needs another plan.
        super().__setattr__(name, value)
        if "_plans" in self.__dict__:
            self._plans.clear()

    def __getstate__(self) -> dict[str, Any]:
        # The compiled lists are memory of this process.
        return {**self.__dict__, "_masks": TensorCache(), "_plans": {}}

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        # Weights of torch's own layer come without a mask: this one's stays.
        if prefix + "mask" not in state_dict:
            state_dict = {**state_dict, prefix + "mask": self.mask}
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class MaskedLinear(_Masked, nn.Linear):
    """`torch.nn.Linear` with a mask: its cost follows the weights that are there.

    Args:
        in_features, out_features, bias, device, dtype: as torch's.
        mask: see `set_mask`; default: every weight is there.
        kernel: "auto", "sparse" or "dense".

    Raises:
        ShapeError, ValueError: the mask or the kernel is wrong.

    Differentiable any number of times (by autograd; ``torch.func`` and ``torch.compile`` take the
    dense kernel). A sample's outputs depend neither on the batch nor on threads.

    Example:
        >>> layer = MaskedLinear(4, 3, mask=torch.eye(3, 4))
        >>> layer(torch.ones(2, 4)).shape, layer.density
        (torch.Size([2, 3]), 0.25)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        mask: Any = None,
        kernel: str = "auto",
    ) -> None:
        integer("in_features", in_features), integer("out_features", out_features)
        nn.Linear.__init__(self, in_features, out_features, bias, device, dtype)
        self._set_up(mask, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """``x (mask * W)^T + b``; ``[..., in_features]`` -> ``[..., out_features]``."""
        weight, bias = self.weight, self.bias
        layout = self._planned(x, weight)
        if layout is None:
            return functional.linear(x, self.masked_weight, bias)
        if x.ndim == 2:
            return product(x, weight, bias, layout)
        flat = product(x.reshape(-1, self.in_features), weight, bias, layout)
        return flat.reshape(*x.shape[:-1], self.out_features)

    def _plan(self, x: Tensor) -> Layout | None:
        if x.ndim == 0 or x.shape[-1] != self.in_features or self.chosen(x) == "dense":
            return None
        return self._layout(Shape(self.in_features, self.out_features, flat=True))


class MaskedConv2d(_Masked, nn.Conv2d):
    """`torch.nn.Conv2d` with a mask: its cost follows the taps that are there.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype: as torch's; modes of padding other than "zeros" are dense.
        mask: see `set_mask`; default: every weight is there.
        kernel: "auto", "sparse" or "dense".

    Raises:
        ShapeError, ValueError: the mask or the kernel is wrong.

    Differentiable any number of times (by autograd; ``torch.func`` and ``torch.compile`` take the
    dense kernel). A sample's outputs depend neither on the batch nor on threads.

    Example:
        >>> layer = MaskedConv2d(3, 8, 3, padding=1, mask=torch.rand(8, 3, 3, 3) < 0.1)
        >>> layer(torch.ones(2, 3, 16, 16)).shape
        torch.Size([2, 8, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Any = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        mask: Any = None,
        kernel: str = "auto",
    ) -> None:
        integer("in_channels", in_channels), integer("out_channels", out_channels)
        nn.Conv2d.__init__(
            self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip
        self._set_up(mask, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution with ``mask * W``; ``[N, C, H, W]`` or ``[C, H, W]``, as torch's."""
        weight, bias = self.weight, self.bias
        layout = self._planned(x, weight)
        if layout is None:
            return self._dense(x)
        if x.ndim == 4:
            return product(x, weight, bias, layout)
        return product(x[None], weight, bias, layout)[0]

    def _plan(self, x: Tensor) -> Layout | None:
        strange = x.ndim not in (3, 4) or x.shape[-3] != self.in_channels
        if strange or self.padding_mode != "zeros" or self.chosen(x) == "dense":
            return None
        shape = self._shape(x.shape[-2], x.shape[-1])
        # Where nothing is left of images torch has its own error.
        return self._layout(shape) if shape.h_out > 0 and shape.w_out > 0 else None

    def _dense(self, x: Tensor) -> Tensor:
        out: Tensor = self._conv_forward(x, self.masked_weight, self.bias)
        return out

    def _shape(self, h: int, w: int) -> Shape:
        reach = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        if self.padding == "same":
            before, after = [r // 2 for r in reach], [r - r // 2 for r in reach]
        else:
            pads = (0, 0) if self.padding == "valid" else self.padding
            before = after = [int(pad) for pad in pads]
        h_out, w_out = (
            (size + a + b - r - 1) // s + 1
            for size, a, b, r, s in zip((h, w), before, after, reach, self.stride, strict=True)
        )
        return Shape(
            self.in_channels, self.out_channels, h, w, h_out, w_out,
            (self.stride[0], self.stride[1]), (before[0], before[1]),
            (self.dilation[0], self.dilation[1]),
        )  # fmt: skip
