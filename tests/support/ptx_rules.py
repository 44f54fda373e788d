"""What an instruction occupies of a multiprocessor, and how long launches take at least by that.

The rules are those of an H100 or H200 (compute capability 9.0; CUDA C++ Programming Guide,
throughput of native instructions), a cycle of one multiprocessor:

    issue     4 instructions of a warp, of whatever kind
    fma       128 float32 multiply-adds, additions or multiplications: 4 warps; 64 of whole numbers
    alu       64 integer, logical, comparing and selecting lanes: 2 warps
    fp64      64 float64 multiply-adds: 2 warps
    special   16 approximate reciprocals and square roots, 16 conversions: half a warp
    tensor    a product of 8 x 8 x 4 in float64, 256 multiply-adds, takes 2 cycles, as a part of
              a larger instruction too
    memory    one wavefront of 128 bytes, shared memory and first-level cache together: a warp's 16
              bytes a lane are four, 8 are two; lanes at different words of one bank queue up; a
              shuffle is one

A division, an exact reciprocal or a root is the sequence that ptxas makes of it (`EXPANDED`). PTX
is counted, not machine code: what ptxas folds away (moves, negations) is free here, what it adds is
missed. The time of a launch is that of its busiest multiprocessor: blocks go to the one with the
least to do, and there the busiest pipe of the busiest scheduler counts. Latencies, barriers (which
are counted), clocks below the assumed one and caches that miss are not in it: a lower bound.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

__all__ = ["CLOCK", "PIPES", "PRODUCTS", "SMS", "charge", "launch_cycles"]

PIPES = ("issue", "fma", "alu", "fp64", "special", "tensor", "memory")
SMS, CLOCK = 132, 1.7e9
#: A warp's instruction keeps its scheduler's share of a pipe for so many cycles; a wavefront all of
#: memory.
CYCLES = {"issue": 1.0, "fma": 1.0, "alu": 2.0, "fp64": 2.0, "special": 8.0, "tensor": 8.0}
SCHEDULERS, UNIT = 4, 64  # of cycles: what the machine counts in
#: Products of float64 on the tensor cores: eights of rows, fours of what is summed over.
PRODUCTS = {"m8n8k4": (1, 1), "m16n8k4": (2, 1), "m16n8k8": (2, 2), "m16n8k16": (2, 4)}
#: Instructions of a warp by pipe that one of PTX becomes.
EXPANDED: dict[str, dict[str, float]] = {
    "rcp.f32": {"special": 1, "fma": 4, "alu": 3},
    "div.f32": {"special": 1, "fma": 7, "alu": 3},
    "sqrt.f32": {"special": 1, "fma": 5, "alu": 3},
    "rcp.approx.f32": {"special": 1},
    "rcp.approx.f64": {"special": 1},
    "rcp.f64": {"special": 1, "fp64": 5, "alu": 3},
    "div.f64": {"special": 1, "fp64": 8, "alu": 4},
    "sqrt.f64": {"special": 1, "fp64": 8, "alu": 4},
    "div.s32": {"special": 2, "fma": 4, "alu": 12},
    "div.u32": {"special": 2, "fma": 4, "alu": 10},
    "rem.s32": {"special": 2, "fma": 5, "alu": 12},
    "rem.u32": {"special": 2, "fma": 5, "alu": 10},
}
FREE = {"mov", "cvta", "neg", "abs", "low", "high", "pack", "ld", "ret", "call"}
FLOATING = {"add", "sub", "mul", "fma"}


def instructions(name: str, kind: str) -> dict[str, float]:
    """Instructions of a warp by pipe, memory's wavefronts aside."""
    parts = name.split(".")
    op, of = parts[0], parts[-1]
    if name in EXPANDED:
        return EXPANDED[name]
    if kind == "shuffle":
        return {"memory": 1}
    if kind == "product":
        eights, fours = PRODUCTS[parts[1]]
        return {"tensor": eights * fours, "issue": 1}
    if kind != "compute":
        return {"issue": 0 if kind in ("parameter", "ret", "call") else 1}
    if op in FREE:
        return {}
    double = of.endswith("64")
    if of in ("f32", "f64") and op in FLOATING:
        return {"fp64" if double else "fma": 1}
    if op == "setp" and of == "f64":
        return {"fp64": 1}
    if op == "cvt":
        pair = {parts[1], of}
        if pair & {"f32", "f64"}:
            return {"special": 1}
        return {"alu": 1} if pair == {"s64", "s32"} else {}
    if op in ("mul", "mad"):
        return {"fma": 2.0 * (3 if double and parts[1] == "lo" else 4 if parts[1] == "hi" else 1)}
    return {"alu": 2 if double else 1}


def charge(name: str, kind: str) -> tuple[int, ...]:
    """What an instruction of a warp occupies, by `PIPES`, in 1/64 cycles."""
    found = instructions(name, kind)
    known = {pipe: n * CYCLES.get(pipe, 1.0) for pipe, n in found.items()}
    if "issue" not in found:
        known["issue"] = sum(n for pipe, n in found.items())
    return tuple(round(UNIT * known.get(pipe, 0.0)) for pipe in PIPES)


def launch_cycles(blocks: Sequence[Sequence[int]], sms: int = SMS) -> tuple[float, str]:
    """Cycles of a launch at least, and the pipe that takes them.

    Args:
        blocks: what each block occupies, by scheduler and pipe, as the machine counts.
        sms: multiprocessors.
    """
    loads = [(0, i) for i in range(min(sms, max(len(blocks), 1)))]
    sums = [[0] * len(blocks[0]) for _ in loads] if blocks else []
    for block in blocks:
        _, i = loads[0]
        sums[i] = [a + b for a, b in zip(sums[i], block, strict=True)]
        heapq.heapreplace(loads, (max(times(sums[i])), i))
    worst = max((times(s) for s in sums), key=max, default=[0.0])
    pipe = worst.index(max(worst))
    return max(worst) / UNIT, PIPES[pipe]


def times(block: Iterable[int]) -> list[int]:
    """By pipe: the busiest scheduler, all of them for memory."""
    flat = list(block)
    width = len(flat) // SCHEDULERS
    rows = [flat[i * width : (i + 1) * width] for i in range(SCHEDULERS)]
    return [
        sum(row[p] for row in rows) if PIPES[p] == "memory" else max(row[p] for row in rows)
        for p in range(len(PIPES))
    ]
