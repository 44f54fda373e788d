"""The CUDA kernels over their shim (tests/cuda/shim), built when sources changed; as fixtures."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import pytest
import torch
from launcher import LAUNCHER
from pretend_gpu import GPU, Streams, pretend_gpu

from edt import _core
from edt.ops import cuda, cuda_chain, memory

ROOT = Path(__file__).resolve().parents[2]
SHIM = ROOT / "tests" / "cuda" / "shim"
SOURCES = (
    *(ROOT / "csrc/layout" / f"{name}.cpp" for name in ("plan", "chain", "chain_mask")),
    *(ROOT / "csrc/cuda" / f"{name}.cpp" for name in ("plan", "schedule", "wide", "chain_plan")),
    *(ROOT / "csrc/bindings" / f"{name}.cpp" for name in ("cuda", "cuda_chain")),
    SHIM / "shim.cpp",
    SHIM / "runtime.cpp",
    SHIM / "kernels.cpp",
    SHIM / "wide_kernels.cpp",
    SHIM / "chain_kernels.cpp",
    SHIM / "module.cpp",
)
# As the CPU engine: which products are fused is written in the code.
FLAGS = ("-std=c++17", "-O2", "-g1", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off")


def _compiler() -> str:
    found = next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)
    if found is None:
        pytest.skip("the CUDA shim needs a C++17 compiler")
    return found


def _flags() -> list[str]:
    flags = [*FLAGS, "-DEDT_CUDA_SHIM", f"-I{ROOT / 'csrc'}", f"-I{SHIM}"]
    # std::fma is a function call without the instruction.
    info = Path("/proc/cpuinfo")
    if info.is_file() and " fma " in info.read_text():
        flags.append("-mfma")
    return flags


def build_shim() -> Path:
    """Compile the shim, unless these very sources have been; returns the module."""
    import pybind11

    compiler, flags = _compiler(), _flags()
    flags += [f"-I{pybind11.get_include()}", f"-I{sysconfig.get_paths()['include']}"]
    digest = hashlib.sha256(repr((sys.version, compiler, flags)).encode())
    for folder in (ROOT / "csrc", SHIM):
        for file in sorted(folder.rglob("*")):
            if file.suffix in (".h", ".cuh", ".cu", ".cpp") and "isa" not in file.parts:
                digest.update(file.read_bytes())
    folder = ROOT / "build" / "cuda-shim"
    name = f"edt_cuda_shim{sysconfig.get_config_var('EXT_SUFFIX')}"
    module, stamp = folder / name, folder / "stamp"
    if module.is_file() and stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return module
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    objects = [folder / f"{source.parent.name}-{source.stem}.o" for source in SOURCES]

    def run(*command: object) -> None:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"building the CUDA shim failed:\n{done.stderr}")

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = [
            # Nothing to gain in the bindings, which take the longest to compile.
            pool.submit(
                run,
                *LAUNCHER,
                compiler,
                *flags,
                *(["-O0"] if source.name in ("cuda.cpp", "cuda_chain.cpp", "module.cpp") else []),
                "-c",
                source,
                "-o",
                target,
            )
            for source, target in zip(SOURCES, objects, strict=True)
        ]
        for job in jobs:
            job.result()
    fresh = module.with_suffix(".new")
    run(compiler, "-shared", *objects, "-o", fresh)
    os.replace(fresh, module)
    stamp.write_text(digest.hexdigest())
    return module


@pytest.fixture(scope="session")
def shim_module() -> ModuleType:
    """The compiled shim."""
    path = build_shim()
    spec = importlib.util.spec_from_file_location("edt_cuda_shim", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shim(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`edt.ops.cuda` on the shim, with CPU tensors; limits and order as at the start afterwards.

    EDT_KERNELS=ptx: on nvcc's PTX instead (`cuda_ptx`).
    """
    if os.environ.get("EDT_KERNELS") == "ptx":
        yield request.getfixturevalue("ptx")
        return
    shim_module: ModuleType = request.getfixturevalue("shim_module")
    monkeypatch.setattr(cuda, "engine", lambda: shim_module)
    # Plans and schedules made for other limits must not be found.
    for cache in (cuda._plans, cuda._data):
        monkeypatch.setattr(cache, "_entries", {})
    yield shim_module
    shim_module.set_card()
    shim_module.set_order("forward", 0)
    shim_module.set_limits(2, 227 * 1024, 228 * 1024)


@pytest.fixture
def streams() -> Streams:
    """The streams of the GPU that is not there."""
    return Streams()


@pytest.fixture
def gpu(
    shim: ModuleType, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> Iterator[torch.device]:
    """A GPU that is not there (`pretend_gpu`): its kernels run over the shim."""
    monkeypatch.setattr(_core, "cuda", shim, raising=False)
    monkeypatch.setattr(cuda, "usable", lambda: True)
    monkeypatch.setattr(cuda, "_index", lambda _: 0)
    for module in (cuda, cuda_chain):
        monkeypatch.setattr(module, "on_device", lambda _: nullcontext())
    monkeypatch.setattr(cuda._copies, "_entries", {})
    monkeypatch.setattr(memory, "free_bytes", lambda _: 2**40)
    streams.install(monkeypatch)
    with pretend_gpu():
        yield GPU
