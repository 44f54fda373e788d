"""Counts of the compiled kernels on the workloads of docs/performance.md, and the times they allow.

    PYTHONPATH=. python tests/support/ptx_counts.py [ROW ...]    against csrc/cuda/counts.json
    PYTHONPATH=. python tests/support/ptx_counts.py --write      records; the table in docs/cuda.md

Computed, not measured: nvcc's PTX runs on the PTX machine, a sample of the blocks of a launch for
all of them, and the rules of ptx_rules.py say how long an H100 takes at least. A step is the
difference of two runs; launches cost what `LAUNCH` says where kernels are shorter. Tensors begin at
multiples of 256 bytes, as on a GPU: how many sectors a warp touches depends on it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cuda_ptx import load_machine
from engine_calls import cuda_trainer, on_cuda
from ptx_build import FOLDER, find_nvcc
from ptx_rules import CLOCK, PIPES, SCHEDULERS, SMS, UNIT, launch_cycles
from short_runs import PLAIN

from benchmarks import workload
from edt import Ensemble, ModuleEnsemble, Task
from edt.nets import lenet5 as lenet5_module
from edt.objectives.chained_on_gpu import GpuChain
from edt.objectives.stacked import Stack
from edt.ops import cuda
from edt.ops.checks import problem_of
from edt.training.state import Rule, State

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "csrc" / "cuda" / "counts.json"
DOCS = ROOT / "docs" / "cuda.md"
#: Seconds between the beginnings of two launches, at least.
LAUNCH = 3e-6
#: Of tensors, in bytes. torch's allocator gives at least that on a GPU, 64 on the CPU.
ALIGNMENT = 256
#: Put before the C library's, which torch's allocator on the CPU calls. Zeros, because blocks that
#: do not run leave holes: networks whose loss is rubbish there would count as diverged, and stop.
ALIGNED = """
#include <cerrno>
#include <cstdlib>
#include <cstring>
extern "C" int posix_memalign(void** at, size_t alignment, size_t bytes) noexcept {
  if (alignment < %d) alignment = %d;
  bytes = (bytes + alignment - 1) / alignment * alignment;
  void* found = aligned_alloc(alignment, bytes);
  if (found == nullptr) return ENOMEM;
  *at = std::memset(found, 0, bytes);
  return 0;
}
"""
#: Counts may grow by so much before a test says so (sampled masks, another order of instructions).
SLACK = 1.01


@dataclass
class Row:
    """A workload and what is counted of it.

    Attributes:
        name: as in docs/performance.md.
        make: builds it and returns run(amount): one call of that many steps, or of one op.
        every: which blocks run.
        steps: whether amounts are steps, so that a step is the difference of two.
    """

    name: str
    make: Callable[[], Callable[[int], None]]
    every: int = 1
    steps: bool = True


def training(ens: Ensemble, task: Task, **rule: Any) -> Callable[[int], None]:
    """Steps of training, without the evaluation at the end of a run."""
    hyper = {**PLAIN, "last_step": 1000, **rule}
    how = Rule(
        hyper,
        lr=torch.full((ens.B,), 1e-3, dtype=torch.float64),
        weight_decay=torch.zeros(ens.B, dtype=torch.float64),
        seeds=torch.arange(ens.B),
        factors=torch.ones(1000, dtype=torch.float64),
        record=torch.tensor([1000]),
    )
    index = torch.zeros(ens.B, dtype=torch.int64)

    def run(steps: int) -> None:
        engine = cuda_trainer(ens, task, index)
        engine.train(State.start(ens.theta.clone(), ens.B, how, params=False), how, steps)

    return run


def width_sweep(seeds: int, dtype: torch.dtype = torch.float32) -> Callable[[], Any]:
    return lambda: training(workload.networks("softplus", dtype, seeds=seeds), workload.task(dtype))


def dense(layers: tuple[int, ...], count: int, share: float | None = None) -> Callable[[], Any]:
    """Networks of one shape, gradient descent on 1,024 samples."""

    def make() -> Any:
        ens = Ensemble.init(
            [layers[1:-1]],
            range(count),
            d_in=layers[0],
            d_out=layers[-1],
            dtype=torch.float32,
            sparsity=share,
            activation="relu",
        )
        x = torch.randn(1024, layers[0], generator=torch.manual_seed(0))
        return training(ens, Task(x, x.sum(1, keepdim=True).sin()), optimizer="sgd")

    return make


def lenet(
    share: float | None, dtype: torch.dtype, count: int, hidden: tuple[int, int], batch: int
) -> Callable[[], Any]:
    """Minibatches; of few samples, since a step does not depend on how many there are."""
    return lambda: training(
        *workload.lenets(share, dtype, 3 * batch, count, hidden), batch_size=batch
    )


def products(ens: Ensemble, task: Task) -> Callable[[int], None]:
    """Hessian-vector products with 8 vectors."""
    problem, vectors = problem_of(ens, task, None), torch.ones(8, ens.total, dtype=ens.dtype)
    return lambda _: void(on_cuda.hvp(ens.theta, vectors, problem))


def lenet5(share: float | None) -> Callable[[], Any]:
    """Outputs and gradients of 16 LeNet-5 on 64 images each: a step of training but its update."""

    def make() -> Any:
        torch.manual_seed(0)
        nets = ModuleEnsemble([lenet5_module() for _ in range(16)])
        if share is not None:
            nets = nets.with_state((torch.rand(nets.total) >= share).byte())
        architecture, rows = nets.architecture(0), nets.theta.view(16, -1)
        stack = Stack.of(architecture.skeleton, architecture.blocks)
        core = GpuChain.of(stack.layers, (1, 28, 28), rows.shape[1])
        assert core is not None
        masks = [] if share is None else [core.mask(row) for row in nets.state.view(16, -1)]
        x = torch.randn(16, 64, 1, 28, 28)
        return lambda _: void(core.gradient(rows, x, lambda f: f.sum((1, 2)), masks))

    return make


def void(_: Any) -> None:
    pass


F32, F64 = torch.float32, torch.float64
ROWS = (
    Row("W, 10,240 networks, float32", width_sweep(1707), every=331),
    Row("W, 192 networks, float32", width_sweep(32), every=7),
    Row("dense 32-32-32-1, 2,048 networks, float32", dense((32, 32, 32, 1), 2048), every=1024),
    Row("dense 64-64-64-1, 2,048 networks, float32", dense((64, 64, 64, 1), 2048), every=1024),
    Row("64 x 64 at 90% sparsity, 1,024 networks", dense((64, 64, 64, 1), 1024, 0.9), every=256),
    Row(
        "LeNet-300-100, 16 networks, batches of 60, dense", lenet(None, F32, 16, (300, 100), 60), 4
    ),
    Row("LeNet-300-100, 90% sparse", lenet(0.9, F32, 16, (300, 100), 60)),
    Row("LeNet-300-100, 98% sparse", lenet(0.98, F32, 16, (300, 100), 60)),
    Row("LeNet-300-100, dense, float64", lenet(None, F64, 16, (300, 100), 60), every=4),
    Row("784-1024-1024-10, batches of 1,024, float64", lenet(None, F64, 1, (1024, 1024), 1024), 16),
    Row(
        "8 Hessian-vector products on W, float32",
        lambda: products(workload.networks("softplus", F32), workload.task(F32)),
        every=97,
        steps=False,
    ),
    *(
        Row(
            f"8 products, LeNet-300-100, sparsity {share or 0}, 1,024 samples",
            lambda share=share: products(*workload.lenets(share, F32, 1024, 16)),
            every=97,
            steps=False,
        )
        for share in (None, 0.9, 0.98)
    ),
    *(
        Row(f"16 LeNet-5, outputs and gradients of 64 images, {name}", lenet5(share), 4, False)
        for name, share in (("dense", None), ("90% sparse", 0.9), ("98% sparse", 0.98))
    ),
)


def launches(machine: Any, run: Callable[[int], None], amount: int, every: int) -> list[Any]:
    """What one call launches."""
    machine.set_checks(False, 0)
    machine.set_counts(True, every)
    machine.take()
    run(amount)
    _, found = machine.take()
    machine.set_counts(False, 1)
    machine.set_checks(True, 0)
    return list(found)


def summed(found: list[Any], every: int) -> dict[str, float]:
    """Cycles at least, launches, and what is occupied in all, by pipe, of a multiprocessor's."""
    out = dict.fromkeys(("seconds", "cycles", "launches", *PIPES), 0.0)
    for _, _, _, grid, blocks in found:
        whole = [b for block in blocks for b in [block] * every][:grid]
        cycles, _ = launch_cycles(whole)
        out["cycles"] += cycles
        out["launches"] += 1
        out["seconds"] += max(cycles / CLOCK, LAUNCH if len(found) > 8 else 0.0)
        for block in whole:
            for p, pipe in enumerate(PIPES):
                rows = block[p :: len(PIPES)]
                share = SCHEDULERS if pipe != "memory" else 1
                out[pipe] += sum(rows) / UNIT / share / SMS
    return out


