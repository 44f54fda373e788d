"""What the builders share: seeds, widths, initial values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from edt.scalars import number

__all__ = ["glorot", "he", "image_shape", "scaled", "seeded"]


#: Units or channels of a layer: products of two of them are still machine integers.
LARGEST = 2**24


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """PyTorch's generator at a seed, and afterwards as it was; None: as it is."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        yield


def scaled(sizes: tuple[int, ...], width: float) -> list[int]:
    """Hidden sizes times a factor, rounded, at least 1.

    Raises:
        TypeError: no number. ValueError: not above 0, or sizes above `LARGEST`.
    """
    width = number("width (the factor on hidden sizes)", width, strict=True)
    made = [max(1, round(size * width)) for size in sizes]
    if max(made) > LARGEST:
        raise ValueError(
            f"width (the factor on hidden sizes) must make layers of at most {LARGEST:,} units, "
            f"got {width:g} times {max(sizes)}"
        )
    return made


def image_shape(shape: Any, least: int) -> tuple[int, int, int]:
    """(channels, height, width) of an image.

    Raises:
        ValueError: not three sizes, or an image of fewer than ``least`` pixels a side.
    """
    sizes = tuple(int(size) for size in shape)
    if len(sizes) != 3 or min(sizes) < 1 or min(sizes[1:]) < least:
        raise ValueError(
            f"shape must be (channels, height, width) with at least {least} pixels a side, got "
            f"{shape!r}"
        )
    return sizes


def glorot(module: nn.Module) -> nn.Module:
    """Glorot normal weights, zero biases (Frankle & Carbin 2019)."""
    return _fill(module, nn.init.xavier_normal_)


def he(module: nn.Module) -> nn.Module:
    """He normal weights, zero biases (He et al. 2015)."""
    return _fill(module, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"))


def _fill(module: nn.Module, draw: Callable[[torch.Tensor], Any]) -> nn.Module:
    for part in module.modules():
        # Shapes alone (device "meta") have no values; to draw them imports two seconds of torch.
        if isinstance(part, (nn.Linear, nn.Conv2d)) and not part.weight.is_meta:
            draw(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return module
