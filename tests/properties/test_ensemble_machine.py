"""Ensembles under any sequence of operations, against a plain dictionary of arrays per network."""

from __future__ import annotations

import copy
import pickle
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

import edt

PRUNED, TRAINABLE, FROZEN = 0, 1, 2
D_IN, D_OUT = 2, 1
#: More than this many ensembles at once are not looked after.
MOST = 8

WIDTHS = {
    1: st.lists(st.integers(1, 4), min_size=1, max_size=3),
    2: st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3),
}
SEEDS = st.integers(0, 2**16)


class Net:
    """A network as arrays: for each layer a weight, perhaps a bias, and their states."""

    def __init__(self, name, layers):
        self.name = name
        self.layers = layers

    @classmethod
    def draw(cls, rng, widths, bias, dtype, name):
        """Random values and states; half of the networks are dense."""
        dense = rng.random() < 0.5
        layers = []
        for fan_in, fan_out in pairwise((D_IN, *widths, D_OUT)):
            layer = {}
            for key, shape in (("weight", (fan_out, fan_in)), ("bias", (fan_out,))):
                if key == "weight" or bias:
                    states = np.where(rng.random(shape) < 0.7, TRAINABLE, rng.integers(0, 3, shape))
                    layer[f"{key} state"] = np.ones_like(states) if dense else states
                    layer[key] = rng.standard_normal(shape).astype(dtype)
            layers.append(layer)
        return cls(name, layers)

    @property
    def widths(self):
        return tuple(layer["weight"].shape[0] for layer in self.layers[:-1])

    @property
    def bias(self):
        return "bias" in self.layers[0]

    @property
    def dtype(self):
        return self.layers[0]["weight"].dtype

    @property
    def kind(self):
        """What networks of one ensemble share."""
        return len(self.layers), self.bias, self.dtype

    def arrays(self, suffix=""):
        """In the order of the flat vector."""
        keys = ("weight", "bias") if self.bias else ("weight",)
        return [layer[key + suffix] for layer in self.layers for key in keys]

    def changed(self, change):
        """A copy with ``change(values, states)`` applied to every pair of arrays."""
        layers = []
        for old in self.layers:
            layer = {}
            for key in ("weight", "bias") if self.bias else ("weight",):
                values, states = change(old[key], old[f"{key} state"])
                # Pruned means exactly 0.
                layer[key] = np.where(states == PRUNED, 0.0, values).astype(values.dtype)
                layer[f"{key} state"] = states
            layers.append(layer)
        return Net(self.name, layers)

    def outputs(self, x):
        for k, layer in enumerate(self.layers):
            x = (np.tanh(x) if k else x) @ layer["weight"].T + layer.get("bias", 0.0)
        return x


def flat(nets, suffix=""):
    return np.concatenate([a.reshape(-1) for net in nets for a in net.arrays(suffix)])


def cut(nets, values):
    """A flat vector cut into the pieces that `Net.changed` meets, in its order."""
    pieces, at = [], 0
    for net in nets:
        for array in net.arrays():
            pieces.append(values[at : at + array.size].reshape(array.shape))
            at += array.size
    return iter(pieces)


