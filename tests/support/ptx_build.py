"""Builds the PTX machine (tests/cuda/ptx) and the kernels for it, where sources changed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from launcher import LAUNCHER

ROOT = Path(__file__).resolve().parents[2]
SHIM = ROOT / "tests" / "cuda" / "shim"
PTX = ROOT / "tests" / "cuda" / "ptx"
FOLDER = ROOT / "build" / "cuda-ptx"
#: Where setup.py builds the core in place.
CORE = ROOT / "build" / f"core-{sys.implementation.cache_tag}"
KERNELS = (
    *("device", "evaluate", "train", "train_pairs", "hvp", "hessian"),
    *("wide", "wide_curvature", "chain_calls"),
)
#: Those that are compiled for sm_90 as well, whose tensor cores have instructions of their own, or
#: for it alone, of clusters; and the capabilities that files have PTX for (CMakeLists.txt).
NEWER, ONLY_NEWER = ("wide", "wide_curvature"), ("train_pairs",)
CAPABILITIES = {
    name: (80, 90) if name in NEWER else (90,) if name in ONLY_NEWER else (80,) for name in KERNELS
}
#: Those whose products are fused where the code says so, and nowhere else.
AS_WRITTEN = ("train", "train_pairs")
#: As setup.py compiles them, but PTX alone.
NVCC_FLAGS = (
    *("-std=c++17", "-O3", "--expt-relaxed-constexpr", "--extended-lambda", "-diag-suppress=186"),
    *("-Xcompiler", "-fPIC,-fvisibility=hidden"),
)
MACHINE = ("machine", "blocks", "memory", "lanes", "program")
HOST = (
    *(ROOT / "csrc/layout" / f"{name}.cpp" for name in ("plan", "chain", "chain_mask")),
    *(ROOT / "csrc/cuda" / f"{name}.cpp" for name in ("plan", "schedule", "wide", "chain_plan")),
    *(ROOT / "csrc/bindings" / f"{name}.cpp" for name in ("cuda", "cuda_chain")),
    SHIM / "shim.cpp",
    SHIM / "runtime.cpp",
    *(PTX / f"{name}.cpp" for name in (*MACHINE, "module")),
)


def of_setup(name: str) -> Callable[..., str | None]:
    """A function of setup.py."""
    text = (ROOT / "setup.py").read_text().split("\nsetup(")[0]
    scope: dict[str, Any] = {"__file__": str(ROOT / "setup.py"), "__name__": "edt_setup"}
    exec(compile(text, "setup.py", "exec"), scope)
    found: Callable[..., str | None] = scope[name]
    return found


def find_nvcc() -> str | None:
    """As setup.py finds it."""
    return of_setup("find_nvcc")()


def kept(folder: Path, name: str) -> dict[int, Path]:
    """Where nvcc leaves the PTX of a .cu file, by capability."""
    found = CAPABILITIES[name]
    parts = [f".compute_{c}" if len(found) > 1 else "" for c in found]
    return {c: folder / f"{name}{part}.ptx" for c, part in zip(found, parts, strict=True)}


def of_core(name: str) -> tuple[Path, dict[int, Path]] | None:
    """Object and PTX of a .cu file from the core's own build, if kept and of these sources."""
    target = f"CMakeFiles/edt_cuda.dir/csrc/cuda/{name}.cu.o"
    made = CORE / target, kept(CORE / "ptx" / name, name)
    if not all(file.is_file() for file in (made[0], *made[1].values())):
        return None
    # A dry run: Ninja knows every header and flag that went into it.
    ninja = of_setup("find_tool")("ninja")
    said = subprocess.run([str(ninja), "-C", CORE, "-n", target], capture_output=True, text=True)
    return made if said.returncode == 0 and "no work to do" in said.stdout else None


def processor() -> str:
    """What Linux says of it: fused multiply-adds are function calls without the instruction."""
    info = Path("/proc/cpuinfo")
    return info.read_text() if info.is_file() else ""


