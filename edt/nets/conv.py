"""Convolutional networks without shortcuts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from edt.nets.common import glorot, he, image_shape, scaled, seeded

__all__ = ["conv2", "conv4", "conv6", "lenet5", "vgg11", "vgg16"]

#: Below this many pixels a side LeNet-5's kernels do not fit.
SMALL = 20


def lenet5(
    width: float = 1.0,
    seed: int | None = None,
    *,
    shape: Sequence[int] = (1, 28, 28),
    classes: int = 10,
) -> nn.Module:
    """LeNet-5: 5 x 5 convolutions of 6 and 16 channels, then 120 and 84 units; relu, max pooling.

    Images of fewer than 20 pixels a side (digits: 8) take 3 x 3 kernels with a margin of 1.

    Args:
        width: factor on channels and units.
        seed: see `edt.nets`.
        shape: (channels, height, width) of an image, from 4 pixels a side on.
        classes: outputs.

    Reference: Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998
    (tanh and average pooling there).
    """
    channels, high, wide = image_shape(shape, 4)
    one, two, three, four = scaled((6, 16, 120, 84), width)
    small = min(high, wide) < SMALL
    kernel, margins = (3, (1, 1)) if small else (5, (2, 0))
    loss = 0 if small else 4
    rows, columns = ((size // 2 - loss) // 2 for size in (high, wide))
    with seeded(seed):
        return he(
            nn.Sequential(
                nn.Conv2d(channels, one, kernel, padding=margins[0]),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(one, two, kernel, padding=margins[1]),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(two * rows * columns, three),
                nn.ReLU(),
                nn.Linear(three, four),
                nn.ReLU(),
                nn.Linear(four, classes),
            )
        )


def _conv(
    stages: tuple[tuple[int, int], ...],
    width: float,
    seed: int | None,
    shape: Sequence[int],
    classes: int,
) -> nn.Module:
    """Pairs of 3 x 3 convolutions and pooling, then two layers of 256."""
    least = 2 ** len(stages)
    channels, high, wide = image_shape(shape, least)
    layers: list[nn.Module] = []
    with seeded(seed):
        for pair in stages:
            for size in scaled(pair, width):
                layers += [nn.Conv2d(channels, size, 3, padding=1), nn.ReLU()]
                channels = size
            layers.append(nn.MaxPool2d(2))
        first, second = scaled((256, 256), width)
        area = (high // least) * (wide // least)
        layers += [nn.Flatten(), nn.Linear(channels * area, first), nn.ReLU()]
        layers += [nn.Linear(first, second), nn.ReLU(), nn.Linear(second, classes)]
        return glorot(nn.Sequential(*layers))


def conv2(
    width: float = 1.0,
    seed: int | None = None,
    *,
    shape: Sequence[int] = (3, 32, 32),
    classes: int = 10,
) -> nn.Module:
    """Conv-2: 64, 64, pool; 256, 256; relu, Glorot normal.

    Args:
        width: factor on channels and units.
        seed: see `edt.nets`.
        shape: (channels, height, width), from 2 pixels a side on.
        classes: outputs.

    Reference: J. Frankle, M. Carbin, "The lottery ticket hypothesis", ICLR 2019.
    """
    return _conv(((64, 64),), width, seed, shape, classes)


def conv4(
    width: float = 1.0,
    seed: int | None = None,
    *,
    shape: Sequence[int] = (3, 32, 32),
    classes: int = 10,
) -> nn.Module:
    """Conv-4: 64, 64, pool, 128, 128, pool; 256, 256; see `conv2`."""
    return _conv(((64, 64), (128, 128)), width, seed, shape, classes)


def conv6(
    width: float = 1.0,
    seed: int | None = None,
    *,
    shape: Sequence[int] = (3, 32, 32),
    classes: int = 10,
) -> nn.Module:
    """Conv-6: 64, 64, pool, 128, 128, pool, 256, 256, pool; 256, 256; see `conv2`."""
    return _conv(((64, 64), (128, 128), (256, 256)), width, seed, shape, classes)


def _vgg(
    stages: tuple[tuple[int, ...], ...],
    width: float,
    seed: int | None,
    shape: Sequence[int],
    classes: int,
) -> nn.Module:
    channels, _, _ = image_shape(shape, 2 ** (len(stages) - 1))
    layers: list[nn.Module] = []
    with seeded(seed):
        for k, stage in enumerate(stages):
            for size in scaled(stage, width):
                layers += [
                    nn.Conv2d(channels, size, 3, padding=1, bias=False),
                    nn.BatchNorm2d(size),
                    nn.ReLU(),
                ]
                channels = size
            if k < len(stages) - 1:
                layers.append(nn.MaxPool2d(2))
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
        return he(nn.Sequential(*layers))


def vgg11(
    width: float = 1.0,
    seed: int | None = None,
    *,
    shape: Sequence[int] = (3, 32, 32),
    classes: int = 10,
) -> nn.Module:
    """VGG-11 with batch norm for small images: five stages, mean over positions, one readout.

    Args:
        width: factor on channels.
        seed: see `edt.nets`.
        shape: (channels, height, width), from 16 pixels a side on.
        classes: outputs.

    Reference: K. Simonyan, A. Zisserman, "Very deep convolutional networks", ICLR 2015.
    """
    stages = ((64,), (128,), (256, 256), (512, 512), (512, 512))
    return _vgg(stages, width, seed, shape, classes)


def vgg16(
    width: float = 1.0,
    seed: int | None = None,
    *,
    shape: Sequence[int] = (3, 32, 32),
    classes: int = 10,
) -> nn.Module:
    """VGG-16 with batch norm for small images; see `vgg11`."""
    stages = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
    return _vgg(stages, width, seed, shape, classes)
