"""Where the tests' time goes: seconds on the clock and of all processors, for each test and file.

Processor time is that of this process, its threads and the children it waited for: it means the
same on a machine that is busy with other things. A fixture's time goes to the first test of it.
"""

from __future__ import annotations

import csv
import os
import time
from collections import defaultdict
from pathlib import Path

import pytest

#: The phases of one test are added up.
WALL, CPU = "edt_wall", "edt_cpu"


def processor_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


class Durations:
    """Writes ``tests.csv`` into a folder, and tells the dearest files at the end."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.spent: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.begun = (0.0, 0.0)
        self.begun_file = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> None:
        self.begun = time.monotonic(), processor_seconds()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self):
        """Time since the last phase; what a report carries reaches the main process of xdist."""
        report = (yield).get_result()
        now = time.monotonic(), processor_seconds()
        setattr(report, WALL, now[0] - self.begun[0])
        setattr(report, CPU, now[1] - self.begun[1])
        self.begun = now

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self.spent[report.nodeid]
        test[0] += getattr(report, WALL, 0.0)
        test[1] += getattr(report, CPU, 0.0)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note the test at once: a run that is killed leaves what it knew."""
        wall, cpu = self.spent[nodeid]
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "tests.csv"
        with open(file, "a" if self.begun_file else "w", newline="") as out:
            table = csv.writer(out)
            if not self.begun_file:
                table.writerow(["test", "wall", "cpu"])
            table.writerow([nodeid, f"{wall:.3f}", f"{cpu:.3f}"])
        self.begun_file = True

    def files(self) -> list[tuple[str, float, float, int]]:
        """(file, seconds on the clock, of processors, tests), the longest first."""
        files: dict[str, list[float]] = {}
        for test, (wall, cpu) in self.spent.items():
            sums = files.setdefault(test.split("::")[0], [0.0, 0.0, 0.0])
            sums[0] += wall
            sums[1] += cpu
            sums[2] += 1
        return sorted(
            ((name, wall, cpu, int(tests)) for name, (wall, cpu, tests) in files.items()),
            key=lambda one: -one[2],
        )

    def pytest_terminal_summary(self, terminalreporter, config: pytest.Config) -> None:
        """The ten files that cost most."""
        lines = terminalreporter.write_line
        lines("processor s  clock s  tests  file")
        for name, wall, cpu, tests in self.files()[:10]:
            lines(f"{cpu:11.1f}  {wall:7.1f}  {tests:5d}  {name}")


def start(config: pytest.Config) -> None:
    """Where ``EDT_DURATIONS`` names a folder, the record goes there."""
    folder = os.environ.get("EDT_DURATIONS")
    if folder:
        config.pluginmanager.register(Durations(Path(folder)), "edt-durations")
