"""Tickets, rests, controls and cuts of networks of modules; criteria against those of chains."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import nn

import edt
from edt import nets
from edt.errors import ShapeError
from edt.lottery import ModuleRecipe, Tickets, neuron_mask, perturb_rest
from edt.lottery.controls import CONTROLS, control, random_ticket
from edt.lottery.criteria import edge_popup, grasp, obd, snip
from edt.lottery.membership import membership
from edt.lottery.multistart import partition, partition_units, partition_weights
from edt.lottery.prune import prune_lowest
from edt.ops.threads import one_blas_thread

SHAPE = (1, 8, 8)
RESNET = ModuleRecipe(partial(nets.resnet20, shape=SHAPE, blocks=1), SHAPE)
LENET = ModuleRecipe(partial(nets.lenet5, shape=SHAPE), SHAPE)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose by threads, most where other work runs beside."""
    with one_blas_thread():
        yield


def images(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(4)
    return torch.randn(n, *SHAPE, generator=draw), torch.arange(n) % 10


@pytest.fixture(scope="module")
def tickets() -> Tickets:
    """Magnitude tickets of a quarter of each layer of residual networks of two widths."""
    start = RESNET.start([0.25, 0.5], range(2))
    state = prune_lowest(start, start.theta.abs(), 0.75)
    return Tickets.of(start, state != 0, names=[5, 6, 9, 11])


def test_a_fresh_draw_is_the_builders_at_the_ids_own_seed(tickets: Tickets) -> None:
    start = tickets.start
    drawn = RESNET.redraw(start, 3, tickets.names)
    again = RESNET.redraw(start.select([2]), 3, tickets.names[[2]])
    assert torch.equal(drawn[start.positions([2])], again)
    other = RESNET.redraw(start, 4, tickets.names)
    weights = start.role_mask("weight")
    assert not bool((drawn[weights] == other[weights]).any())
    assert not bool((drawn[weights] == start.theta[weights]).any())
    # Norms and running statistics start as they always do.
    assert torch.equal(drawn[~weights], start.theta[~weights])
    with pytest.raises(ShapeError, match="must make a module like network 0's"):
        LENET.redraw(start, 0, tickets.names)


def test_forms_of_a_ticket_train_what_they_say(tickets: Tickets) -> None:
    task = edt.ModuleTask(images())
    for form, rest_is in (("alone", 0), ("inside", 1), ("rest_frozen", 2), ("without", 1)):
        networks = getattr(tickets, form)()
        assert bool((networks.state[tickets.rest] == rest_is).all())
        assert torch.equal(networks.frozen & networks.role_mask("buffer"),
                           networks.role_mask("buffer"))  # fmt: skip
        after = edt.masked_train(task, networks, steps=2, lr=0.1, record=None, progress=False)
        moved = after.networks.theta != networks.theta
        assert bool(moved[tickets.rest].any()) == (rest_is == 1)
        own = tickets.keep & networks.role_mask("weight")
        assert bool(moved[own].any()) == (form != "without")
    assert not bool((tickets.rest & tickets.start.role_mask("buffer")).any())


@pytest.mark.parametrize("kind", ["resample", "replace", "flip", "permute", "zero", "noise"])
def test_rests_change_and_tickets_do_not(tickets: Tickets, kind: str) -> None:
    made = perturb_rest(tickets, kind, [0.0, 0.5, 1.0], 2, recipe=RESNET, seed=1)
    networks, many = made.networks, tickets.repeat(6)
    assert isinstance(networks, edt.ModuleEnsemble) and networks.B == 24
    assert torch.equal(networks.theta[many.keep], many.start.theta[many.keep])
    still = ~networks.role_mask("weight")
    assert torch.equal(networks.theta[still], many.start.theta[still])
    assert (made.table.loc[made.table["size"] == 0.0, "distance"] == 0.0).all()
    assert (made.table.loc[made.table["size"] > 0.0, "distance"] > 0.3).all()
    # What becomes of a ticket does not depend on which others there are.
    alone = perturb_rest(tickets.select([3]), kind, [0.0, 0.5, 1.0], 2, recipe=RESNET, seed=1)
    assert torch.equal(alone.networks.theta, networks.select(range(18, 24)).theta)


def test_norms_in_the_rest_keep_the_value_that_every_draw_has() -> None:
    start = RESNET.start([0.25], [0])
    first = torch.arange(start.total) < 9
    made = perturb_rest(Tickets.of(start, first), "resample", [0.5], 1, recipe=RESNET)
    norms = start.role_mask("norm", "buffer")
    assert torch.equal(made.networks.theta[norms], start.theta[norms])


def test_disjoint_twins_hold_as_many_other_weights(tickets: Tickets) -> None:
    twin = random_ticket(tickets, 7, disjoint=True)
    at, weights = membership(tickets.start), tickets.start.role_mask("weight")
    assert not bool((twin.keep & tickets.keep & weights).any())
    assert torch.equal(twin.keep[~weights], tickets.keep[~weights])
    counts = [
        torch.bincount(at.block[mask & weights], minlength=at.layers * at.networks)
        for mask in (tickets.keep, twin.keep)
    ]
    assert torch.equal(*counts)
    assert not torch.equal(twin.keep, random_ticket(tickets, 8, disjoint=True).keep)
    most = Tickets.of(tickets.start, torch.ones_like(tickets.keep))
    with pytest.raises(ValueError, match="ticket 0 has more than half of the weights of layer 0"):
        random_ticket(most, 0, disjoint=True)


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_keep_the_densities(tickets: Tickets, name: str) -> None:
    made = control(name, tickets, RESNET, 2)
    assert torch.equal(made.size, tickets.size)
    if name == "signed":
        same = torch.sign(made.start.theta) == torch.sign(tickets.start.theta)
        assert bool(same[made.start.theta != 0].all())


def test_a_cut_into_units_gives_narrow_networks() -> None:
    """Each ticket computes what the slices of its channels compute as a network of their own."""

    def net(one: int, two: int, three: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, one, 3, padding=1), nn.BatchNorm2d(one), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(one, two, 3, padding=1), nn.Tanh(), nn.Flatten(),
            nn.Linear(two * 16, three), nn.GELU(), nn.Linear(three, 10),
        )  # fmt: skip

    wide = edt.ModuleEnsemble([net(4, 5, 6)], input_shape=SHAPE)
    cut = partition_units(wide, 2)
    x, _ = images()
    found = edt.predict(cut.tickets.alone(), x)
    source = dict(wide.to_module(0).named_parameters())
    # arange(5) * 2 // 5: three units and two.
    for part, slices in enumerate(((slice(0, 2), slice(0, 3), slice(0, 3)),
                                   (slice(2, 4), slice(3, 5), slice(3, 6)))):  # fmt: skip
        one, two, three = slices
        small = net(2, 3 - part, 3).eval()
        flat = torch.arange(5 * 16).view(5, 16)[two].reshape(-1)
        given = {
            "0.weight": source["0.weight"][one], "0.bias": source["0.bias"][one],
            "4.weight": source["4.weight"][two][:, one], "4.bias": source["4.bias"][two],
            "7.weight": source["7.weight"][three][:, flat], "7.bias": source["7.bias"][three],
            "9.weight": source["9.weight"][:, three], "9.bias": source["9.bias"],
        }  # fmt: skip
        small.load_state_dict({**small.state_dict(), **given})
        # One rounding of float32 a product: sums of at most 80 terms of size one.
        torch.testing.assert_close(found[part], small(x).detach(), rtol=1e-5, atol=1e-5)
    assert cut.network.tolist() == [0, 0] and cut.part.tolist() == [0, 1]
    with pytest.raises(TypeError, match="partition_weights cuts any network"):
        partition_units(RESNET.start([0.25], [0]), 2)
    with pytest.raises(ValueError, match="parts must be at most 4"):
        partition_units(wide, 5)


