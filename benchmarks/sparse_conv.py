"""Layers of convolutional networks, pruned: edt's kernels, dense PyTorch and SparseProp, one run.

    python -m benchmarks.sparse_conv [--sparsity 0.8 0.9 0.95 0.98] [--rounds 7]

A step is forward and backward of one layer with 64 samples, float32, gradients of both sides, of
slopes that are there. Outputs are compared first. Rounds go over the kernels in turn, so that a
change of the machine's mood meets all of them; the median round counts. SparseProp has two layouts,
over samples and over positions: the faster one counts. ``floor`` is what the multiply-adds of the
taps alone would take at the rate that `edt._core.fma_peak` measures (three for each tap, position
and sample), and ``bytes`` what reading and writing each image once takes (inputs twice, outputs
twice, gradients once) at the rate of a copy. Table on the screen, JSON in the results.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from benchmarks import machine, settings
from edt import _core
from edt.nn import MaskedConv2d

#: Channels in and out, size of the kernel, size of the images: LeNet-5's, Conv-4's, ResNet-20's.
LAYERS = (
    (1, 6, 5, 28), (6, 16, 5, 14), (64, 64, 3, 32), (128, 128, 3, 16), (16, 16, 3, 32),
    (32, 32, 3, 16), (64, 64, 3, 8),
)  # fmt: skip
SAMPLES = 4 if settings.SMOKE else 64
EDT, DENSE = "edt", "PyTorch, dense"
#: Its two layouts: whether positions are lanes.
SPARSEPROP = {"SparseProp, samples": False, "SparseProp, positions": True}
PEER = "SparseProp"
#: Largest difference of outputs, as a share of the largest: sums of up to 1,152 products.
AGREE = 1e-4

Step = Callable[[torch.Tensor], torch.Tensor]


def kernels(layer: Sequence[int], sparsity: float) -> tuple[dict[str, Step], torch.Tensor, int]:
    """The layer by every kernel that is there, its input, and its taps."""
    c_in, c_out, size, image = layer
    generator = torch.Generator().manual_seed(0)
    ours = MaskedConv2d(c_in, c_out, size, padding=size // 2, bias=False, kernel="sparse")
    ours.set_mask(torch.rand(ours.weight.shape, generator=generator) >= sparsity)
    dense = nn.Conv2d(c_in, c_out, size, padding=size // 2, bias=False)
    with torch.no_grad():
        ours.weight.mul_(ours.mask)
        dense.weight.copy_(ours.weight)
    found: dict[str, Step] = {EDT: ours, DENSE: dense}
    try:
        from sparseprop.modules import SparseConv2d

        for name, positions in SPARSEPROP.items():
            found[name] = SparseConv2d.from_dense(dense, vectorizing_over_on=positions)
    except ImportError:
        pass
    x = torch.randn(SAMPLES, c_in, image, image, generator=generator)
    known = dense(x).detach()
    for name, step in found.items():
        gap = float((step(x).detach() - known).abs().max() / known.abs().max())
        if not gap <= AGREE:
            raise RuntimeError(f"{name} differs from dense PyTorch by {gap:.1e} in {layer}")
    return found, x, int(ours.mask.sum())


def copy_rate() -> float:
    """Bytes a second, read and written, of copies that do not fit the second-level cache."""
    a = torch.randn(1 << 16 if settings.SMOKE else 1 << 22)
    b = torch.empty_like(a)
    times = []
    for _ in range(9):
        clock = time.perf_counter()
        b.copy_(a)
        times.append(time.perf_counter() - clock)
    return 2 * a.nbytes / statistics.median(times)


def seconds(step: Step, x: torch.Tensor, slopes: torch.Tensor) -> float:
    """One step, forward and backward."""
    given = x.clone().requires_grad_(True)
    parameters = [p for p in step.parameters() if p.requires_grad]  # type: ignore[attr-defined]
    for tensor in parameters:
        tensor.grad = None
    clock = time.perf_counter()
    step(given).backward(slopes)
    return time.perf_counter() - clock


def measure(sparsities: Sequence[float], rounds: int) -> list[dict[str, Any]]:
    """One row a layer and sparsity; milliseconds."""
    peak = float(_core.fma_peak(False, torch.get_num_threads(), 0.3)) * 1e9
    rate = copy_rate()
    rows = []
    for layer in LAYERS:
        for sparsity in sparsities:
            found, x, taps = kernels(layer, sparsity)
            times: dict[str, list[float]] = {name: [] for name in found}
            slopes = torch.ones_like(found[DENSE](x)).detach()
            for step in found.values():
                seconds(step, x, slopes)
            for _ in range(rounds):
                for name, step in found.items():
                    times[name].append(1e3 * seconds(step, x, slopes))
            row: dict[str, Any] = {"layer": ", ".join(map(str, layer)), "sparsity": sparsity}
            row |= {name: statistics.median(some) for name, some in times.items()}
            row["floor"] = 1e3 * 6.0 * taps * layer[3] ** 2 * SAMPLES / peak
            row["bytes"] = 1e3 * (3 * x.nbytes + 2 * slopes.nbytes) / rate
            if peers := [row[name] for name in SPARSEPROP if name in row]:
                row[PEER] = min(peers)
            rows.append(row)
            print(line(row), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    words = f"{row['layer']:>16} {row['sparsity']:4.0%}  {EDT} {row[EDT]:7.2f}"
    words += f"  floor {row['floor']:6.2f}  bytes {row['bytes']:5.2f}"
    for name in (DENSE, PEER):
        if name in row:
            words += f"  {name} {row[name]:7.2f} ({row[name] / row[EDT]:.1f}x)"
    return words


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.8, 0.9, 0.95, 0.98])
    parser.add_argument("--rounds", type=int, default=1 if settings.SMOKE else 7)
    chosen = parser.parse_args()
    rows = measure(chosen.sparsity, chosen.rounds)
    facts = machine.describe()
    path = settings.results_folder() / f"{machine.slug(facts)}-sparse-conv.json"
    path.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
