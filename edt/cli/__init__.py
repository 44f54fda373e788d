"""The `edt` command."""

from __future__ import annotations

from edt.cli.app import main

__all__ = ["main"]