def test_weights_are_dealt_out_once() -> None:
    for start in (RESNET.start([0.25, 0.5], [0]), edt.Ensemble.init([7], [0, 1], d_in=3, d_out=2)):
        cut = partition_weights(start, 3, seed=2, names=torch.tensor([4, 8]))
        at = membership(start)
        held = cut.tickets.keep.view(1, -1) if start.B == 1 else None
        assert held is None and cut.network.tolist() == [0, 0, 0, 1, 1, 1]
        for b in range(2):
            span = slice(int(start.offsets[b]), int(start.offsets[b + 1]))
            mine = torch.stack(
                [cut.tickets.keep[cut.tickets.start.positions([3 * b + k])] for k in range(3)]
            )
            weights = ~at.bias[span]
            assert bool((mine[:, weights].sum(0) == 1).all())
            assert bool(mine[:, ~weights].all())
            for layer in range(at.layers):
                sizes = mine[:, weights & (at.layer[span] == layer)].sum(1)
                assert int(sizes.max() - sizes.min()) <= 1
    one = partition_weights(start.select([1]), 3, seed=2, names=torch.tensor([8]))
    assert torch.equal(one.tickets.keep, mine.reshape(-1))
    with pytest.raises(ValueError, match="parts must be >= 2"):
        partition_weights(start, 1)
    with pytest.raises(ValueError, match="parts must be at most"):
        partition_weights(start, 99)