def run(*command: object) -> str:
    """Output of a command; its error if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr}")
    return done.stdout + done.stderr


def headers(*folders: Path) -> str:
    """A digest of what sources include."""
    digest = hashlib.sha256(repr((sys.version, CAPABILITIES, AS_WRITTEN)).encode())
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.suffix in (".h", ".cuh") and "isa" not in file.parts:
                digest.update(file.read_bytes())
    return digest.hexdigest()


class Build:
    """What has been made of which sources; made again when they change.

    Args:
        nvcc: its path.
    """

    def __init__(self, nvcc: str) -> None:
        self.nvcc = nvcc
        FOLDER.mkdir(parents=True, exist_ok=True)
        used = [ROOT / "csrc" / name for name in ("cuda", "layout", "math")]
        self.headers = headers(*used)
        self.own_headers = headers(*used, ROOT / "csrc" / "bindings", SHIM, PTX)
        self.stamps: dict[Path, tuple[Path, str]] = {}
        self.host = self._host_flags()

    def _host_flags(self) -> list[str]:
        import pybind11

        said = run(self.nvcc, "--dryrun", "-x", "cu", "-c", "/dev/null", "-o", "/dev/null")
        includes = re.findall(r'"?-I([^"\s]+)"?', said)
        places = [p for p in includes if (Path(p) / "cuda_runtime.h").is_file()]
        return [
            *(f"-I{p}" for p in places),  # before the shim's own
            *("-std=c++17", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"),
            *(("-mavx2", "-mfma") if " fma " in processor() else ()),
            *(f"-I{place}" for place in (ROOT / "csrc", SHIM, PTX)),
            f"-I{pybind11.get_include()}",
            f"-I{sysconfig.get_paths()['include']}",
        ]

    def fresh(self, source: Path, target: Path, *more: Path) -> bool:
        """Whether a target was made of these sources; notes that it is about to be."""
        own = source.parent in (SHIM, PTX) or source.parent.name == "bindings"
        digest = hashlib.sha256((self.own_headers if own else self.headers).encode())
        for file in (source, *more):
            digest.update(file.read_bytes())
        stamp = target.with_name(target.name + ".stamp")
        self.stamps[target] = (stamp, digest.hexdigest())
        return target.is_file() and stamp.is_file() and stamp.read_text() == digest.hexdigest()

    def made(self, target: Path) -> None:
        """Note that a target is complete."""
        stamp, digest = self.stamps[target]
        stamp.write_text(digest)

    def compile(self, source: Path, target: Path) -> None:
        """A .cu file's object and, beside it, PTX."""
        name, folder = source.stem, FOLDER / source.stem
        folder.mkdir(exist_ok=True)
        codes = [f"--generate-code=arch=compute_{c},code=compute_{c}" for c in CAPABILITIES[name]]
        places = ("-I", ROOT / "csrc", "--keep", "--keep-dir", folder)
        codes += ["-fmad=false"] if name in AS_WRITTEN else []
        run(self.nvcc, *NVCC_FLAGS, *codes, *places, "-c", source, "-o", target)
        for capability, file in kept(folder, name).items():
            file.replace(self.ptx(name, capability))
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

    def kernels(self, name: str) -> Path:
        """Object of host code and programs of device code of one .cu file; returns the object."""
        source, target = ROOT / "csrc" / "cuda" / f"{name}.cu", FOLDER / f"{name}.o"
        if not self.fresh(source, target):
            if made := of_core(name):
                shutil.copyfile(made[0], target)
                for capability, file in made[1].items():
                    shutil.copyfile(file, self.ptx(name, capability))
            else:
                self.compile(source, target)
            self.made(target)
        tools = [Path(__file__).with_name(f"ptx_{tool}.py") for tool in ("assemble", "rules")]
        for capability in CAPABILITIES[name]:
            ptx = self.ptx(name, capability)
            program = ptx.with_suffix(".program")
            if not self.fresh(ptx, program, *tools):
                run(sys.executable, tools[0], ptx, program)
                self.made(program)
        return target

    def ptx(self, name: str, capability: int) -> Path:
        """The PTX of one .cu file for cards of a capability, once `kernels` has made it."""
        return FOLDER / f"{name}.{max(c for c in CAPABILITIES[name] if c <= capability)}.ptx"

    def plain(self, source: Path) -> Path:
        """Object of a C++ file."""
        target = FOLDER / f"{source.parent.name}-{source.stem}.o"
        if not self.fresh(source, target):
            fast = source.parent == PTX and source.stem in MACHINE
            speed = ["-O2", "-g0"] if fast else ["-O0", "-g0"]
            run(*LAUNCHER, "c++", *self.host, *speed, "-c", source, "-o", target)
            self.made(target)
        return target

    def all(self) -> Path:
        """The module."""
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            jobs = [pool.submit(self.kernels, name) for name in KERNELS]
            jobs += [pool.submit(self.plain, source) for source in HOST]
            objects = [job.result() for job in jobs]
        module = FOLDER / f"edt_cuda_ptx{sysconfig.get_config_var('EXT_SUFFIX')}"
        if not module.is_file() or any(o.stat().st_mtime > module.stat().st_mtime for o in objects):
            new = module.with_suffix(".new")
            run("c++", "-shared", *objects, "-o", new)
            os.replace(new, module)
        return module
