"""Build of the compiled core: CMake and Ninja drive it, setuptools only puts the result in place.

Environment:
    EDT_BUILD_TYPE   Release (default) or Debug
    EDT_SANITIZE     1: build with AddressSanitizer and UndefinedBehaviorSanitizer
    EDT_ISAS         instruction sets of the CPU: "all" that the compiler knows (default, for
                     wheels), "native" (the best that this machine runs; default for a checkout
                     installed in place) or names, e.g. "avx2,baseline"
    EDT_CUDA         auto (default): the CUDA engine where nvcc is found and works, with
                     EDT_ISAS=native only where there is a GPU, too; 1: insist; 0: no
    EDT_CUDA_ARCHS   "80;90;100;120" (default; those nvcc knows, and PTX for newer ones; 80 is the
                     least), "native"
                     (the GPUs of this machine) or "ptx" (PTX alone: the driver compiles at first
                     use). A checkout installed in place defaults to native, without a GPU to ptx.
    EDT_KEEP_PTX     1: leave the CUDA engine's PTX in the build folder, for .ci/cuda_resources.py
    EDT_BUILD_DIR    folder for CMake's build, kept (default: build/core-* for a checkout installed
                     in place, else a temporary one)
    EDT_NVCC         path of nvcc (default: CUDACXX, CUDA_HOME/bin, CUDA_PATH/bin, PATH,
                     /usr/local/cuda/bin)
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
#: The architecture the kernels are written for: copies to shared memory on their own, float64
#: tensor cores.
LEAST_ARCH = 80


class CMakeExtension(Extension):
    """An extension whose sources CMake knows."""

    def __init__(self, name: str) -> None:
        super().__init__(name, sources=[])


class CMakeBuild(build_ext):
    """Configure, build, and move the one library to where setuptools wants it."""

    def run(self) -> None:
        self.in_place = bool(self.inplace)  # setuptools clears it while it builds
        super().run()

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        # In a checkout a folder that stays, so that a second build compiles only what changed;
        # otherwise setuptools' own folder for temporary files.
        stays = self.in_place or bool(getattr(self, "editable_mode", False))
        tag = sys.implementation.cache_tag
        build = ROOT / "build" / f"core-{tag}" if stays else Path(self.build_temp) / "cmake"
        isas = os.environ.get("EDT_ISAS") or ("native" if stays else "all")
        if os.environ.get("EDT_BUILD_DIR"):
            build, stays = ROOT / os.environ["EDT_BUILD_DIR"], True
        build = build.resolve()
        cmake, ninja = find_tool("cmake"), find_tool("ninja")
        drop_stale(build, ninja)
        build.mkdir(parents=True, exist_ok=True)
        import pybind11

        options = [
            "-G",
            "Ninja",
            f"-DCMAKE_MAKE_PROGRAM={ninja}",
            f"-DCMAKE_BUILD_TYPE={os.environ.get('EDT_BUILD_TYPE', 'Release')}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DEDT_VERSION={self.distribution.get_version()}",
            f"-DEDT_ISAS={isas}",
            f"-DEDT_SANITIZE={'ON' if os.environ.get('EDT_SANITIZE') == '1' else 'OFF'}",
            f"-DEDT_KEEP_PTX={'ON' if os.environ.get('EDT_KEEP_PTX') == '1' else 'OFF'}",
        ]
        build_core(cmake, options, build, cuda_options(stays, isas == "native"))
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        built = build / f"_core{suffix}"
        if not built.is_file():
            raise RuntimeError(f"CMake did not make {built}")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Copied aside and renamed: a process that has the old library loaded keeps it.
        fresh = target.with_name(target.name + ".new")
        shutil.copy2(built, fresh)
        os.replace(fresh, target)


def build_core(cmake: str, options: list[str], build: Path, cuda: list[str]) -> None:
    """Configure and build; without the CUDA engine where only that fails and nobody insists."""
    compile_core = [cmake, "--build", ".", "--target", "_core"]
    plain = ["-DEDT_CUDA=OFF"]
    try:
        run([cmake, str(ROOT), *options, *(cuda or plain)], build)
        run(compile_core, build)
    except RuntimeError as error:
        if not cuda or cuda_wish() == "1":
            raise
        say(f"the CUDA engine does not build here ({error}); going on without it")
        # What CMake has found out about the compiler would be found again.
        (build / "CMakeCache.txt").unlink(missing_ok=True)
        run([cmake, str(ROOT), *options, *plain], build)
        run(compile_core, build)


def cuda_wish() -> str:
    """EDT_CUDA: "0", "1" or "auto"."""
    wish = os.environ.get("EDT_CUDA", "auto").lower()
    if wish not in ("0", "1", "auto"):
        raise RuntimeError(f"EDT_CUDA must be 0, 1 or auto, got {wish!r}")
    return wish


def cuda_options(in_place: bool, only_here: bool = False) -> list[str]:
    """CMake's options for the CUDA engine; none: build without.

    ``only_here``: the core is for this machine alone, and needs no engine for what it lacks.
    """
    wish = cuda_wish()
    if wish == "0" or os.environ.get("EDT_SANITIZE") == "1":
        return []
    nvcc = find_nvcc()
    if nvcc is None:
        if wish == "1":
            raise RuntimeError("EDT_CUDA=1, but no nvcc was found (set EDT_NVCC=/path/to/nvcc)")
        say("no nvcc found: building without the CUDA engine")
        return []
    if wish == "auto" and only_here and not native_archs():
        say("no GPU here: building without the CUDA engine (EDT_CUDA=1 builds it)")
        return []
    listed = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True)
    codes = {line.strip() for line in listed.stdout.split() if line.startswith("sm_")}
    if listed.returncode != 0 or not codes:
        if wish == "1":
            raise RuntimeError(f"{nvcc} --list-gpu-code failed: {listed.stderr.strip()}")
        say(f"{nvcc} does not run: building without the CUDA engine")
        return []
    asked = os.environ.get("EDT_CUDA_ARCHS") or ("native" if in_place else "80;90;100;120")
    if asked == "native":
        # A card the kernels cannot run on is as good as none.
        here = [arch for arch in native_archs() if int(arch) >= LEAST_ARCH]
        asked = ";".join(here) or "ptx"
    archs = [] if asked == "ptx" else [arch for arch in known_archs(asked) if known(arch, codes)]
    if not archs and asked != "ptx":
        say(f"{nvcc} knows none of EDT_CUDA_ARCHS={asked}: PTX alone")
    code = ",".join([*(f"sm_{arch}" for arch in archs), f"compute_{LEAST_ARCH}"])
    return ["-DEDT_CUDA=ON", f"-DCMAKE_CUDA_COMPILER={nvcc}", f"-DEDT_CUDA_CODE={code}"]


def known_archs(asked: str) -> list[str]:
    """The architectures of EDT_CUDA_ARCHS, checked: "80;90a" -> ["80", "90a"]."""
    archs = [arch.strip() for arch in asked.replace(",", ";").split(";") if arch.strip()]
    for arch in archs:
        match = re.fullmatch(r"(\d+)a?", arch)
        if match is None or int(match[1]) < LEAST_ARCH:
            raise RuntimeError(
                f"EDT_CUDA_ARCHS must be native, ptx or architectures from {LEAST_ARCH} on, "
                f'such as "90" or "80;90a" (the kernels use what came with it), got {arch!r}'
            )
    return archs


def known(arch: str, codes: set[str]) -> bool:
    """Whether nvcc makes code for an architecture; it does not list those of one chip alone."""
    return f"sm_{arch.removesuffix('a')}" in codes


def native_archs() -> list[str]:
    """Compute capabilities of this machine's GPUs, e.g. ["90"]."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return []
    query = [smi, "--query-gpu=compute_cap", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True)
    if found.returncode != 0:
        return []
    caps = {line.strip().replace(".", "") for line in found.stdout.splitlines()}
    return sorted(cap for cap in caps if cap.isdigit())