class EnsembleMachine(RuleBasedStateMachine):
    """Each held ensemble is a pair (ensemble, list of Net)."""

    held = Bundle("held")

    def __init__(self):
        super().__init__()
        self.pairs = []
        self.names = 0
        self.folder = Path(tempfile.mkdtemp(prefix="edt-machine-"))

    def teardown(self):
        shutil.rmtree(self.folder)

    def keep(self, ens, nets):
        if len(self.pairs) >= MOST:
            return multiple()
        self.pairs.append((ens, list(nets)))
        return self.pairs[-1]

    def rng(self, seed):
        return np.random.default_rng(seed)

    @rule(
        target=held,
        widths=st.one_of(*WIDTHS.values()),
        bias=st.booleans(),
        dtype=st.sampled_from([np.float32, np.float64]),
        seed=SEEDS,
    )
    def construct(self, widths, bias, dtype, seed):
        rng = self.rng(seed)
        nets = []
        for entry in widths:
            hidden = entry if isinstance(entry, tuple) else (entry,)
            nets.append(Net.draw(rng, hidden, bias, dtype, self.names))
            self.names += 1
        theta = flat(nets)
        ens = edt.Ensemble(
            widths, D_IN, D_OUT, bias=bias, theta=torch.from_numpy(theta),
            state=flat(nets, " state"), ids=[net.name for net in nets],
        )  # fmt: skip
        theta[:] = np.nan  # the ensemble has its own copy
        return self.keep(
            ens, [net.changed(lambda values, states: (values, states)) for net in nets]
        )

    @rule(target=held, pair=held, data=st.data())
    def select(self, pair, data):
        ens, nets = pair
        chosen = data.draw(st.lists(st.integers(-len(nets), len(nets) - 1), min_size=1, max_size=4))
        return self.keep(ens.select(chosen), [nets[b] for b in chosen])

    @rule(target=held, pair=held, data=st.data())
    def select_by_mask(self, pair, data):
        ens, nets = pair
        size = {"min_size": len(nets), "max_size": len(nets)}
        mask = data.draw(st.lists(st.booleans(), **size).filter(any))
        chosen = [net for net, wanted in zip(nets, mask, strict=True) if wanted]
        return self.keep(ens.select(mask), chosen)

    @rule(target=held, pair=held, data=st.data())
    def one_network(self, pair, data):
        ens, nets = pair
        b = data.draw(st.integers(0, len(nets) - 1))
        return self.keep(ens.network(b), [nets[b]])

    @rule(target=held, first=held, second=held)
    def concatenate(self, first, second):
        if first[1][0].kind != second[1][0].kind or len(first[1]) + len(second[1]) > 8:
            return multiple()
        return self.keep(edt.Ensemble.concat([first[0], second[0]]), first[1] + second[1])

    @rule(target=held, pair=held, seed=SEEDS, nested=st.booleans())
    def with_masks(self, pair, seed, nested):
        ens, nets = pair
        keep = self.rng(seed).random(ens.total) < 0.7
        masks = torch.from_numpy(keep)
        if nested:
            masks = [
                [
                    (ens.layout.weight(masks, b, k), ens.layout.bias(masks, b, k))
                    if ens.has_bias
                    else ens.layout.weight(masks, b, k)
                    for k in range(ens.depth + 1)
                ]
                for b in range(ens.B)
            ]
        pieces = cut(nets, keep)

        def change(values, states):
            revived = np.where(states == PRUNED, TRAINABLE, states)
            return values, np.where(next(pieces), revived, PRUNED)

        return self.keep(ens.with_masks(masks), [net.changed(change) for net in nets])

    @rule(target=held, pair=held, seed=SEEDS)
    def with_frozen(self, pair, seed):
        ens, nets = pair
        frozen = self.rng(seed).random(ens.total) < 0.3
        pieces = cut(nets, frozen)

        def change(values, states):
            free = np.where(states == FROZEN, TRAINABLE, states)
            return values, np.where(next(pieces) & (free == TRAINABLE), FROZEN, free)

        return self.keep(ens.with_frozen(frozen), [net.changed(change) for net in nets])

    @rule(target=held, pair=held, seed=SEEDS)
    def with_state(self, pair, seed):
        ens, nets = pair
        state = self.rng(seed).integers(0, 3, ens.total)
        pieces = cut(nets, state)
        new = [net.changed(lambda values, states: (values, next(pieces))) for net in nets]
        return self.keep(ens.with_state(torch.from_numpy(state)), new)

    @rule(target=held, pair=held, seed=SEEDS)
    def with_theta(self, pair, seed):
        ens, nets = pair
        theta = self.rng(seed).standard_normal(ens.total).astype(nets[0].dtype)
        pieces = cut(nets, theta.copy())
        new = [net.changed(lambda values, states: (next(pieces), states)) for net in nets]
        made = ens.with_theta(torch.from_numpy(theta))
        theta[:] = np.nan
        return self.keep(made, new)

    @rule(target=held, pair=held, seed=SEEDS, sparsity=st.sampled_from([0.0, 0.3, 0.9]))
    def with_sparsity(self, pair, seed, sparsity):
        """Which weights go is random; how many, and what happens to the rest, is not."""
        ens, nets = pair
        made = ens.with_sparsity(sparsity, seed)
        pieces = cut(nets, made.masks.numpy())

        def change(values, states):
            keep = next(pieces)
            count = round(sparsity * values.size) if values.ndim == 2 else 0
            assert (~keep).sum() == min(count, values.size - 1)
            revived = np.where(states == PRUNED, TRAINABLE, states)
            return values, np.where(keep, revived, PRUNED)

        return self.keep(made, [net.changed(change) for net in nets])

    @rule(target=held, pair=held, dtype=st.sampled_from([np.float32, np.float64]))
    def to(self, pair, dtype):
        ens, nets = pair
        made = ens.to(torch.float32 if dtype == np.float32 else torch.float64)
        if dtype == nets[0].dtype:
            assert made is ens
            return multiple()
        new = [net.changed(lambda values, states: (values.astype(dtype), states)) for net in nets]
        return self.keep(made, new)

    @rule(target=held, pair=held, how=st.sampled_from(["file", "pickle", "deepcopy"]))
    def store(self, pair, how):
        ens, nets = pair
        if how == "file":
            ens.save(self.folder / "ensemble.safetensors")
            made = edt.Ensemble.load(self.folder / "ensemble.safetensors")
        else:
            made = pickle.loads(pickle.dumps(ens)) if how == "pickle" else copy.deepcopy(ens)
        return self.keep(made, nets)

    @rule(target=held, pair=held)
    def through_modules(self, pair):
        """Freezing comes back only for tensors all of whose unpruned entries are frozen."""
        ens, nets = pair
        modules = [ens.to_module(b) for b in range(ens.B)]
        made = edt.Ensemble.from_modules(modules, ids=ens.network_ids)

        def change(values, states):
            loose = (states == TRAINABLE).any()
            return values, np.where((states == FROZEN) & loose, TRAINABLE, states)

        return self.keep(made, [net.changed(change) for net in nets])

    @rule(pair=held, seed=SEEDS)
    def change_in_place(self, pair, seed):
        """Parameters may be written to; no other ensemble notices."""
        ens, nets = pair
        b = int(self.rng(seed).integers(len(nets)))
        layer = int(self.rng(seed).integers(ens.depth + 1))
        ens.weight(b, layer).mul_(2.0)

        def doubled(net):
            new = net.changed(lambda values, states: (values, states))
            new.layers[layer]["weight"] = 2 * new.layers[layer]["weight"]
            return new

        nets[b] = doubled(nets[b])

    @rule(pair=held, seed=SEEDS)
    def predict(self, pair, seed):
        ens, nets = pair
        x = self.rng(seed).standard_normal((3, D_IN)).astype(nets[0].dtype)
        found = edt.predict(ens, edt.Task(x, np.zeros((3, D_OUT), dtype=x.dtype))).numpy()
        # Some twenty operations, each rounded to the dtype, on values of size below ten.
        close = 1e-4 if x.dtype == np.float32 else 1e-12
        for b, net in enumerate(nets):
            size = 1.0 + np.abs(net.outputs(x)).max() + sum(np.abs(a).sum() for a in net.arrays())
            assert np.abs(found[b] - net.outputs(x)).max() <= close * size

    @rule(target=held, pair=held)
    def train(self, pair):
        """Three steps of training move trainable parameters and no others."""
        ens, nets = pair
        x = np.linspace(-1, 1, 8, dtype=nets[0].dtype).reshape(4, D_IN)
        made = edt.masked_train((x, x[:, :1] ** 2), ens, steps=3, lr=0.01, progress=False).networks
        pieces = cut(nets, made.theta.numpy().copy())

        def change(values, states):
            new = next(pieces)
            assert (new[states != TRAINABLE] == values[states != TRAINABLE]).all()
            return new, states

        return self.keep(made, [net.changed(change) for net in nets])

    @invariant()
    def all_agree(self):
        """Every ensemble that was ever made still holds what its arrays hold, bit for bit."""
        for ens, nets in self.pairs:
            assert [tuple(row[1:-1]) for row in ens.layer_widths.tolist()] == [
                net.widths for net in nets
            ]
            assert ens.network_ids.tolist() == [net.name for net in nets]
            state = flat(nets, " state")
            assert (ens.state.numpy() == state).all()
            assert ens.theta.numpy().dtype == nets[0].dtype
            assert (ens.theta.numpy() == flat(nets)).all()
            assert (ens.masks.numpy() == (state != PRUNED)).all()
            assert (ens.frozen.numpy() == (state == FROZEN)).all()
            for b, net in enumerate(nets):
                size = sum(a.size for a in net.arrays())
                assert int(ens.offsets[b + 1] - ens.offsets[b]) == size
                free = sum((a == TRAINABLE).sum() for a in net.arrays(" state"))
                assert int(ens.coords[b]) == free
                for k, layer in enumerate(net.layers):
                    assert (ens.weight(b, k).numpy() == layer["weight"]).all()
                    if net.bias:
                        assert (ens.bias(b, k).numpy() == layer["bias"]).all()


TestEnsembles = EnsembleMachine.TestCase
TestEnsembles.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