def count(machine: Any, row: Row) -> dict[str, float]:
    """Of one row: a step's, or a call's."""
    machine.set_limits(SMS, 227 * 1024, 228 * 1024)
    run = row.make()
    if not row.steps:
        return summed(launches(machine, run, 0, row.every), row.every)
    few, many = (summed(launches(machine, run, n, row.every), row.every) for n in (1, 3))
    return {key: (many[key] - few[key]) / 2 for key in many}


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown: cycles in thousands."""
    head = ["a step, or a call", "at least", "bound by", *PIPES, "launches"]
    lines = [f"| {' | '.join(head)} |", "|---|---:|---|" + "---:|" * (len(PIPES) + 1)]
    for name, row in found.items():
        seconds = row["seconds"]
        time = f"{seconds * 1e3:.2f} ms" if seconds >= 1e-4 else f"{seconds * 1e6:.1f} us"
        busiest = max(PIPES, key=row.__getitem__)
        pipes = [f"{row[p] / 1e3:.1f}" if row[p] else "-" for p in PIPES]
        lines.append(
            f"| {name} | {time} | {busiest} | {' | '.join(pipes)} | {row['launches']:.0f} |"
        )
    return "\n".join(lines)


def write(found: dict[str, dict[str, float]]) -> None:
    """The record and the table; after every row, for rows take minutes."""
    rows = {
        row.name: {key: round(value, 9) for key, value in found[row.name].items()}
        for row in ROWS
        if row.name in found
    }
    version = subprocess.run([str(find_nvcc()), "--version"], capture_output=True, text=True)
    match = re.search(r"V([\d.]+)", version.stdout)
    text = json.dumps({"nvcc": match[1] if match else "?", "rows": rows}, indent=1)
    RECORD.write_text(text + "\n")
    page = DOCS.read_text()
    begin, end = "<!-- counts: begin -->\n", "<!-- counts: end -->"
    before, _, rest = page.partition(begin)
    DOCS.write_text(f"{before}{begin}\n{table(rows)}\n\n{end}{rest.partition(end)[2]}")


def align_tensors() -> None:
    """Starts this program anew, with torch's tensors where `ALIGNMENT` says."""
    source, library = FOLDER / "aligned.cpp", FOLDER / "aligned.so"
    FOLDER.mkdir(parents=True, exist_ok=True)
    source.write_text(ALIGNED.replace("%d", str(ALIGNMENT)))
    subprocess.run(["c++", "-shared", "-fPIC", "-O1", source, "-o", library], check=True)
    before = os.environ.get("LD_PRELOAD", "")
    os.environ["LD_PRELOAD"] = f"{library} {before}".strip()
    os.execv(sys.executable, [sys.executable, *sys.argv])


