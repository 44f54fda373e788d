"""Residual convolutional networks for small images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from edt.errors import unknown_choice
from edt.nets.common import he, image_shape, scaled, seeded

__all__ = ["resnet20"]

NORMS = ("batch", "none")


class _Block(nn.Module):
    """Two 3 x 3 convolutions; the shortcut is subsampled and filled with channels of zeros."""

    def __init__(self, fan_in: int, fan_out: int, stride: int, norm: str) -> None:
        super().__init__()
        plain = norm == "none"
        self.conv1 = nn.Conv2d(fan_in, fan_out, 3, stride, padding=1, bias=plain)
        self.conv2 = nn.Conv2d(fan_out, fan_out, 3, padding=1, bias=plain)
        self.norm1 = nn.Identity() if plain else nn.BatchNorm2d(fan_out)
        self.norm2 = nn.Identity() if plain else nn.BatchNorm2d(fan_out)
        #: SkipInit, without norms: the block starts as its shortcut.
        self.scale = nn.Parameter(torch.zeros(())) if plain else None
        self.stride, self.added = stride, max(0, fan_out - fan_in)
        self.kept = min(fan_in, fan_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        if self.scale is not None:
            h = self.scale * h
        way = x[:, : self.kept, :: self.stride, :: self.stride]
        return torch.relu(h + F.pad(way, (0, 0, 0, 0, 0, self.added)))


def resnet20(
    width: float = 1.0,
    seed: int | None = None,
    *,
    shape: Sequence[int] = (3, 32, 32),
    classes: int = 10,
    norm: str = "batch",
    blocks: int = 3,
) -> nn.Module:
    """ResNet-20: three stages of 16, 32 and 64 channels, ``blocks`` residual blocks each.

    Args:
        width: factor on channels.
        seed: see `edt.nets`.
        shape: (channels, height, width), from 4 pixels a side on.
        classes: outputs.
        norm: "batch", or "none": biases and a factor on each block that starts at 0 (SkipInit).
        blocks: a stage; 3 makes 20 layers, 9 makes ResNet-56.

    Raises:
        ValueError: unknown norm, an image too small, a width that is not above 0.

    Reference: K. He et al., "Deep residual learning for image recognition", CVPR 2016; S. De,
    S. Smith, "Batch normalization biases residual blocks towards the identity", NeurIPS 2020.
    """
    if norm not in NORMS:
        raise unknown_choice("norm", str(norm), NORMS)
    channels, _, _ = image_shape(shape, 4)
    sizes = scaled((16, 32, 64), width)
    with seeded(seed):
        layers: list[nn.Module] = [
            nn.Conv2d(channels, sizes[0], 3, padding=1, bias=norm == "none"),
            nn.Identity() if norm == "none" else nn.BatchNorm2d(sizes[0]),
            nn.ReLU(),
        ]
        before = sizes[0]
        for stage, size in enumerate(sizes):
            for k in range(blocks):
                layers.append(_Block(before, size, 2 if stage and not k else 1, norm))
                before = size
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)]
        return he(nn.Sequential(*layers))
