"""Speed of the CUDA engine against PyTorch and JAX on the same card, in one run.

    python -m benchmarks.gpu --turn edt --seconds 60 --out benchmarks/results
    python -m benchmarks.gpu --turn fast --seconds 100 --out benchmarks/results
    python -m benchmarks.gpu --turn slow --seconds 100 --out benchmarks/results

Each turn is a process of its own: edt, peers that are ready at once, peers that compile first. They
add to one ``<date>-<card>.json`` and its table (Markdown), written after every measurement, so that
a run cut short keeps what it has. Times are wall-clock seconds of calls that wait for the device,
the fastest of a few after one to warm up. A step is the slope between two lengths of a run, edt's
and the peers'; what a run costs beside its steps (set-up, fingerprints of the data, last
evaluations) is reported on its own. float32 products are float32's: TF32 is off, and shown beside
JAX's. EDT_BENCH_SMOKE=1: tiny sizes, to see that everything works.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine, settings, workload
from benchmarks.flops import step_flops
from benchmarks.peers.base import Training
from benchmarks.peers.torch_baddbmm import Baddbmm
from benchmarks.peers.torch_compiled import Compiled
from benchmarks.peers.torch_curvature import Hessians, Products
from benchmarks.peers.torch_deep import DeepProducts
from benchmarks.peers.torch_eager import EagerLoop
from benchmarks.peers.torch_minibatch import Minibatches
from benchmarks.peers.torch_vmap import Vmap
from edt import Ensemble, Task, hessian, hvp, masked_train

STEPS = 5 if settings.SMOKE else 100
#: The longer of two runs, in units of the shorter.
LONGER = 4
#: In which order figures are taken: edt, peers that are ready at once, those that compile first.
OURS, PEER, SLOW_PEER = range(3)
SLOW = ("torch.compile", "CUDA graph of torch.compile", "torch eager", "JAX scan", "JAX scan, TF32")
TURNS = {"edt": OURS, "fast": PEER, "slow": SLOW_PEER}
#: Losses at the start agree to this, relative; else the figure is not comparable.
AGREEMENT = {"float32": 1e-2, "float64": 1e-6}


class Streams:
    """Widths of `Baddbmm` side by side, each on a stream of its own; for a CUDA graph."""

    def __init__(self, inner: Baddbmm) -> None:
        self._inner = inner
        self._streams = [torch.cuda.Stream() for _ in inner.groups]

    def advance(self, steps: int) -> None:
        main = torch.cuda.current_stream()
        for _ in range(steps):
            for stream, group in zip(self._streams, self._inner.groups, strict=True):
                stream.wait_stream(main)
                with torch.cuda.stream(stream):
                    group.step()
            for stream in self._streams:
                main.wait_stream(stream)

    def losses(self) -> np.ndarray:
        return self._inner.losses()


class Graphed:
    """A peer with its step in one CUDA graph."""

    def __init__(self, inner: Training) -> None:
        self._inner = inner
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._inner.advance(3)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._inner.advance(1)

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self._graph.replay()

    def losses(self) -> np.ndarray:
        return self._inner.losses()


class JaxScan:
    """JAX on the GPU with products of a stated precision, or an error saying why not."""

    def __init__(self, ens: Ensemble, task: Task, precision: str = "highest") -> None:
        os.environ["EDT_BENCH_JAX"] = "cuda"
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import jax

        from benchmarks.peers.jax_scan import Scan

        # Read when a function is traced, at the first call.
        self._precision = partial(jax.default_matmul_precision, precision)
        with self._precision():
            self._inner = Scan(ens, task.to(device="cpu"))

    def advance(self, steps: int) -> None:
        with self._precision():
            self._inner.advance(steps)

    def losses(self) -> np.ndarray:
        with self._precision():
            return self._inner.losses()


class Recorder:
    """Measurements, planned with `add`, made by `run` and written to the file after each."""

    def __init__(self, out: Path, seconds: float, turn: int) -> None:
        self.end = time.monotonic() + seconds
        self.turn = turn
        self.planned: list[tuple[int, dict[str, Any], Callable[[], Any]]] = []
        facts = machine.describe() | card()
        slug = re.sub(r"[^a-z0-9]+", "-", facts["gpu"].lower()).strip("-")
        self.path = out / f"{facts['date'][:10]}-{slug}.json"
        self.content: dict[str, Any] = {"machine": facts, "figures": []}
        out.mkdir(parents=True, exist_ok=True)
        if self.path.is_file():  # of the turns before
            known = json.loads(self.path.read_text())
            if known["machine"].get("commit") == facts.get("commit"):
                self.content["figures"] = known["figures"]

    def add(self, workload: str, subject: str, call: Callable[[], Any], **more: Any) -> None:
        """Plan to record what ``call`` returns: seconds, or a row's entries."""
        turn = OURS if subject == "edt" else SLOW_PEER if subject in SLOW else PEER
        self.planned.append((turn, {"workload": workload, "subject": subject, **more}, call))

    def run(self) -> None:
        """Take all figures, or note what went wrong."""
        for turn, row, call in self.planned:
            if turn != self.turn:
                continue
            began = time.monotonic()
            if began > self.end:
                row["skipped"] = "out of time"
            else:
                try:
                    found = call()
                    row |= found if isinstance(found, dict) else {"seconds": found}
                except ModuleNotFoundError as error:
                    row["skipped"] = str(error)
                except Exception as error:
                    row["error"] = f"{type(error).__name__}: {error}"[:300]
                row["took"] = round(time.monotonic() - began, 1)
            self.content["figures"].append(row)
            self.path.write_text(json.dumps(self.content, indent=1) + "\n")
            self.path.with_suffix(".md").write_text(table(self.content))
            print(json.dumps(row), flush=True)


