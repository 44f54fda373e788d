"""Random residual networks: graphs of the layers that the core knows."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["OUTPUTS", "RandomGraph"]

OUTPUTS = 3
BENDS = (nn.Tanh, nn.Softplus, nn.SiLU, nn.ReLU, nn.GELU, nn.ELU, nn.Sigmoid, nn.LeakyReLU)


class RandomGraph(nn.Module):
    """Convolutions, pooling, activations, gains, shortcuts and adds, as ``choose`` has them.

    Every layer takes in any earlier one; what nothing reads is added up, channel by channel, before
    a last linear layer.

    Args:
        choose: where all choices come from.
        shape: of a sample.
    """

    def __init__(self, choose: random.Random, shape: Sequence[int]) -> None:
        super().__init__()
        self.layers, self.gains = nn.ModuleList(), nn.ParameterList()
        #: (what, number of its source, more).
        self.steps: list[tuple[str, int, Any]] = []
        shapes, self._unread = [tuple(shape)], set[int]()
        for _ in range(choose.randint(3, 9)):
            source = choose.choice((len(shapes) - 1, choose.randrange(len(shapes))))
            kind = choose.choice(("conv", "conv", "act", "pool", "gain", "shortcut", "add", "add"))
            self._grow(choose, kind, source, shapes)
        (last, *others), channels = sorted(self._unread), 5
        for side in (last, *others):
            # Of any size: one number a channel, and as many channels.
            self._step("mean", side, None, shapes, (shapes[side][0], 1, 1))
            self._layer(
                nn.Conv2d(shapes[side][0], channels, 1), len(shapes) - 1, shapes, (channels, 1, 1)
            )
        ends = sorted(self._unread)
        while len(ends) > 1:
            self._step("add", ends.pop(), ends.pop(), shapes, (channels, 1, 1))
            ends.append(len(shapes) - 1)
        self.end = nn.Linear(channels, OUTPUTS)

    def _step(self, what: str, source: int, more: Any, shapes: list[Any], shape: Any) -> None:
        self._unread -= {source, more if what == "add" else source}
        self.steps.append((what, source, more))
        shapes.append(shape)
        self._unread.add(len(shapes) - 1)

    def _layer(self, layer: nn.Module, source: int, shapes: list[Any], shape: Any) -> None:
        self.layers.append(layer)
        self._step("layer", source, len(self.layers) - 1, shapes, shape)

    def _grow(self, choose: random.Random, kind: str, source: int, shapes: list[Any]) -> None:
        c, h, w = shapes[source]
        if kind == "conv":
            kernel = (choose.randint(1, min(3, h)), choose.randint(1, min(3, w)))
            stride, margin = (choose.choice((1, 1, 2)), 1), choose.choice((0, kernel[0] // 2))
            layer = nn.Conv2d(
                c, choose.choice((c, choose.randint(1, 5))), kernel, stride, (margin, 1),
                bias=choose.random() < 0.7,
            )  # fmt: skip
            with torch.no_grad():
                self._layer(layer, source, shapes, tuple(layer(torch.zeros(1, c, h, w)).shape[1:]))
        elif kind == "act":
            self._layer(choose.choice(BENDS)(), source, shapes, (c, h, w))
        elif kind == "pool" and h > 1 and w > 1:
            layer = choose.choice((nn.MaxPool2d, nn.AvgPool2d))((choose.randint(1, 2), 2))
            rows = layer.kernel_size[0]
            self._layer(layer, source, shapes, (c, h // rows, w // 2))
        elif kind == "gain":
            self.gains.append(nn.Parameter(torch.tensor(choose.uniform(-2, 2))))
            self._step("gain", source, len(self.gains) - 1, shapes, (c, h, w))
        elif kind == "shortcut":
            kept, zeros = choose.randint(1, c), (choose.randint(0, 2), choose.randint(0, 2))
            steps = (choose.randint(1, 2), choose.randint(1, 2))
            after = (kept + sum(zeros), math.ceil(h / steps[0]), math.ceil(w / steps[1]))
            self._step("shortcut", source, (kept, zeros, steps), shapes, after)
        elif kind == "add":
            alike = [k for k, shape in enumerate(shapes) if shape == shapes[source]]
            self._step("add", source, choose.choice(alike), shapes, (c, h, w))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        images = [x]
        for what, source, more in self.steps:
            at = images[source]
            if what == "layer":
                at = self.layers[more](at)
            elif what == "mean":
                at = F.adaptive_avg_pool2d(at, 1)
            elif what == "gain":
                at = self.gains[more] * at
            elif what == "add":
                at = at + images[more]
            else:
                kept, (ahead, behind), (rows, columns) = more
                at = F.pad(at[:, :kept, ::rows, ::columns], (0, 0, 0, 0, ahead, behind))
            images.append(at)
        return self.end(images[-1].flatten(1))
