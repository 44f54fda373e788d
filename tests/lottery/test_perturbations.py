"""Changed rests: the ticket untouched, sizes as promised, draws a matter of names only."""

from __future__ import annotations

import pytest
import torch

from edt.ensemble import Ensemble
from edt.lottery import KINDS, Recipe, Tickets, perturb_rest
from edt.lottery.membership import group_sum, membership


def made(tickets, kind, sizes, rests=3, **more):
    return perturb_rest(tickets, kind, sizes, rests, recipe=Recipe("normal"), seed=4, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_ticket_is_untouched_and_pruned_stay_pruned(tickets, kind):
    out = made(tickets, kind, [0.5, 1.0])
    assert out.networks.B == 18 and len(out.table) == 18
    many = tickets.select(out.table["ticket"].tolist())
    assert (out.networks.theta[out.keep] == many.start.theta[many.keep]).all()
    assert (out.networks.state == many.inside().state).all()
    assert (out.networks.theta[out.networks.state == 0] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_names_decide_not_company(tickets, kind):
    whole = made(tickets, kind, [0.3, 0.9])
    part = made(tickets.select([1]), kind, [0.9], rests=1, first_rest=2)
    row = whole.table.query("ticket == 1 and size == 0.9 and rest == 2").index[0]
    assert (part.networks.theta == whole.networks.select([row]).theta).all()


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "rescale"])
def test_size_zero_changes_nothing(tickets, kind):
    out = made(tickets, kind, [0.0])
    assert (out.networks.theta == tickets.repeat(3).inside().theta).all()
    assert (out.table["distance"] == 0).all()


def test_distances(tickets):
    noise = made(tickets, "noise", [0.25, 2.0]).table
    # The step is scaled to this length: rounding only.
    assert (noise["distance"] / noise["size"] - 1).abs().max() < 1e-12
    scaled = made(tickets, "rescale", [0.0, 3.0]).table
    assert (scaled["distance"] - (scaled["size"] - 1).abs()).abs().max() < 1e-12


@pytest.mark.parametrize("kind", ["flip", "zero", "replace", "permute"])
def test_shares_are_exact(kind):
    ens = Ensemble.init([6], range(5), d_in=3, d_out=2, scheme="normal")
    ticket = Tickets.of(ens, torch.arange(ens.total) % 4 == 0)
    out = made(ticket, kind, [0.4])
    many = ticket.select(out.table["ticket"].tolist())
    network = membership(out.networks).network
    old, new = many.start.theta, out.networks.theta
    changed = group_sum(old != new, network, out.networks.B)
    wanted = torch.floor(0.4 * group_sum(many.rest, network, out.networks.B) + 0.5)
    if kind == "permute":
        # A random permutation may leave entries in place; values stay the same per layer.
        assert (changed <= wanted + 4).all() and (changed > 0).all()
        kinds = membership(out.networks).kind
        for k in kinds.unique().tolist():
            assert (old[kinds == k].sort().values == new[kinds == k].sort().values).all()
        return
    assert (changed == wanted).all()
    moved = old != new
    if kind == "flip":
        assert (new[moved] == -old[moved]).all()
    if kind == "zero":
        assert (new[moved] == 0).all()


def test_resample_keeps_the_distribution():
    ens = Ensemble.init([50], [0], d_in=4, d_out=1, scheme="normal", bias=False)
    ticket = Tickets.of(ens, torch.arange(ens.total) == 0)
    for size in (0.5, 1.0):
        w = made(ticket, "resample", [size], rests=40).networks.theta.view(40, -1)[:, 1:200]
        # 8,000 normals of deviation 1/2.
        assert abs(float(w.std()) / 0.5 - 1) < 0.06


def test_bad_input(tickets):
    for kind, sizes, says in (
        ("noisy", [1], "did you mean"),
        ("flip", [1.5], "0..1"),
        ("noise", [-1], ">= 0"),
        ("noise", [], "at least one"),
        ("noise", [float("nan")], ">= 0"),
    ):
        with pytest.raises(ValueError, match=says):
            made(tickets, kind, sizes)
    with pytest.raises(ValueError, match="rests"):
        made(tickets, "noise", [1.0], rests=0)
