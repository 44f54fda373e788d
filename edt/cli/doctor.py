"""`edt doctor`: what was built, what is in use, what is missing and how to get it."""

from __future__ import annotations

import json
import os
import platform
import shutil
from importlib import metadata
from importlib.util import find_spec
from typing import Annotated, Any

import typer

#: Packages some features need, and what for.
OPTIONAL = {
    "mnist1d": "edt.tasks.mnist1d: pip install 'edt[mnist1d]'",
    "jax": "the JAX peer of make bench: pip install 'edt[bench]'",
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say what was built, what is in use, and what to do if something is missing."""
    facts = examine()
    if as_json:
        print(json.dumps(facts, indent=1))
    else:
        for name, value in facts.items():
            if name != "advice":
                shown = ", ".join(map(str, value)) if isinstance(value, list) else value
                print(f"{name:<18} {shown}")
        for line in facts["advice"]:
            print(f"! {line}")
        if not facts["advice"]:
            print("Everything needed is here.")
    if not facts["usable"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """Facts about the installation, and advice; JSON-able."""
    advice: list[str] = []
    facts: dict[str, Any] = {
        "edt": _version("edt"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "usable": True,
    }
    try:
        from edt import _core
    except ImportError as error:
        facts["usable"] = False
        facts["compiled core"] = f"missing ({error})"
        advice.append(
            "the compiled core is missing: install a C++17 compiler and run 'pip install .' in the "
            "source folder (in a checkout: make build)"
        )
        facts["advice"] = advice
        return facts
    built = _core.build_info()
    facts["compiler"] = built["compiler"]
    facts["built for"] = list(built["isas"])
    facts["usable here"] = _core.isas()
    try:
        facts["in use"] = _core.isa()
    except ValueError as error:
        facts["usable"] = False
        facts["in use"] = "none"
        advice.append(f"EDT_CPU_ISA={os.environ.get('EDT_CPU_ISA')}: {error}; unset it")
    if facts["in use"] == "baseline" and "EDT_CPU_ISA" not in os.environ:
        advice.append("this processor has no AVX2: training is several times slower than on one")
    import torch

    facts["torch"] = str(torch.__version__)
    facts["threads"] = torch.get_num_threads()
    facts["cores"] = os.cpu_count()
    facts["CUDA engine"] = "not in this version: everything runs on the CPU"
    for package, use in OPTIONAL.items():
        if find_spec(package) is None:
            advice.append(f"{package} is not installed; it is needed only for {use}")
    if shutil.which("c++") is None and shutil.which("g++") is None:
        advice.append("no C++ compiler found: fine until edt has to be rebuilt")
    facts["advice"] = advice
    return facts


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        from edt import __version__

        return f"{__version__} (not installed, used in place)"
