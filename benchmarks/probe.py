"""Measures memory in a process of its own, which no other benchmark has grown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def probe(module: str, *numbers: int) -> Any:
    """What ``python -m benchmarks.<module> NUMBERS`` prints as JSON.

    Raises:
        AssertionError: it failed; the message is what it wrote to stderr.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, numbers)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