def main() -> None:
    if str(FOLDER / "aligned.so") not in os.environ.get("LD_PRELOAD", ""):
        align_tensors()
    if any(torch.empty(n).data_ptr() % ALIGNMENT for n in (1, 17, 33, 65, 1000)):
        raise SystemExit(f"tensors cannot be aligned to {ALIGNMENT} bytes here")
    wanted = [a for a in sys.argv[1:] if not a.startswith("--")]
    machine = load_machine()
    if machine is None:
        raise SystemExit("no nvcc here: nothing to count")
    cuda.engine = lambda: machine
    known = json.loads(RECORD.read_text()) if RECORD.is_file() else {"rows": {}}
    found = {}
    for row in ROWS:
        named = any(w in row.name for w in wanted)
        # Without a record only by name: those of wide networks take minutes.
        if not named and (wanted or row.name not in known["rows"]):
            continue
        found[row.name] = count(machine, row)
        if "--write" in sys.argv[1:]:
            write(known["rows"] | found)
        print(table({row.name: found[row.name]}).splitlines()[-1], flush=True)
    if "--write" in sys.argv[1:]:
        return
    grown = [
        f"{name}: {pipe} {row[pipe]:.0f} cycles, recorded {known['rows'][name][pipe]:.0f}"
        for name, row in found.items()
        for pipe in ("cycles", *PIPES)
        if row[pipe] > SLACK * known["rows"].get(name, row)[pipe] + 1
    ]
    if grown:
        raise SystemExit("\n".join(grown))


if __name__ == "__main__":
    main()
