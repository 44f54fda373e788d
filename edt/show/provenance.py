"""What a run was made with: versions, machine, threads, time."""

from __future__ import annotations

import platform
import sys
from datetime import datetime, timezone
from importlib import metadata
from typing import Any, Protocol

import torch

from edt import __version__, _core


class Finished(Protocol):
    """Any finished experiment."""

    @property
    def spec(self) -> Any: ...
    @property
    def seconds(self) -> dict[str, float]: ...


def provenance(sweep: Finished) -> dict[str, Any]:
    """Facts about this run that are not part of its result, JSON-able."""
    packages = ("numpy", "scipy", "pandas", "pyarrow", "matplotlib", "plotly", "scikit-learn")
    return {
        "edt": __version__,
        "spec": sweep.spec.to_dict(),
        "spec_digest": sweep.spec.digest,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        **{name: _version(name) for name in packages},
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "instruction_set": _core.isa(),
        "threads": torch.get_num_threads(),
        "seconds": {name: round(value, 2) for name, value in sweep.seconds.items()},
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": ["edt", *sys.argv[1:]],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
