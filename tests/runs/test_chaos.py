"""The short form of ``python -m tests.chaos``: every attack once, and a counted verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import STATES, Chaos

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")


def test_nothing_is_lost_doubled_or_left(tmp_path):
    verdict = Chaos(1, tmp_path).go(kills=16, seconds=240.0)
    assert verdict.clean, str(verdict)
    assert verdict.kills >= 10 and set(STATES) <= set(verdict.attacks)
