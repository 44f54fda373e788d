"""Run in a process of its own: peak memory of training many LeNet-5.

    python -m benchmarks.convolution_memory_probe NETWORKS STEPS

Prints JSON: bytes in use before, peak bytes, bytes of parameters, their gradient and Adam's
moments, and of what a minibatch leaves between the layers of all networks.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from torch import nn

import edt
from benchmarks import settings
from benchmarks.memory_probe import memory
from benchmarks.test_convolutions import BATCH, SHAPE, train


def between(module: nn.Module) -> int:
    """Numbers of a sample before, between and after a module's layers."""
    found = [torch.zeros(1, *SHAPE).numel()]

    def count(_: nn.Module, __: Any, out: torch.Tensor) -> None:
        found.append(out.numel())

    for layer in module.children():
        if not isinstance(layer, nn.Flatten):
            layer.register_forward_hook(count)
    module(torch.zeros(1, *SHAPE))
    return sum(found)


def main(count: int, steps: int) -> None:
    """Train and report."""
    torch.set_num_threads(settings.THREADS)

    def lenet(width: float, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return edt.nets.lenet5(width, shape=SHAPE)

    draw = torch.Generator().manual_seed(0)
    x = torch.rand(BATCH, *SHAPE, generator=draw)
    task = edt.ModuleTask((x, torch.randint(0, 10, (BATCH,), generator=draw)))
    train(edt.ModuleEnsemble.build(lenet, [1.0], range(2)), task, 1, BATCH)
    before = memory("VmRSS")
    networks = edt.ModuleEnsemble.build(lenet, [1.0], range(count))
    train(networks, task, steps, BATCH)
    print(
        json.dumps(
            {
                "networks": count,
                "before": before,
                "peak": memory("VmHWM"),
                "state": 4 * networks.theta.numel() * networks.theta.element_size(),
                "activations": 4 * count * BATCH * between(networks.to_module(0)),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
