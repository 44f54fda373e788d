"""Reports whose figures cost less, for tests that look at other things."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def only_vectors():
    """Figures are drawn as SVG, which pages show; PNG and PDF are drawn in `tests/show`."""
    with pytest.MonkeyPatch.context() as patch:
        for form in ("png", "pdf"):
            patch.setattr(f"edt.show.publish.{form}", lambda figure: b"not drawn in this test")
        yield