def card() -> dict[str, Any]:
    """The GPU and its peak: SMs x 128 lanes x 2 x largest clock (64 lanes for float64 on H100)."""
    properties = torch.cuda.get_device_properties(0)
    query = [
        "nvidia-smi",
        "--query-gpu=driver_version,clocks.max.sm",
        "--format=csv,noheader,nounits",
    ]
    try:
        text = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        driver, clock = (part.strip() for part in text.splitlines()[0].split(","))
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        driver, clock = "unknown", "0"
    sms = properties.multi_processor_count
    return {
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": sms,
        "driver": driver,
        "clock_mhz": float(clock),
        "float32_peak": sms * 128 * 2 * float(clock) * 1e6,
    }


def best(call: Callable[[], object], rounds: int = 3, budget: float = 6.0) -> float:
    """Seconds of the fastest call."""
    call()
    torch.cuda.synchronize()
    found, started = float("inf"), time.monotonic()
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        found = min(found, time.perf_counter() - begin)
        if time.monotonic() - started > budget:
            break
    return found


def slope(run: Callable[[int], object], steps: int, rounds: int = 3) -> dict[str, float]:
    """Seconds of a step, the slope between runs of ``steps`` and ``LONGER`` times as many; and of
    what is not steps."""
    short, long = (best(partial(run, n), rounds) for n in (steps, LONGER * steps))
    each = (long - short) / ((LONGER - 1) * steps)
    if each <= 0:
        raise RuntimeError(f"{LONGER * steps} steps took {long:.3g} s, {steps} took {short:.3g} s")
    return {"seconds": each, "beside": short - steps * each}


def training(record: Recorder, name: str, seeds: int, peers: dict[str, Any]) -> None:
    """Adam steps on W with this many seeds a width."""
    for dtype_name, dtype in workload.DTYPES.items():
        ens = workload.networks("softplus", dtype, seeds=seeds)
        _compare(record, f"{name}, {dtype_name}", ens, workload.task(dtype), peers)


def _compare(
    record: Recorder, label: str, ens: Ensemble, data: Task, peers: dict[str, Any], **more: Any
) -> None:
    where, task = ens.to(device="cuda"), data.to(device="cuda")
    rule = {"lr": workload.LEARNING_RATE, "record": None, "progress": False, **more}

    def ours(steps: int) -> Any:
        return masked_train(task, where, steps=steps, device="cuda", **rule)

    record.add(label, "edt", lambda: slope(ours, STEPS), networks=ens.B)
    plain = {key: value for key, value in rule.items() if key != "batch_size"}
    tolerance = AGREEMENT[str(ens.dtype).removeprefix("torch.")]

    def timed(make: Any) -> dict[str, float]:
        # What the peers must have before their steps, too.
        start = masked_train(task, where, steps=0, device="cuda", **plain).loss.numpy()
        with torch.device("cuda"):
            peer = make(ens, task)
            if not isinstance(peer, Graphed):  # capturing has taken steps
                np.testing.assert_allclose(peer.losses(), start, rtol=tolerance)
            begin = time.perf_counter()
            peer.advance(4)
            torch.cuda.synchronize()
            each = (time.perf_counter() - begin) / 4
            steps = int(min(max(0.5 / max(each, 1e-9), 2), STEPS))
            return slope(peer.advance, steps, rounds=2)

    for subject, make in peers.items():
        record.add(label, subject, partial(timed, make), networks=ens.B)


