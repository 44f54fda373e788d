"""Compiles every CUDA kernel for every architecture and watches registers and spills.

    python .ci/cuda_resources.py            compare with csrc/cuda/resources.json
    python .ci/cuda_resources.py --write    record what this compiler makes

Without nvcc one line says so. Fails when a kernel does not compile, when one spills, or when, with
the compiler of the record, any kernel takes more registers than recorded.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from ptx_build import CAPABILITIES, KERNELS, Build, find_nvcc, run  # noqa: E402

RECORD = ROOT / "csrc" / "cuda" / "resources.json"
ARCHS = ("sm_80", "sm_90", "sm_100", "sm_120")
NAMES = ("registers", "spill_stores", "spill_loads", "stack")


def compile_file(nvcc: str, kernels: Build, name: str) -> str:
    """The assembler's report on one file's PTX, for all architectures, as CMake builds them."""
    kernels.kernels(name)
    said = run(nvcc, "--dryrun", "-c", "-x", "cu", "/dev/null", "-o", "/dev/null")
    ptxas = Path(said.split("_HERE_=")[1].split()[0]) / "ptxas"
    report = ""
    for arch in ARCHS:
        if int(arch.removeprefix("sm_")) < min(CAPABILITIES[name]):
            continue
        ptx = kernels.ptx(name, int(arch.removeprefix("sm_")))
        report += run(ptxas, "-O3", "-v", f"-arch={arch}", ptx, "-o", "/dev/null")
    return report


def not_for(kernel: str) -> tuple[str, ...]:
    """Architectures that never run a kernel: those before clusters."""
    pairs = kernel.startswith("train_kernel") and kernel.endswith(", 3>")
    least = min(CAPABILITIES["train_pairs"])
    return tuple(a for a in ARCHS if pairs and int(a.removeprefix("sm_")) < least)


def read_report(report: str) -> dict[str, dict[str, list[int]]]:
    """{kernel: {architecture: [registers, spill stores, spill loads, stack]}}, mangled names."""
    found: dict[str, dict[str, list[int]]] = {}
    kernel = arch = ""
    frame = (0, 0, 0)
    for line in report.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)' for '(\w+)'", line):
            kernel, arch = match[1], match[2]
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+)", line):
            frame = (int(match[1]), int(match[2]), int(match[3]))
        elif match := re.search(r"Used (\d+) registers", line):
            found.setdefault(kernel, {})[arch] = [int(match[1]), frame[1], frame[2], frame[0]]
    return found


def readable(names: list[str]) -> dict[str, str]:
    """Mangled -> "train_kernel<double, 0>"."""
    text = subprocess.run(
        ["c++filt", *names], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    out = {}
    for mangled, full in zip(names, text, strict=True):
        plain = re.sub(r"\((?:\w+::)*\w+\)(?=\d)", "", full)  # an enumeration's value
        match = re.search(r"(\w+_kernel(?:<[^(]*>)?)\(", plain)
        out[mangled] = match[1] if match else full
    return out


def measure(nvcc: str) -> dict[str, dict[str, list[int]]]:
    """All kernels."""
    kernels = Build(nvcc)
    with ThreadPoolExecutor(int(os.environ.get("EDT_JOBS", os.cpu_count() or 1))) as pool:
        reports = list(pool.map(lambda name: compile_file(nvcc, kernels, name), KERNELS))
    found = {name: row for report in reports for name, row in read_report(report).items()}
    names = readable(list(found))
    return {names[key]: found[key] for key in sorted(found, key=names.__getitem__)}


def faults(
    found: dict[str, dict[str, list[int]]], record: dict[str, object], same: bool
) -> list[str]:
    """What is wrong with the kernels found."""
    known: dict[str, dict[str, list[int]]] = record["kernels"]  # type: ignore[assignment]
    wrong = []
    for kernel, row in found.items():
        for arch in ARCHS:
            if arch in not_for(kernel):
                continue
            if arch not in row:
                wrong.append(f"{kernel}: not compiled for {arch}")
                continue
            registers, stores, loads, _ = row[arch]
            if stores + loads > 0:
                wrong.append(f"{kernel}, {arch}: spills {stores} + {loads} bytes")
            before = known.get(kernel, {}).get(arch)
            if same and before is None:
                wrong.append(f"{kernel}, {arch}: not in {RECORD.name}; run with --write")
            elif same and registers > before[0]:
                wrong.append(f"{kernel}, {arch}: {registers} registers, recorded {before[0]}")
    if same:
        wrong += [
            f"{kernel}: recorded, but gone; run with --write"
            for kernel in known.keys() - found.keys()
        ]
    return wrong


def main() -> None:
    nvcc = find_nvcc()
    if nvcc is None:
        print("no nvcc here: the CUDA kernels are not compiled (their shim tests run all the same)")
        return
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"release [\d.]+, V([\d.]+)", text)
    version = match[1] if match else "unknown"
    found = measure(nvcc)
    if "--write" in sys.argv[1:]:
        rows = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in found.items()]
        head = f'{{\n "nvcc": "{version}",\n "columns": {json.dumps(NAMES)},\n "kernels": {{\n'
        RECORD.write_text(head + ",\n".join(rows) + "\n }\n}\n")
        print(f"{len(found)} kernels recorded in {RECORD}")
        record = {"kernels": found}
    else:
        record = json.loads(RECORD.read_text())
    wrong = faults(found, record, record.get("nvcc") == version)
    print(f"{len(found)} kernels compiled for {', '.join(ARCHS)} by nvcc {version}")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
