"""What a report says, for tests of commands that write one."""

from __future__ import annotations

import re

import pytest


@pytest.fixture
def page_text():
    """Reads the report in a folder, without the pictures and the plotly that it embeds."""

    def read(folder):
        page = (folder / "report.html").read_text(encoding="utf-8")
        return re.sub(r'data:[^"]*|(?s:<script type="text/plain".*?</script>)', "", page)

    return read
