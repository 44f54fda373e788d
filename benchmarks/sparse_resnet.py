"""Training a pruned ResNet-20 with batch norm: `edt.nn.sparsify` and dense PyTorch, end to end.

    python -m benchmarks.sparse_resnet [--sparsity 0.9 0.95 0.98] [--rounds 9] [--optimizer sgd]

A step is forward, backward and the optimiser's, of 64 images of 3 x 32 x 32 (CIFAR's shape),
float32, train mode. Dense PyTorch keeps pruned weights at 0 by multiplying weights with their masks
after every step. Losses and gradients before the first step are compared first. Rounds go over the
contenders in turn; the median counts. ``without convolutions``: the dense network whose 3 x 3
convolutions do nothing but copy or cut channels, so what everything else takes, which no kernel of
sparse layers changes.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import edt
from benchmarks import machine, settings
from edt.nn import report, sparsify

SAMPLES, CLASSES = (4, 10) if settings.SMOKE else (64, 10)
EDT, DENSE, REST = "edt", "PyTorch, dense", "without convolutions"
#: Largest relative differences of losses and of each parameter's gradient: in float32 some ReLU may
#: fall to the other side of 0 (5e-4 seen). Some steps later batch norm over few samples has made
#: any rounding large, so nothing is compared there.
AGREE = {torch.float64: 1e-9, torch.float32: 1e-2}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
}


class _Nothing(nn.Module):
    """Images of a convolution's size at the cost of a copy."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.channels, self.stride = layer.out_channels, layer.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        times = -(-self.channels // x.shape[1])
        return x.repeat(1, times, 1, 1)[:, : self.channels].contiguous()


def network() -> nn.Module:
    """ResNet-20 in train mode."""
    torch.manual_seed(0)
    made: nn.Module = edt.nets.resnet20(shape=(3, 32, 32), classes=CLASSES)
    return made.train()


def masks(net: nn.Module, sparsity: float) -> dict[str, Tensor]:
    """Of every convolution but the first; random."""
    generator = torch.Generator().manual_seed(1)
    layers = [name for name, layer in net.named_modules() if type(layer) is nn.Conv2d]
    return {
        name: torch.rand(net.get_submodule(name).weight.shape, generator=generator) >= sparsity
        for name in layers[1:]
    }


class Contender:
    """A network and its optimiser.

    Args:
        net: trained in place.
        optimizer: "sgd" or "adam".
        masks: what keeps pruned weights at 0 after every step; none: nothing needs to.
    """

    def __init__(self, net: nn.Module, optimizer: str, masks: dict[str, Tensor]) -> None:
        self.net = net
        self.optimizer = OPTIMIZERS[optimizer](net.parameters())
        self.masks = [(net.get_submodule(name).weight, mask) for name, mask in masks.items()]

    def step(self, x: Tensor, y: Tensor) -> float:
        """Loss before the step."""
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(x), y)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for weight, mask in self.masks:
                weight.mul_(mask)
        return float(loss.detach())


def without_convolutions(net: nn.Module) -> nn.Module:
    """The network with `_Nothing` in place of its 3 x 3 convolutions but the first."""
    made = copy.deepcopy(net)
    layers = [name for name, layer in made.named_modules() if type(layer) is nn.Conv2d]
    for name in layers[1:]:
        parent, _, last = name.rpartition(".")
        setattr(made.get_submodule(parent), last, _Nothing(made.get_submodule(name)))
    return made


def check(
    sparse: nn.Module, dense: nn.Module, masks: dict[str, Tensor], x: Tensor, y: Tensor
) -> None:
    """See that both have the same loss and the same gradients of what the masks keep.

    Raises:
        RuntimeError: they differ by more than `AGREE`.
    """
    for dtype, allowed in AGREE.items():
        losses, slopes = [], []
        for net in (sparse, dense):
            same = copy.deepcopy(net).to(dtype)
            loss = nn.functional.cross_entropy(same(x.to(dtype)), y)
            loss.backward()
            losses.append(loss.detach())
            slopes.append({name: p.grad for name, p in same.named_parameters()})
        differ = {"loss": _distance(*losses)}
        for name, slope in slopes[0].items():
            mask = masks.get(name.removesuffix(".weight"), 1.0)
            differ[name] = _distance(slope, slopes[1][name] * mask)
        worst = max(differ, key=differ.__getitem__)
        if not differ[worst] <= allowed:
            raise RuntimeError(f"{worst} differs by {differ[worst]:.1e} in {dtype}")


def _distance(a: Tensor, b: Tensor) -> float:
    """Of a from b, relative to b."""
    return float((a - b).norm() / b.norm().clamp_min(1e-30))


def measure(sparsities: Sequence[float], rounds: int, optimizer: str) -> list[dict[str, Any]]:
    """One row a sparsity; milliseconds a step."""
    x, y = torch.randn(SAMPLES, 3, 32, 32), torch.randint(0, CLASSES, (SAMPLES,))
    rows = []
    for sparsity in sparsities:
        dense = network()
        chosen = masks(dense, sparsity)
        with torch.no_grad():
            for name, mask in chosen.items():
                dense.get_submodule(name).weight.mul_(mask)
        sparse = sparsify(dense, chosen, sample=None if settings.SMOKE else x)
        found = {
            EDT: Contender(sparse, optimizer, {}),
            DENSE: Contender(dense, optimizer, chosen),
            REST: Contender(without_convolutions(dense), optimizer, {}),
        }
        check(sparse, dense, chosen, x, y)
        for _ in range(2):
            for some in found.values():
                some.step(x, y)
        times: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(rounds):
            for name, some in found.items():
                clock = time.perf_counter()
                some.step(x, y)
                times[name].append(1e3 * (time.perf_counter() - clock))
        kernels = report(sparse)["kernel"].value_counts().to_dict()
        row: dict[str, Any] = {"sparsity": sparsity, "optimizer": optimizer, "kernels": kernels}
        row |= {name: statistics.median(some) for name, some in times.items()}
        rows.append(row)
        print(
            f"{sparsity:4.0%} {optimizer}  {EDT} {row[EDT]:.1f}  {DENSE} {row[DENSE]:.1f} "
            f"({row[DENSE] / row[EDT]:.2f}x)  {REST} {row[REST]:.1f}  {kernels}",
            flush=True,
        )
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.9, 0.95, 0.98])
    parser.add_argument("--rounds", type=int, default=1 if settings.SMOKE else 9)
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), default="sgd")
    chosen = parser.parse_args()
    rows = measure(chosen.sparsity, chosen.rounds, chosen.optimizer)
    facts = machine.describe()
    path = settings.results_folder() / f"{machine.slug(facts)}-sparse-resnet.json"
    path.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
