"""Peak memory of training many networks, each in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import names, settings
from benchmarks.figures import Figures
from benchmarks.probe import probe

NETWORKS, STEPS = (20, 2) if settings.SMOKE else (10_000, 5)
LENETS = 4 if settings.SMOKE else 300
MIB = 2**20


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
def test_many_networks(figures: Figures) -> None:
    used = probe("memory_probe", NETWORKS, STEPS)
    beyond = used["peak"] - used["before"] - used["state"]
    figures.add_quantity("networks in the memory test", used["networks"], "networks")
    figures.add_quantity("parameters and optimiser state", used["state"] / MIB, "MiB")
    figures.add_quantity(names.MEMORY_QUANTITY, beyond / MIB, "MiB")


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
def test_many_lenets(figures: Figures) -> None:
    used = probe("convolution_memory_probe", LENETS, STEPS)
    beyond, needed = used["peak"] - used["before"], used["state"] + used["activations"]
    figures.add_quantity("LeNet-5: parameters, gradient and moments", used["state"] / MIB, "MiB")
    figures.add_quantity("LeNet-5: activations of all networks", used["activations"] / MIB, "MiB")
    figures.add_quantity(names.CONVOLUTION_MEMORY, beyond / needed, "x")