def find_nvcc() -> str | None:
    """Path of nvcc, or None."""
    for name in ("EDT_NVCC", "CUDACXX"):
        if os.environ.get(name):
            return os.environ[name]
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    for home in filter(None, homes):
        if (Path(home) / "bin" / "nvcc").is_file():
            return str(Path(home) / "bin" / "nvcc")
    default = Path("/usr/local/cuda/bin/nvcc")
    return shutil.which("nvcc") or (str(default) if default.is_file() else None)


def say(text: str) -> None:
    """One line for the person who builds."""
    print(f"edt: {text}", file=sys.stderr)


def find_tool(name: str) -> str:
    """Path of cmake or ninja: beside this Python (a build requirement), else on the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise RuntimeError(f"edt: building needs {name}; install it (pip install {name})")
    return found


def drop_stale(build: Path, ninja: str) -> None:
    """Remove a build folder made by tools that are gone (an earlier isolated build)."""
    cache = build / "CMakeCache.txt"
    if cache.is_file():
        text = cache.read_text(errors="replace")
        if f"CMAKE_MAKE_PROGRAM:FILEPATH={ninja}" not in text and ninja not in text:
            shutil.rmtree(build)


def run(command: list[str], folder: Path) -> None:
    """Run one build command; its output is shown, its failure stops the build."""
    try:
        subprocess.run(command, cwd=folder, check=True)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(
            f"edt: building the compiled core failed ({' '.join(command)}: exit code "
            f"{error.returncode}); the compiler's messages stand above"
        ) from None


setup(ext_modules=[CMakeExtension("edt._core")], cmdclass={"build_ext": CMakeBuild})
