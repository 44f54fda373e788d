"""Tickets: what is pruned, frozen, kept; and the controls."""

from __future__ import annotations

import pytest
import torch

from edt.ensemble import Ensemble
from edt.errors import ShapeError
from edt.lottery import Recipe, Tickets, controls, neuron_mask
from edt.lottery.membership import group_sum, membership


def test_variants_split_the_network(tickets):
    start, keep, rest = tickets.start, tickets.keep, tickets.rest
    assert not (keep & rest).any()
    alone, without = tickets.alone(), tickets.without()
    shared = tickets.shared
    assert not (shared & ~keep).any()
    assert (alone.masks == keep).all() and (without.masks == (rest | shared)).all()
    assert (alone.theta[keep] == start.theta[keep]).all() and (alone.theta[~keep] == 0).all()
    frozen = tickets.rest_frozen()
    assert (frozen.frozen == rest).all() and (frozen.theta == start.theta).all()
    assert (tickets.inside().masks == (keep | rest)).all()
    some = tickets.select([2, 0, 2])
    assert some.names.tolist() == [8, 11, 8]
    assert some.size.tolist() == tickets.size[[2, 0, 2]].tolist()


def test_neuron_mask_is_a_narrow_network():
    ens = Ensemble.init([4], range(2), d_in=3, d_out=2)
    chosen = torch.tensor([[True, False, True, False], [False, False, True, True]])
    keep = neuron_mask(ens, chosen)
    for b in range(2):
        assert (ens.layout.weight(keep, b, 0) == chosen[b][:, None]).all()
        assert (ens.layout.bias(keep, b, 0) == chosen[b]).all()
        assert (ens.layout.weight(keep, b, 1) == chosen[b][None]).all()
        assert ens.layout.bias(keep, b, 1).all()


@pytest.mark.parametrize("name", controls.CONTROLS)
def test_controls_keep_what_they_say(tickets, recipe, name):
    made = controls.control(name, tickets, recipe, seed=3)
    at = membership(tickets.start)
    groups = 2 * at.layers * at.networks
    counts = [group_sum(t.keep, at.kind, groups) for t in (made, tickets)]
    assert (counts[0] == counts[1]).all()  # layer-wise density, weights and biases apart
    assert not (made.keep & (tickets.start.state == 0)).any()
    new, old = made.start.theta, tickets.start.theta
    if name in ("ticket", "random"):
        assert (new == old).all()
    elif name == "signed":
        # Glorot's biases are 0 and have no sign.
        weights = ~at.bias
        assert (torch.sign(new[weights]) == torch.sign(old[weights])).all() and (new != old).any()
    elif name == "shuffled":
        for kind in range(groups):
            own = at.kind == kind
            kept = [t.start.theta[own & t.keep].sort().values for t in (made, tickets)]
            assert (kept[0] == kept[1]).all()
    if name in ("ticket", "reinit", "signed"):
        assert (made.keep == tickets.keep).all()
    else:
        assert (made.keep != tickets.keep).any()
    again = controls.control(name, tickets.select([1]), recipe, seed=3)
    part = slice(*tickets.start.offsets[1:3].tolist())
    assert (again.start.theta == new[part]).all() and (again.keep == made.keep[part]).all()


def test_random_neurons(tickets):
    ens = Ensemble.init([6], range(40), d_in=2, d_out=1)
    chosen = torch.zeros(40, 6, dtype=torch.bool)
    chosen[:, :2] = True
    made = controls.random_ticket(Tickets.of(ens, neuron_mask(ens, chosen)), 1, neurons=True)
    found = made.keep.view(40, -1)[:, :12].view(40, 6, 2).all(2)
    assert (found.sum(1) == 2).all()
    assert (made.keep == neuron_mask(ens, found)).all()
    # 80 draws of 6 neurons: each is met (a miss has probability below 6 (4/6)^40 < 1e-6).
    assert found.any(0).all()


def test_bad_input(tickets):
    start = tickets.start
    with pytest.raises(ShapeError, match="keep"):
        Tickets.of(start, torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="pruned"):
        Tickets.of(start, torch.ones(start.total, dtype=torch.bool))
    with pytest.raises(ValueError, match="no parameter"):
        Tickets.of(start, torch.zeros(start.total, dtype=torch.bool))
    with pytest.raises(ValueError, match="names"):
        Tickets.of(start, tickets.keep, names=[0, 1, 2**40])
    with pytest.raises(ValueError, match="did you mean"):
        controls.control("shufled", tickets, Recipe(), 0)
    with pytest.raises(ValueError, match="scheme"):
        Recipe("glorott")
    with pytest.raises(ValueError, match="hidden layer"):
        neuron_mask(start, torch.ones(3, 5, dtype=torch.bool), layer=1)


def test_recipe_at_reference_scale_is_the_narrow_distribution():
    wide = Recipe("glorot", reference_width=4).start([16], range(400), d_in=2, d_out=1)
    narrow = Recipe("glorot").start([4], range(1600), d_in=2, d_out=1)
    for layer in (0, 1):
        spread = [
            torch.cat([e.weight(b, layer).flatten() for b in range(e.B)]).std()
            for e in (wide, narrow)
        ]
        # 6,400 and more normals: the deviation is known to about 1%.
        assert abs(float(spread[0] / spread[1]) - 1) < 0.05


def test_the_output_bias_belongs_to_ticket_and_rest():
    ens = Ensemble.init([5, 6], range(2), d_in=3, d_out=2)
    chosen = torch.zeros(4, 6, dtype=torch.bool)
    chosen[:, :2] = True
    tickets = Tickets.of(ens, neuron_mask(ens, chosen))
    for b in range(ens.B):
        assert ens.layout.bias(tickets.shared, b, 1).all()
        assert not ens.layout.bias(tickets.shared, b, 0).any()
        assert not ens.layout.weight(tickets.shared, b, 0).any()
        for form in (tickets.alone(), tickets.inside(), tickets.rest_frozen(), tickets.without()):
            assert form.bias_mask(b, 1).all()
            assert not form.layout.bias(form.frozen, b, 1).any()
        assert not tickets.without().weight_mask(b, 0)[:2].any()
        assert tickets.without().weight_mask(b, 0)[2:].all()


def test_layers_beside_a_ticket_of_neurons_belong_to_both():
    ens = Ensemble.init([(4, 3, 2)], range(2), d_in=3, d_out=1)
    chosen = torch.tensor([[True, True, False, False]] * 2)
    tickets = Tickets.of(ens, neuron_mask(ens, chosen, layer=0))
    without = tickets.without()
    for layer in (2, 3):
        assert without.weight_mask(0, layer).all() and without.bias_mask(0, layer).all()
    assert without.weight_mask(1, 1)[:, 2:].all() and not without.weight_mask(1, 1)[:, :2].any()
    # The rest of a ticket that is everything is nothing: nothing is shared.
    assert not Tickets.of(ens, torch.ones(ens.total, dtype=torch.bool)).shared.any()


def test_weights_of_a_sparse_ticket_are_its_own(tickets):
    at = membership(tickets.start)
    weights = ~at.bias
    alive = torch.zeros(at.layers * at.networks, dtype=torch.bool)
    alive[at.block[tickets.rest]] = True
    assert not (tickets.shared & weights & alive[at.block]).any()


def test_rest_as_features(tickets):
    at = membership(tickets.start)
    made = tickets.rest_as_features()
    readout = (at.layer == at.layers - 1) & ~at.bias
    assert (made.frozen == (tickets.rest & ~readout)).all()
    assert (made.theta == tickets.start.theta).all()
