"""The short form of ``python -m tests.chaos``: every attack once but those on `edt` itself."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.chaos.attacks import Chaos
from tests.chaos.states import MOMENTS

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")


def test_nothing_is_lost_doubled_or_left():
    with TemporaryDirectory(prefix="edt-chaos-") as root:  # pytest's own is closed to others
        Path(root).chmod(0o755)
        verdict = Chaos(1, Path(root) / "chaos").go(kills=1000, seconds=3600.0, decks=1)
    assert verdict.clean, str(verdict)
    assert verdict.kills.total() >= len(MOMENTS), str(verdict)
    assert {"deleted", "linked", "read-only", "second writer"} <= set(verdict.attacks)
    assert verdict.compared >= 4, str(verdict)
