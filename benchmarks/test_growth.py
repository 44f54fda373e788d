"""Time against the number of networks and of samples: both must be linear."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks import names, settings, subject, workload
from benchmarks.figures import Figures
from benchmarks.timing import quick_time

NETWORKS = (4, 8) if settings.SMOKE else (10, 30, 100, 300, 1_000, 3_000, 10_000)
SAMPLES = (32, 64) if settings.SMOKE else (64, 256, 1_024, 4_096, 16_384, 65_536)
#: Networks times samples times steps in a timed call: a few tenths of a second each; and the fewest
#: steps, so that checks, set-up and the last evaluation do not count as growth.
WORK, FEWEST = (1e3, 3) if settings.SMOKE else (3e7, 30)


def test_networks(figures: Figures) -> None:
    """Width 16, so that the mix of widths does not change with the number."""
    task = workload.task(torch.float32)
    seconds = []
    for count in NETWORKS:
        ens = workload.networks("softplus", torch.float32, widths=(16,), seeds=count)
        steps = max(FEWEST, int(WORK / (count * task.N)))
        seconds.append(quick_time(partial(subject.train, ens, task, steps), steps))
    figures.add_series(names.NETWORKS_SERIES, list(NETWORKS), seconds)


def test_samples(figures: Figures) -> None:
    """All of W."""
    ens = workload.networks("softplus", torch.float32)
    seconds = []
    for samples in SAMPLES:
        task = workload.task(torch.float32, samples=samples)
        steps = max(FEWEST, int(WORK / (ens.B * samples)))
        seconds.append(quick_time(partial(subject.train, ens, task, steps), steps))
    figures.add_series(names.SAMPLES_SERIES, list(SAMPLES), seconds)
