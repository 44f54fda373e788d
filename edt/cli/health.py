"""The checks behind ``edt doctor``. Each imports what it looks at, so each can fail alone."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

State = Literal["ok", "note", "problem"]

LEAST_PYTHON = (3, 10)
LEAST_TORCH = (2, 6)
REQUIRED = (
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "xarray",
    "safetensors",
    "matplotlib",
    "rich",
    "scikit-learn",
    "typer",
)
#: Optional packages and what each is for.
OPTIONAL = {"mnist1d": "the task mnist1d", "jax": "the JAX column of the benchmarks"}
BUILD = "build it: 'make build' in a checkout, or 'pip install .' (needs a C++ compiler)"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: "ok", "note" (optional, not there) or "problem" (edt cannot do without).
        text: what was found.
        advice: what to do; empty when there is nothing to do.
        facts: details for ``--json``.
    """

    name: str
    state: State
    text: str
    advice: str = ""
    facts: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}


def examine() -> list[Finding]:
    """Run every check; a check that breaks is itself a finding."""
    checks: dict[str, Callable[[], list[Finding]]] = {
        "edt": _edt,
        "python": _python,
        "torch": _torch,
        "core": _core,
        "arithmetic": _arithmetic,
        "cuda": _cuda,
        "packages": _packages,
        "folder": _folder,
    }
    findings: list[Finding] = []
    for name, check in checks.items():
        try:
            findings += check()
        except Exception as error:
            findings.append(Finding(name, "problem", f"{type(error).__name__}: {error}"))
    return findings


def _edt() -> list[Finding]:
    import edt

    place = str(Path(edt.__file__).parent)
    return [Finding("edt", "ok", f"{edt.__version__} in {place}", facts={"path": place})]


def _python() -> list[Finding]:
    text = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < LEAST_PYTHON:
        return [Finding("python", "problem", text, "install Python 3.10 or newer")]
    return [Finding("python", "ok", text)]


def _torch() -> list[Finding]:
    try:
        import torch
    except ImportError as error:
        return [Finding("torch", "problem", f"not importable: {error}", "pip install torch")]
    version = str(torch.__version__)
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2])
    threads, cores = torch.get_num_threads(), _cores()
    found = [Finding("torch", "ok", version)]
    if numbers < LEAST_TORCH:
        found = [Finding("torch", "problem", f"{version} is too old", "pip install 'torch>=2.6'")]
    few = threads < cores
    return [
        *found,
        Finding(
            "threads",
            "note" if few else "ok",
            f"{threads} of {cores} cores",
            "use more with --threads or torch.set_num_threads(...)" if few else "",
            facts={"threads": threads, "cores": cores},
        ),
    ]


def _cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _core() -> list[Finding]:
    try:
        from edt import _core as core
    except ImportError as error:
        return [Finding("core", "problem", f"not built or not loadable: {error}", BUILD)]
    asked = os.environ.get("EDT_CPU_ISA", "")
    try:
        core.isa()
    except ValueError as error:
        return [Finding("core", "problem", f"EDT_CPU_ISA={asked}: {error}", "unset EDT_CPU_ISA")]
    info, isas = dict(core.build_info()), list(core.isas())
    built = f"version {info.get('version')}, {info.get('compiler')}, for {', '.join(info['isas'])}"
    use = f"{core.isa()} (usable here: {', '.join(isas)}"
    use += f"; EDT_CPU_ISA={asked})" if asked else ")"
    slow = core.isa() == "baseline"
    return [
        Finding("core", "ok", built, facts=info),
        Finding(
            "instruction set",
            "note" if slow else "ok",
            use,
            "this processor has neither AVX2 nor AVX-512, or EDT_CPU_ISA asks for baseline: "
            "results are the same, slower"
            if slow
            else "",
            facts={"in_use": core.isa(), "usable": isas},
        ),
    ]


