"""The ragged container: layout, parts, variants and what they share."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from edt.ensemble import Ensemble

WIDTHS = {1: [3, 1, 5], 2: [(3, 2), (1, 4), (5, 5)], 3: [(3, 2, 4), (1, 1, 1), (2, 5, 3)]}


def numbered(depth=1, bias=True, **more):
    """Parameters 1, 2, 3, ... in flat order."""
    plain = Ensemble(WIDTHS[depth], 2, 3, bias=bias, **more)
    theta = torch.arange(1, plain.total + 1, dtype=plain.dtype)
    return Ensemble(WIDTHS[depth], 2, 3, bias=bias, theta=theta, **more)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_layout_is_network_after_network_weight_then_bias(depth, bias):
    ens = numbered(depth, bias)
    at = 0
    for b in range(len(ens)):
        assert ens.offsets[b] == at
        row = ens.layer_widths[b].tolist()
        hidden = WIDTHS[depth][b]
        assert row == [2, *(hidden if isinstance(hidden, tuple) else [hidden]), 3]
        for layer in range(depth + 1):
            fan_in, fan_out = row[layer], row[layer + 1]
            weight = ens.weight(b, layer)
            assert weight.shape == (fan_out, fan_in)
            assert weight.flatten().tolist() == list(range(at + 1, at + fan_in * fan_out + 1))
            at += fan_in * fan_out
            if bias:
                assert ens.bias(b, layer).tolist() == list(range(at + 1, at + fan_out + 1))
                at += fan_out
    assert ens.offsets[-1] == at == ens.total == ens.theta.numel()
    assert ens.coords.tolist() == (ens.offsets[1:] - ens.offsets[:-1]).tolist()


def test_defaults_and_attributes():
    ens = Ensemble([2, 3], 4, 1)
    assert (ens.B, ens.depth, ens.d_in, ens.d_out, ens.total) == (2, 1, 4, 1, 13 + 19)
    assert (ens.activation, ens.has_bias, ens.dtype) == ("tanh", True, torch.float64)
    assert not ens.theta.any()
    assert ens.state.dtype == torch.uint8
    assert (ens.state == 1).all()
    assert ens.network_ids.tolist() == [0, 1]
    for tensor in (ens.offsets, ens.coords, ens.layer_widths, ens.network_ids):
        assert tensor.dtype == torch.int64


def test_repr():
    ens = Ensemble([2, 3], 4, 1)
    assert repr(ens) == (
        "Ensemble(2 networks, 4 -> {2, 3} -> 1, tanh, biases, float64, 32 parameters)"
    )
    state = ens.state.clone()
    state[:8], state[8:16] = 0, 2
    assert repr(ens.with_state(state)).endswith("32 parameters, 25.0% pruned, 25.0% frozen)")
    many = repr(Ensemble(range(1, 20), 4, 1, bias=False, dtype=torch.float32))
    assert "{1, 2, ..., 19}" in many
    assert "no biases, float32" in many
    assert repr(Ensemble([(2, 3)], 4, 1)).startswith("Ensemble(1 network, 4 -> 2 -> 3 -> 1,")


def test_parts_are_views():
    ens = numbered()
    ens.weight(1, 0)[0, 1] = -7.0
    ens.bias(2, -1)[2] = -8.0
    assert ens.theta[int(ens.offsets[1]) + 1] == -7.0
    assert ens.theta[-1] == -8.0


def test_ensemble_owns_its_tensors():
    theta, state = torch.ones(13, dtype=torch.float64), torch.ones(13, dtype=torch.uint8)
    ens = Ensemble([2], 4, 1, theta=theta, state=state)
    other = ens.with_theta(theta)
    theta.zero_()
    state.zero_()
    assert (ens.theta == 1).all()
    assert (other.theta == 1).all()
    assert (ens.state == 1).all()


def test_pruned_parameters_are_zero_whatever_is_given():
    state = torch.tensor([0, 1, 2, 0, 1, 1, 1], dtype=torch.uint8)
    theta = torch.full((7,), 5.0, dtype=torch.float64)
    theta[3] = float("nan")
    for ens in (
        Ensemble([2], 1, 1, theta=theta, state=state),
        Ensemble([2], 1, 1).with_state(state).with_theta(theta),
        Ensemble([2], 1, 1, theta=theta).with_state(state),
    ):
        assert ens.theta.tolist() == [0, 5, 5, 0, 5, 5, 5]
        assert ens.masks.tolist() == [False, True, True, False, True, True, True]
        assert ens.frozen.tolist() == [False, False, True] + 4 * [False]
        assert ens.coords.tolist() == [4]
        assert ens.weight_mask(0, 0).tolist() == [[False], [True]]
        assert ens.bias_mask(0, 0).tolist() == [True, False]


def test_diverged_parameters_are_kept():
    theta = torch.tensor([1.0, float("nan"), float("inf"), 1e300], dtype=torch.float64)
    ens = Ensemble([1], 1, 1, theta=theta)
    assert torch.equal(ens.theta.nan_to_num(7), theta.nan_to_num(7))


def test_select_and_network():
    ens = numbered(2).with_frozen(torch.arange(numbered(2).total) % 5 == 0)
    chosen = ens.select([2, 0, 2])
    for place, b in enumerate([2, 0, 2]):
        alone = ens.network(b)
        assert torch.equal(alone.theta, ens.theta[ens.offsets[b] : ens.offsets[b + 1]])
        assert torch.equal(alone.state, ens.state[ens.offsets[b] : ens.offsets[b + 1]])
        assert torch.equal(alone.theta, chosen.network(place).theta)
        assert torch.equal(alone.layer_widths[0], ens.layer_widths[b])
    assert chosen.network_ids.tolist() == [2, 0, 2]
    assert torch.equal(ens.network(-1).theta, ens.network(2).theta)
    picked = ens.select(torch.tensor([False, True, True]))
    assert picked.layer_widths.tolist() == ens.layer_widths[1:].tolist()
    chosen.theta.zero_()
    assert ens.theta.all()


def test_indexing_is_network_and_select():
    ens = numbered()
    for part, same in (
        (ens[-1], ens.network(2)),
        (ens[1:], ens.select([1, 2])),
        (ens[::-1], ens.select([2, 1, 0])),
        (ens[[0, 2]], ens.select([0, 2])),
        (ens[torch.tensor([False, True, True])], ens.select([1, 2])),
    ):
        assert torch.equal(part.theta, same.theta)
        assert torch.equal(part.layer_widths, same.layer_widths)
    assert [one.theta.tolist() for one in ens] == [ens.network(b).theta.tolist() for b in range(3)]
    with pytest.raises(IndexError, match="network"):
        ens[3]
    with pytest.raises(ValueError, match="at least one"):
        ens[3:]
    for wrong in (True, "0", None, 1.0):
        with pytest.raises(TypeError):
            ens[wrong]


def test_concat_inverts_select():
    ens = numbered(3, ids=[5, 6, 5])
    back = Ensemble.concat([ens.network(b) for b in range(3)])
    assert torch.equal(back.theta, ens.theta)
    assert torch.equal(back.offsets, ens.offsets)
    assert torch.equal(back.layer_widths, ens.layer_widths)
    assert back.network_ids.tolist() == [5, 6, 5]


def test_variants_of_the_state():
    ens = numbered()
    first = ens.with_masks(torch.arange(ens.total) % 2 == 0).with_frozen(
        torch.arange(ens.total) % 4 < 2
    )
    # Frozen only where not pruned.
    assert first.state[:4].tolist() == [2, 0, 1, 0]
    # A mask that keeps a frozen parameter leaves it frozen; a revived one is trainable, at zero.
    second = first.with_masks(torch.ones(ens.total))
    assert second.state[:4].tolist() == [2, 1, 1, 1]
    assert second.theta[:4].tolist() == [1, 0, 3, 0]
    assert second.with_frozen(torch.zeros(ens.total, dtype=torch.bool)).state.min() == 1


def test_nested_masks():
    ens = numbered()
    masks = [
        [torch.ones(h, 2, dtype=torch.bool), (torch.ones(3, h), torch.tensor([1, 0, 1]))]
        for h in WIDTHS[1]
    ]
    masks[0][0][1, 1] = False
    masks[1][0] = None
    masked = ens.with_masks(masks)
    assert masked.weight_mask(0, 0).tolist() == [[True, True], [True, False], [True, True]]
    assert all(masked.bias_mask(b, 1).tolist() == [True, False, True] for b in range(3))
    assert int((masked.state == 0).sum()) == 4
    assert masked.weight(0, 0)[1, 1] == 0
    frozen = ens.with_frozen([[torch.ones(h, 2), None] for h in WIDTHS[1]])
    assert frozen.coords.tolist() == [h + 3 * h + 3 for h in WIDTHS[1]]


def test_to_dtype():
    ens = numbered()
    assert ens.to(torch.float64) is ens
    low = ens.to(torch.float32)
    assert low.dtype == torch.float32
    assert torch.equal(low.to(torch.float64).theta, ens.theta)


def test_with_theta_keeps_the_graph():
    ens = numbered()
    ens = ens.with_masks(torch.arange(ens.total) % 2)
    theta = ens.theta.clone().requires_grad_(True)
    ens.with_theta(theta).theta.sum().backward()
    assert torch.equal(theta.grad, (ens.state == 1).double())


@pytest.mark.parametrize("name", ["state", "layer_widths", "offsets", "coords", "network_ids"])
def test_structure_changed_in_place_is_refused(name):
    """It is shared by relatives, and everything is made from it."""
    ens = numbered()
    relative = ens.with_theta(ens.theta)
    getattr(ens, name)[0] += 1
    for other in (ens, relative):
        for use in (lambda e: e.coords, lambda e: e.select([0]), lambda e: e.B, pickle.dumps):
            with pytest.raises(RuntimeError, match=r"changed in place.*with_state"):
                use(other)


def test_structure_of_inference_mode_is_watched_too():
    with torch.inference_mode():
        ens = numbered()
        ens.state[0] = 0
        with pytest.raises(RuntimeError, match="changed in place"):
            ens.coords  # noqa: B018


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_have_a_structure_of_their_own(duplicate):
    ens = numbered()
    other = duplicate(ens)
    assert torch.equal(other.theta, ens.theta)
    assert other.state is not ens.state
    ens.state[0] = 0
    assert other.coords.sum() == other.total
