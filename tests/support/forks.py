"""Sweeps as forks of one process: the other side of `forked`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


class Forks:
    """Starts sweeps, and says how they ended.

    Args:
        errors: where their errors go; None: to this process's.
    """

    def __init__(self, errors: Any = None) -> None:
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip

    def ask(self, **order: Any) -> int:
        """The answer to an order; see `forked`."""
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, spec: Any, folder: Path, **more: Any) -> int:
        """Process id of a sweep."""
        return self.ask(spec=spec.to_dict(), folder=str(folder), **more)

    def wait(self, pid: int) -> int:
        """Exit code of a sweep."""
        return self.ask(wait=pid)

    def kill(self, pid: int) -> bool:
        """SIGKILL; whether it came before the end."""
        os.kill(pid, signal.SIGKILL)
        return self.wait(pid) == -signal.SIGKILL

    def close(self) -> None:
        """End the server."""
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()