def _arithmetic() -> list[Finding]:
    """Losses and gradients of a few networks, compiled core against plain PyTorch."""
    try:
        import torch

        from edt import Ensemble, Task, functional
    except ImportError as error:
        return [Finding("arithmetic", "problem", f"not checked: {error}", BUILD)]
    x = torch.linspace(-2, 2, 37, dtype=torch.float64)[:, None]
    task = Task(x, torch.sin(x))
    networks = Ensemble.init(widths=[1, 3, 8], seeds=[0], d_in=1, d_out=1)
    (loss, grad), (wanted, slope) = (
        functional.loss_and_grad(networks, task, backend=backend)
        for backend in ("cpu", "reference")
    )
    off = max(float((loss - wanted).abs().max()), float((grad - slope).abs().max()))
    # Both are sums of 37 numbers of order one: rounding is near 1e-15.
    if not off < 1e-12:
        return [
            Finding(
                "arithmetic",
                "problem",
                f"compiled core and PyTorch differ by {off:.1e}",
                "rebuild the core ('make build'); if it stays, please report it",
            )
        ]
    return [Finding("arithmetic", "ok", f"compiled core agrees with PyTorch to {off:.0e}")]


def _cuda() -> list[Finding]:
    try:
        from edt import _core as core

        info = dict(core.build_info())
    except ImportError:
        info = {}
    built = bool(info.get("cuda"))
    try:
        import torch

        device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    except ImportError:
        device = None
    compiler = shutil.which("nvcc")
    facts: dict[str, Any] = {"built": built, "device": device, "nvcc": compiler}
    how = f"built ({info.get('cuda_compiler')}, for {info.get('cuda_code')})"
    text = f"{how if built else 'not built'}; {device or 'no usable GPU'}"
    if built and device is not None:
        return [_run_a_kernel(text, facts)]
    if built or device is None:
        return [Finding("cuda", "ok" if built else "note", text, "" if built else _NO_GPU, facts)]
    advice = "rebuild with EDT_CUDA=1" if compiler else "install nvcc, then rebuild with EDT_CUDA=1"
    return [Finding("cuda", "note", text, f"everything runs on the CPU; {advice}", facts)]


def _run_a_kernel(text: str, facts: dict[str, Any]) -> Finding:
    """What engine and driver say of each other, and one kernel's results beside the CPU's."""
    import torch

    from edt.ops import cpu, cuda

    found = cuda.engine().runtime()
    facts |= {name: found[name] for name in ("driver", "runtime")}
    versions = [f"{v // 1000}.{v % 1000 // 10}" for v in (found["driver"], found["runtime"])]
    text += f"; driver knows CUDA {versions[0]}, edt was built with {versions[1]}"
    why = cuda.unusable()
    if why is not None:
        return Finding("cuda", "note", text, f"{_NO_GPU}: {why}", facts)
    z = torch.linspace(-3, 3, 97, dtype=torch.float64)
    wanted = cpu.activation("softplus", z, 1)
    try:
        off = float((cuda.activation("softplus", z.to("cuda"), 1).cpu() - wanted).abs().max())
    except RuntimeError as error:
        advice = "rebuild edt for this GPU (EDT_CUDA_ARCHS=native) or update the driver"
        return Finding("cuda", "problem", f"{text}; a kernel fails: {error}", advice, facts)
    facts["largest_difference"] = off
    if not off < 1e-14:
        text += f"; a kernel is off by {off:.1e}"
        return Finding("cuda", "problem", text, "please report it", facts)
    return Finding("cuda", "ok", f"{text}; a kernel agrees with the CPU to {off:.0e}", "", facts)


_NO_GPU = "everything runs on the CPU"


def _packages() -> list[Finding]:
    found = {name: _version(name) for name in (*REQUIRED, *OPTIONAL)}
    missing = [name for name in REQUIRED if found[name] is None]
    versions = ", ".join(f"{name} {found[name]}" for name in REQUIRED if found[name])
    findings = [Finding("packages", "ok", versions, facts=found)]
    if missing:
        text = f"missing: {', '.join(missing)}"
        advice = f"pip install {' '.join(missing)}"
        findings = [Finding("packages", "problem", text, advice, found)]
    for name, purpose in OPTIONAL.items():
        if found[name] is None:
            findings.append(
                Finding(name, "note", f"not installed, needed for {purpose}", f"pip install {name}")
            )
    return findings


def _folder() -> list[Finding]:
    here = Path.cwd()
    if os.access(here, os.W_OK):
        return [Finding("folder", "ok", f"{here} can be written to")]
    return [
        Finding("folder", "note", f"{here} cannot be written to", "give --out a folder of yours")
    ]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
