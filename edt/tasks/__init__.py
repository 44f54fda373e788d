"""Tasks: the container, and generators of real and synthetic ones."""

from __future__ import annotations

from edt.tasks.task import LOSSES, Task

__all__ = ["LOSSES", "Task"]
