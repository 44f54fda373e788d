"""Fixtures, and what happens at the end of a run: table, JSON, plot."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import settings  # isort: skip  # first: fixes the cores before threads start

import torch

from benchmarks import machine
from benchmarks.figures import Figures
from benchmarks.plot import write_plot
from benchmarks.record import write_record
from benchmarks.table import print_tables
from benchmarks.targets import targets

FIGURES = pytest.StashKey[Figures]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Figures()
    # Our own table, by case and with ratios, takes the place of the plugin's.
    config.option.benchmark_quiet = True


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Where measurements go."""
    out = pytestconfig.stash[FIGURES]
    reporter: Any = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    capture: Any = pytestconfig.pluginmanager.get_plugin("capturemanager")

    def announce(line: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(line)

    out.announce = announce
    return out


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Every contender has the same threads, and all that the process may use."""
    before = torch.get_num_threads()
    torch.set_num_threads(settings.THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def need_jax(figures: Figures) -> None:
    """Skip, and say so in the results, where JAX is missing."""
    if importlib.util.find_spec("jax") is None:
        figures.skipped["JAX"] = "not installed: pip install jax"
        pytest.skip("JAX is not installed: pip install jax")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    figures = config.stash[FIGURES]
    if not (figures.measurements or figures.quantities or figures.series):
        return
    reached = targets(figures)
    here = machine.describe()
    print_tables(figures, reached, here)
    folder = settings.results_folder()
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / machine.slug(here)
    written = [
        write_record(stem.with_suffix(".json"), figures, reached, here),
        write_plot(stem.with_suffix(".png"), figures, reached, here),
    ]
    for path in written:
        terminalreporter.write_line(f"wrote {path}")
