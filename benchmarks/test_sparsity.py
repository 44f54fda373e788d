"""W without masks against W with 90% of all weights pruned, both edt."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import names, settings, subject, workload
from benchmarks.figures import Figures
from benchmarks.timing import timed

STEPS = 3 if settings.SMOKE else 100


@pytest.mark.parametrize("name, sparsity", [(names.DENSE, None), (names.SPARSE, 0.9)])
@pytest.mark.parametrize("dtype", workload.DTYPES)
def test_edt(
    dtype: str, name: str, sparsity: float | None, benchmark: Any, figures: Figures
) -> None:
    kind = workload.DTYPES[dtype]
    ens = workload.networks("softplus", kind, sparsity=sparsity)
    task = workload.task(kind)
    timing = timed(benchmark, lambda: subject.train(ens, task, STEPS), STEPS)
    figures.add(names.sparsity_case(dtype), name, timing)
