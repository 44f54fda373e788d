"""Tickets through `torch.nn.utils.prune` and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import edt
from edt.ensemble import Ensemble
from edt.lottery import Tickets
from edt.lottery.interchange import apply_masks, masks_of, tickets_from_modules, tickets_to_modules


def pruned_module(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Sequential(nn.Linear(3, 5), nn.ReLU()), nn.Linear(5, 4, bias=False), nn.ReLU(),
        nn.Linear(4, 2),
    )  # fmt: skip
    prune.l1_unstructured(net[0][0], "weight", amount=0.4)
    prune.random_unstructured(net[3], "bias", amount=1)
    prune.ln_structured(net[1], "weight", amount=0.5, n=2, dim=0)
    return net


def test_modules_become_tickets_with_their_dense_values():
    nets = [pruned_module(0), pruned_module(1)]
    tickets = tickets_from_modules(nets)
    for b, net in enumerate(nets):
        first = net[0][0]
        assert (tickets.start.weight(b, 0) == first.weight_orig).all()
        kept = tickets.start.layout.weight(tickets.keep, b, 0)
        assert (kept == first.weight_mask.bool()).all()
        assert (tickets.start.bias(b, 1) == 0).all()
    x = torch.randn(7, 3)
    task = edt.Task(x, torch.zeros(7, 2))
    out = edt.predict(tickets.alone(), task)
    for b, net in enumerate(nets):
        # Float32 sums of a few terms in another order.
        torch.testing.assert_close(out[b], net(x), rtol=1e-5, atol=1e-6)


def test_tickets_become_modules_and_return():
    ens = Ensemble.init([(4, 3), (6, 2)], [0], d_in=3, d_out=2, activation="relu")
    tickets = Tickets.of(ens, torch.arange(ens.total) % 3 != 1)
    modules = tickets_to_modules(tickets)
    assert all(prune.is_pruned(module) for module in modules)
    back = tickets_from_modules(modules)
    assert (back.keep == tickets.keep).all() and (back.start.theta == ens.theta).all()
    x = torch.randn(5, 3, dtype=torch.float64)
    out = edt.predict(tickets.alone(), edt.Task(x, torch.zeros(5, 2).double()))
    for b, module in enumerate(modules):
        torch.testing.assert_close(out[b], module(x))
    # torch's own optimiser keeps the masks.
    module = modules[0]
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    module(x).square().sum().backward()
    optimiser.step()
    assert (module[0].weight[module[0].weight_mask == 0] == 0).all()


def test_masks_by_name():
    ens = Ensemble.init([4], [0], d_in=3, d_out=2, sparsity=[0.5, 0.0])
    masks = masks_of(ens, 0)
    assert list(masks) == ["0.weight"] and int(masks["0.weight"].sum()) == 6
    dense = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    apply_masks(dense, masks)
    assert (dense[0].weight_mask == masks["0.weight"]).all()
    with pytest.raises(ValueError, match=r"'1\.weight'"):
        apply_masks(dense, {"1.weight": torch.ones(1)})
    with pytest.raises(ValueError, match="shape"):
        apply_masks(dense, {"2.weight": torch.ones(1, 4)})