def test_neurons_are_those_of_chains() -> None:
    start = LENET.start([0.25], [0])
    with pytest.raises(TypeError, match="a ticket of neurons is defined for chains"):
        neuron_mask(start, torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match="a cut into neurons is defined for chains"):
        partition(start, 2, torch.zeros(1, dtype=torch.int64))  # type: ignore[arg-type]


def test_criteria_are_those_of_the_chain() -> None:
    """The same network in both forms: the same scores, and the same strong ticket."""

    def chain(width: int, seed: int) -> nn.Module:
        return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))

    made = edt.ModuleEnsemble.build(chain, [4, 6], [1], dtype=torch.float64)
    plain = edt.Ensemble.from_modules([made.to_module(b) for b in range(2)])
    x = torch.randn(17, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    task = edt.Task(x, torch.sin(x.sum(1, keepdim=True)))
    for criterion in (snip, grasp, obd):
        # Sums in another order than the kernels'.
        torch.testing.assert_close(criterion(task, made), criterion(task, plain),
                                   rtol=1e-9, atol=1e-12)  # fmt: skip
    strong = [edge_popup(task, networks, 0.5, steps=30) for networks in (made, plain)]
    assert torch.equal(strong[0].state, strong[1].state)
    assert bool((strong[0].state[strong[0].state != 0] == 2).all())


def test_criteria_of_a_convolutional_network() -> None:
    networks = LENET.start([0.2], [0], dtype=torch.float64)
    x, y = images()
    task = edt.ModuleTask((x.double(), y))
    exact = obd(task, networks)
    # Along one coordinate: a central difference of gradients, truncation 1e-8 and rounding 1e-11.
    for q in (3, 200, 700):
        step = torch.zeros_like(networks.theta)
        step[q] = 1e-4
        points = (networks.theta + step, networks.theta - step)
        slopes = [edt.loss_and_grad(task, networks, point)[1][q] for point in points]
        curvature = (slopes[0] - slopes[1]) / 2e-4
        wanted = 0.5 * curvature * networks.theta[q] ** 2
        torch.testing.assert_close(exact[q], wanted, rtol=1e-5, atol=1e-9)
    strong = edge_popup(task, networks, 0.5, steps=20, lr=1.0)
    buffers = networks.role_mask("buffer")
    kept = strong.masks & ~buffers
    assert torch.equal(strong.theta[kept], networks.theta[kept])
    scores = torch.rand(networks.total, generator=torch.Generator().manual_seed(1))
    random = networks.with_state(prune_lowest(networks, scores, 0.5))
    assert float(edt.loss(task, strong)) < float(edt.loss(task, random))
