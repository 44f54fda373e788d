"""Networks without coordinates have no curvature, and keep no other from having one."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.ensemble.masks import FROZEN, PRUNED
from edt.landscape import certify, eigen_directions
from edt.lottery import criteria
from edt.plots import plot_spectrum

X = torch.linspace(-1.0, 1.0, 24, dtype=torch.float64).reshape(12, 2)
TASK = edt.Task(X, torch.tanh(X.sum(1, keepdim=True)))
ENS = edt.Ensemble.init([3, 2, 4], [0], d_in=2, d_out=1)
QUIET = {"progress": False}


def fixed(which, state):
    """Networks of `ENS`, some without a trainable parameter."""
    out = ENS.state.clone()
    for b in which:
        out[ENS.offsets[b] : ENS.offsets[b + 1]] = state
    return ENS.with_state(out)


def flat(ens, vector):
    """A flat vector network by network."""
    return [vector[ens.offsets[b] : ens.offsets[b + 1]] for b in range(ens.B)]


#: Each gives one thing a network.
CALLS = {
    "hvp": lambda e: flat(e, edt.hvp(e, TASK, torch.ones(e.total, dtype=torch.float64))),
    "hessian": lambda e: edt.hessian(e, TASK),
    "jacobian": lambda e: edt.jacobian(e, TASK),
    "spectrum": lambda e: edt.hessian_spectrum(e, TASK),
    "counts": lambda e: edt.count_directions(e, TASK).n_pos,
    "counts by factors": lambda e: edt.count_directions(e, TASK, method="ldl").n_pos,
    "directions": lambda e: edt.count_directions(e, TASK, directions=True).directions,
    "trace": lambda e: edt.hessian_trace(e, TASK).trace,
    "trace by few products": lambda e: edt.hessian_trace(e, TASK, products=3).trace,
    "trace, hutchinson": lambda e: edt.hessian_trace(e, TASK, method="hutchinson").trace,
    "diagonal": lambda e: flat(e, edt.hessian_diagonal(e, TASK)[0]),
    "density": lambda e: [d.nodes for d in edt.spectral_density(e, TASK, steps=4)],
    "eigenpairs": lambda e: [p.values for p in edt.extreme_eigenpairs(e, TASK, 2)],
    "lanczos": lambda e: [edt.lanczos(e, TASK, b, 2)[0] for b in range(e.B)],
    "operator": lambda e: [
        torch.tensor(edt.HessianOperator(e, TASK, b).shape) for b in range(e.B)
    ],
    "ways": lambda e: flat(e, eigen_directions(TASK, e)[0][0]),
    "snip": lambda e: flat(e, criteria.snip(TASK, e)),
    "damage": lambda e: flat(e, criteria.obd(TASK, e)),
    "surgeon": lambda e: flat(e, criteria.obs_prune(TASK, e, 0.3).theta),
    "converge": lambda e: edt.converge(TASK, e, **QUIET).loss,
    "train": lambda e: edt.masked_train(TASK, e, steps=5, record=None, **QUIET).loss,
    "flow": lambda e: edt.gradient_flow(TASK, e, max_time=1.0, **QUIET).loss,
    "certificates": lambda e: torch.tensor(certify(TASK, e).to_pandas()["loss"].to_numpy()),
}  # fmt: skip


@pytest.mark.parametrize("state", [FROZEN, PRUNED])
@pytest.mark.parametrize("name", CALLS)
def test_one_does_not_block_the_others(name, state):
    call = CALLS[name]
    ens = fixed([1], state)
    found, alone = call(ens), call(ens.select([0, 2]))
    for mine, other in zip((found[0], found[2]), alone, strict=True):
        assert torch.equal(torch.as_tensor(mine), torch.as_tensor(other))
    every = call(fixed([0, 1, 2], state))
    assert len(every) == 3


def test_what_is_said_of_none():
    ens = fixed([0, 1, 2], FROZEN)
    trace = edt.hessian_trace(ens, TASK)
    assert trace.trace.tolist() == [0.0] * 3
    assert trace.products.tolist() == [0] * 3
    assert not edt.hessian_diagonal(ens, TASK)[0].any()
    for pairs in edt.extreme_eigenpairs(ens, TASK, 3):
        assert pairs.converged and pairs.values.numel() == 0
    assert torch.equal(criteria.obs_prune(TASK, ens, 0.5).theta, ens.theta)
    ended = edt.converge(TASK, ens, **QUIET)
    assert ended.index.tolist() == [0, 0, 0]
    (ax,) = plot_spectrum(edt.hessian_spectrum(fixed([1], FROZEN), TASK)).axes
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[1] == "network 1: no coordinates"
    with pytest.raises(ValueError, match="no network has any"):
        plot_spectrum(edt.hessian_spectrum(ens, TASK))
