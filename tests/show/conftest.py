"""Reports of every kind, made once for all tests of this folder."""

from __future__ import annotations

from small_pages import pages  # noqa: F401  fixture
