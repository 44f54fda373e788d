"""The JSON file of a run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures
from benchmarks.targets import Target


def write_record(
    path: Path, figures: Figures, targets: list[Target], machine: dict[str, Any]
) -> Path:
    """Write machine, figures and targets; returns the path."""
    content = {
        "machine": machine,
        "targets": [{**asdict(target), "met": target.met} for target in targets],
        **figures.as_json(),
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
