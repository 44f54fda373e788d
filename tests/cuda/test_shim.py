"""The shim notices the mistakes it is there to notice."""

from __future__ import annotations

import math

import pytest
import torch


def test_divergent_barrier(shim):
    with pytest.raises(RuntimeError, match=r"divergence in block 0: threads 0\.\.15 at a barrier"):
        shim.half_a_barrier()


def test_divergent_shuffle(shim):
    with pytest.raises(RuntimeError, match="divergence"):
        shim.shuffle_of_some()
    with pytest.raises(RuntimeError, match="divergence"):
        shim.product_of_some()


@pytest.mark.parametrize("capability", [80, 90])
def test_a_product_of_the_tensor_cores(shim, capability):
    """Numbers lie where the PTX ISA puts them; whole ones, so that sums are exact."""
    shim.set_card(capability=capability)
    draw = torch.manual_seed(3)
    a, b, c = (
        torch.randint(-999, 999, shape, generator=draw).double()
        for shape in ((16, 4), (4, 8), (16, 8))
    )
    shim.tensor_products()
    found = shim.one_tile(*(x.flatten().tolist() for x in (a, b, c)))
    assert shim.tensor_products() == (2, 1 if capability == 90 else 2)
    assert torch.equal(torch.tensor(found).double().view(16, 8), a @ b + c)


def test_unwritten_shared_memory_is_nan(shim):
    assert math.isnan(shim.unwritten_memory())


def test_copies_nobody_waits_for(shim):
    assert shim.copy(True, True) == [2.0] * 32
    assert all(map(math.isnan, shim.copy(False, True)))
    with pytest.raises(RuntimeError, match="not aligned"):
        shim.copy(True, False)


def test_missing_barrier_shows_in_the_order_of_threads(shim):
    assert shim.race(True) == [42] * 32
    found = set()
    for order in ("forward", "backward"):
        shim.set_order(order, 0)
        assert shim.race(True) == [42] * 32
        found.add(tuple(shim.race(False)))
    assert len(found) == 2


def test_a_cluster_reads_its_blocks(shim):
    """A missing barrier shows where threads come in another order."""
    wanted = [
        sum(1000 * turn + 100 * (block ^ r) + (t ^ 1) for turn in (0, 1) for r in (0, 1))
        for block in range(4)
        for t in range(64)
    ]
    for order in ("forward", "backward", "shuffled"):
        shim.set_order(order, 3)
        assert shim.pair(0) == wanted
    for skip in (1, 2):
        found = set()
        for order in ("forward", "backward"):
            shim.set_order(order, 0)
            found.add(tuple(shim.pair(skip)))
        assert found != {tuple(wanted)}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("half", "divergence in block 0 and those of its cluster: .* at a barrier of the cluster"),
        ("wait", "waits at a barrier where it has not arrived"),
        ("beyond", "a place in no block of the cluster"),
    ],
)
def test_broken_cluster(shim, how, message):
    with pytest.raises(RuntimeError, match=message):
        shim.broken_cluster(how)


def test_works_after_a_divergence(shim):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="divergence"):
            shim.half_a_barrier()
        assert shim.race(True) == [42] * 32
