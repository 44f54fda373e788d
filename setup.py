"""Build of the compiled core: CMake and Ninja drive it, setuptools only puts the result in place.

Environment:
    EDT_BUILD_TYPE   Release (default) or Debug
    EDT_SANITIZE     1: build with AddressSanitizer and UndefinedBehaviorSanitizer
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class CMakeExtension(Extension):
    """An extension whose sources CMake knows."""

    def __init__(self, name: str) -> None:
        super().__init__(name, sources=[])


class CMakeBuild(build_ext):
    """Configure, build, and move the one library to where setuptools wants it."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        # In a checkout a folder that stays, so that a second build compiles only what changed;
        # otherwise setuptools' own folder for temporary files.
        stays = self.inplace or getattr(self, "editable_mode", False)
        tag = sys.implementation.cache_tag
        build = ROOT / "build" / f"core-{tag}" if stays else Path(self.build_temp) / "cmake"
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
            f"-DEDT_SANITIZE={'ON' if os.environ.get('EDT_SANITIZE') == '1' else 'OFF'}",
        ]
        run([cmake, str(ROOT), *options], build)
        run([cmake, "--build", ".", "--target", "_core"], build)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        built = build / f"_core{suffix}"
        if not built.is_file():
            raise RuntimeError(f"CMake did not make {built}")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Copied aside and renamed: a process that has the old library loaded keeps it.
        fresh = target.with_name(target.name + ".new")
        shutil.copy2(built, fresh)
        os.replace(fresh, target)


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