def utilisation(record: Recorder) -> None:
    """Share of the peak of dense networks, counting only the products with weights."""
    for layers in ((32, 32, 32, 1), (64, 64, 64, 1)):
        ens = Ensemble.init(
            [layers[1:-1]],
            range(4 if settings.SMOKE else 2048),
            d_in=layers[0],
            d_out=1,
            dtype=torch.float32,
            activation="relu",
        )
        name = f"dense {layers}, 2048 networks, float32"
        flops = step_flops(layers, 1024) * ens.B
        record.add(name, "edt", partial(_step_seconds, ens), flops_a_step=flops)


def sparsity(record: Recorder) -> None:
    """A step at 90% sparsity beside the dense one."""
    for share in (None, 0.9):
        ens = Ensemble.init(
            [(64, 64)],
            range(4 if settings.SMOKE else 1024),
            d_in=64,
            d_out=1,
            dtype=torch.float32,
            sparsity=share,
        )
        record.add(f"64 x 64, sparsity {share or 0}", "edt", partial(_step_seconds, ens))


def lenet(record: Recorder) -> None:
    """Sixteen LeNet-300-100 of 60,000 samples, dense and masked, in minibatches of 60."""
    count, samples = (2, 180) if settings.SMOKE else (16, 60_000)
    for share in (0.98, 0.9, None):
        ens, task = workload.lenets(share, torch.float32, samples, count)
        label = f"LeNet-300-100, 16 networks, sparsity {share or 0}, float32"
        _minibatches(record, label, ens, task, 60)


def tensor_cores(record: Recorder) -> None:
    """Dense wide networks in float64, in minibatches."""
    for name, hidden, count, samples, batch in (
        ("LeNet-300-100, 16 networks", (300, 100), 16, 60_000, 60),
        ("784-1024-1024-10, 1 network", (1024, 1024), 1, 8192, 1024),
    ):
        if settings.SMOKE:
            count, samples, batch = 2, 180, 60
        ens, task = workload.lenets(None, torch.float64, samples, count, hidden)
        _minibatches(record, f"{name}, sparsity 0, float64", ens, task, batch)


def _minibatches(record: Recorder, label: str, ens: Ensemble, task: Task, batch: int) -> None:
    peers = {
        "torch baddbmm": lambda ens, task: Minibatches(ens, task, batch),
        "CUDA graph of baddbmm": lambda ens, task: Graphed(Minibatches(ens, task, batch)),
    }
    _compare(record, label, ens, task, peers, batch_size=batch)


def wide_curvature(record: Recorder) -> None:
    """Products with 8 vectors for 16 LeNet-300-100, and one exact Hessian at 98% sparsity."""
    count, samples = (2, 40) if settings.SMOKE else (16, 1024)
    for share in (0.98, 0.9, None):
        ens, data = workload.lenets(share, torch.float32, samples, count)
        where, task = ens.to(device="cuda"), data.to(device="cuda")
        vectors = torch.randn(8, ens.total, device="cuda")

        def ours(where: Ensemble = where, task: Task = task, v: Any = vectors) -> float:
            return best(lambda: hvp(where, task, v))

        def peer(ens: Ensemble = where, task: Task = task, v: Any = vectors) -> float:
            subject = DeepProducts(ens, task, v)
            found, wanted = subject.run(), hvp(ens, task, v)
            # Float32, sums of 1,024 samples: a hundredth of the largest entry.
            if not float((found - wanted).abs().max()) <= 1e-2 * float(wanted.abs().max()):
                raise RuntimeError("products differ")
            return best(subject.run, rounds=2)

        label = f"8 products, LeNet-300-100, {count} networks, sparsity {share or 0}, float32"
        record.add(label, "edt", ours)
        record.add(label, "torch.func", peer)
    ens, data = workload.lenets(0.98, torch.float64, samples, 1)
    where, task = ens.to(device="cuda"), data.to(device="cuda")
    record.add(
        "Hessian of a LeNet-300-100, sparsity 0.98, float64",
        "edt",
        lambda: best(lambda: hessian(where, task), rounds=2),
        coordinates=int(ens.coords[0]),
    )


def _step_seconds(ens: Ensemble) -> dict[str, float]:
    x = torch.randn(workload.SAMPLES, ens.d_in)
    task = Task(x, x.sum(1, keepdim=True).sin()).to(device="cuda")
    where = ens.to(device="cuda")
    rule = {"optimizer": "gd", "record": None, "progress": False}
    return slope(lambda n: masked_train(task, where, steps=n, device="cuda", **rule), STEPS)


def curvature(record: Recorder) -> None:
    """Products with 8 vectors, and exact Hessians, of W's 192 networks."""
    for name, dtype in workload.DTYPES.items():
        _curvature(record, name, workload.networks("softplus", dtype), workload.task(dtype))


