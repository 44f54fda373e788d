"""Index of critical points, counted again by autograd and from exact critical points."""

from __future__ import annotations

import torch

from edt.ensemble import Ensemble
from edt.landscape import certify, critical_task
from edt.studies.index_loss.run import CRITICAL, run_index_loss
from edt.studies.index_loss.spec import IndexLossSpec


def test_points_are_critical_and_their_index_is_autograds(own):
    """Random networks on exact critical points at rising residuals: index by another road."""
    ens = Ensemble.init([3], range(6), d_in=2, d_out=1, activation="tanh", scheme="normal",
                        scale=1.3, dtype=torch.float64)  # fmt: skip
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(1)).double()
    shares = {}
    for residual in (1e-3, 0.3, 3.0):
        task = critical_task(ens, x, residual=residual, seed=2)
        found = certify(task, ens, task_index=torch.arange(6), steps=0)
        index = []
        for b in range(6):
            y = task.y[b][:, 0]
            _, grad, hessian = own.curvature(ens.select([b]).theta, x, y, 3)
            # Exact up to the rounding of targets of the residual's size.
            assert float(grad.abs().max()) < 1e-12 * max(1.0, residual)
            values = torch.linalg.eigvalsh(hessian)
            unit = 10 * 2.0**-52 * len(values) * float(values.abs().max())
            index.append(int((values < -unit).sum()))
            assert found.standings[b].index == index[-1]
            assert found.label[b] == ("saddle" if index[-1] else "minimum")
        shares[residual] = sum(index)
    # At small residuals the Gauss-Newton part rules; at large ones the bends of the neurons do.
    assert shares[1e-3] < shares[3.0]


def test_the_study_finds_critical_points(own):
    spec = IndexLossSpec(teachers=1, widths=(2,), seeds=6, stops=(30, 300), samples=48)
    runs = run_index_loss(spec, progress=False).tables["runs"]
    kept = runs[runs["label"].isin(CRITICAL)]
    assert len(kept) > 0
    assert (kept["grad_max"] <= 1e-8).all()
    assert (runs.loc[~runs["label"].isin(CRITICAL), "index"] == -1).all()