def hessians(record: Recorder) -> None:
    """Exact Hessians of 32 dense networks of one width, float64."""
    data = workload.task(torch.float64)
    for width in (16, 64):
        ens = workload.networks("softplus", torch.float64, widths=(width,), sparsity=None)
        where, task = ens.to(device="cuda"), data.to(device="cuda")

        def ours(where: Ensemble = where, task: Task = task) -> float:
            return best(lambda: hessian(where, task))

        def peer(ens: Ensemble = ens, task: Task = task) -> float:
            with torch.device("cuda"):
                return best(Hessians(ens, task, chunk=8).run)

        label = f"32 Hessians, width {width}, float64"
        record.add(label, "edt", ours)
        record.add(label, "torch.func", peer)


def _curvature(record: Recorder, name: str, ens: Ensemble, data: Task) -> None:
    where, task = ens.to(device="cuda"), data.to(device="cuda")
    vectors = torch.randn(8, ens.total, dtype=ens.dtype, device="cuda")
    rows = [
        {
            key: np.random.default_rng(0).standard_normal((array.shape[0], 8, *array.shape[1:]))
            for key, array in stack.parameters.items()
        }
        for stack in workload.stacks(ens)
    ]

    def peer() -> float:
        with torch.device("cuda"):
            return best(Products(ens, task, rows).run)

    record.add(f"8 products, {name}", "edt", lambda: best(lambda: hvp(where, task, vectors)))
    record.add(f"8 products, {name}", "torch.func", peer)
    record.add(f"Hessians, {name}", "edt", lambda: best(lambda: hessian(where, task)))


def table(content: dict[str, Any]) -> str:
    """The figures as Markdown."""
    ours = _ours(content)
    lines = [
        f"{content['machine']['gpu']}, driver {content['machine']['driver']}, "
        f"{content['machine']['date']}, commit {content['machine']['commit']}",
        "",
        "| workload | subject | seconds | against edt |",
        "|---|---|---:|---:|",
    ]
    for row in content["figures"]:
        seconds = row.get("seconds")
        if seconds is None:
            lines.append(
                f"| {row['workload']} | {row['subject']} | "
                f"{row.get('error', row.get('skipped'))} | |"
            )
            continue
        ratio = seconds / ours[row["workload"]] if row["workload"] in ours else float("nan")
        lines.append(f"| {row['workload']} | {row['subject']} | {seconds:.3e} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def _ours(content: dict[str, Any]) -> dict[str, float]:
    return {
        row["workload"]: row["seconds"]
        for row in content["figures"]
        if row["subject"] == "edt" and "seconds" in row
    }


def plot(path: Path, content: dict[str, Any]) -> None:
    """A bar a peer, beside the JSON."""
    ours = _ours(content)
    bars = [
        (f"{row['workload']}: {row['subject']}", row["seconds"] / ours[row["workload"]])
        for row in content["figures"]
        if row["subject"] != "edt" and "seconds" in row and row["workload"] in ours
    ]
    if not bars:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.35 * len(bars) + 1.2), layout="constrained")
    axes.barh([name for name, _ in bars], [ratio for _, ratio in bars], color="#0072b2")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel(f"time relative to edt on {content['machine']['gpu']}")
    figure.savefig(path.with_suffix(".png"), dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=200.0, help="time limit")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--turn", choices=list(TURNS), default="edt", help="whose figures")
    options = parser.parse_args()
    torch.set_float32_matmul_precision("highest")
    record = Recorder(options.out, options.seconds, TURNS[options.turn])
    batched = {
        "torch baddbmm": Baddbmm,
        "CUDA graph of baddbmm": lambda ens, task: Graphed(Baddbmm(ens, task)),
        "CUDA graph of baddbmm, a stream a width": lambda ens, task: Graphed(
            Streams(Baddbmm(ens, task))
        ),
        "torch.compile": Compiled,
        "CUDA graph of torch.compile": lambda ens, task: Graphed(Compiled(ens, task)),
        "torch vmap": lambda ens, task: Vmap(ens, task, padded=False),
        "JAX scan": JaxScan,
        "JAX scan, TF32": lambda ens, task: JaxScan(ens, task, "tensorfloat32"),
    }
    few, many = (2, 3) if settings.SMOKE else (32, 1707)
    training(record, "W, 192 networks", few, {**batched, "torch eager": EagerLoop})
    training(record, "W, 10,240 networks", many, batched)
    curvature(record)
    hessians(record)
    wide_curvature(record)
    utilisation(record)
    sparsity(record)
    lenet(record)
    tensor_cores(record)
    record.run()
    plot(record.path, record.content)
    print(f"written: {record.path}")


if __name__ == "__main__":
    main()
