"""To and from torch.nn."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import edt
from edt.ensemble import ACTIVATIONS, Ensemble
from edt.ensemble.activations import activation_module, name_of
from edt.ops.activations import ACTIVATION_FUNCTIONS


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", [[3, 1], [(3, 2), (2, 4)], [(1, 2, 3), (2, 2, 2)]])
def test_round_trip(widths, bias):
    ens = Ensemble.init(widths, 1, d_in=2, d_out=2, bias=bias, activation="gelu", scheme="normal")
    modules = [ens.to_module(b) for b in range(2)]
    back = Ensemble.from_modules(modules, ids=ens.network_ids)
    assert torch.equal(back.theta, ens.theta)
    assert torch.equal(back.state, ens.state)
    assert torch.equal(back.layer_widths, ens.layer_widths)
    assert torch.equal(back.network_ids, ens.network_ids)
    assert (back.activation, back.has_bias, back.dtype) == ("gelu", bias, torch.float64)
    with torch.no_grad():
        modules[0][0].weight.zero_()
    assert ens.weight(0, 0).any()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_modules_compute_what_the_reference_says(name):
    """1e-15: the functions agree but for a few roundings.

    torch's gelu forms 1 + erf, which cancels for negative arguments: there its error is absolute.
    """
    module = activation_module(name)
    z = torch.linspace(-45.0, 45.0, 181, dtype=torch.float64)
    wanted = ACTIVATION_FUNCTIONS[name](z)
    atol = 1e-15 if name == "gelu" else 1e-300
    torch.testing.assert_close(module(z), wanted, rtol=1e-15, atol=atol)
    assert name_of(module) == name


def test_state_dict_loads_into_a_plain_sequential():
    ens = Ensemble.init([(3, 4)], 0, d_in=2, d_out=1)
    plain = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    plain.double().load_state_dict(ens.state_dict(0))
    x = torch.randn(5, 2, dtype=torch.float64)
    assert torch.equal(plain(x), ens.to_module(0)(x))


def test_masks_travel_as_torch_prune():
    ens = Ensemble.init([5, 3], 0, d_in=4, d_out=1, sparsity=0.5).with_masks(
        Ensemble.init([5, 3], 0, d_in=4, d_out=1, sparsity=0.5).masks
    )
    state = ens.state.clone()
    ens.layout.bias(state, 0, 0)[2] = 0
    ens = ens.with_state(state)
    modules = [ens.to_module(b) for b in range(2)]
    assert prune.is_pruned(modules[0])
    assert modules[0][0].bias_mask.tolist() == [1, 1, 0, 1, 1]
    back = Ensemble.from_modules(modules)
    assert torch.equal(back.state, ens.state)
    assert torch.equal(back.theta, ens.theta)
    # Training the module keeps the pruned weights at zero.
    modules[0](torch.ones(1, 4, dtype=torch.float64)).sum().backward()
    torch.optim.SGD(modules[0].parameters(), lr=0.1).step()
    trained = Ensemble.from_modules(modules)
    assert not trained.theta[ens.state == 0].any()
    assert not torch.equal(trained.theta, ens.theta)


def test_frozen_tensors_travel_as_requires_grad():
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    module[0].weight.requires_grad_(False)
    ens = Ensemble.from_modules([module])
    assert ens.coords.tolist() == [7]
    assert ens.dtype == torch.float32
    again = ens.to_module(0)
    assert [p.requires_grad for p in again.parameters()] == [False, True, True, True]
    assert torch.equal(Ensemble.from_modules([again]).state, ens.state)


def test_missing_bias_beside_others_is_pruned():
    modules = [
        nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1)),
        nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)),
    ]
    ens = Ensemble.from_modules(modules)
    assert ens.has_bias
    assert not ens.bias_mask(0, 0).any()
    assert ens.bias_mask(1, 0).all()
    x = torch.randn(4, 2)
    assert torch.equal(ens.to_module(0)(x), modules[0](x))


def test_nested_and_linear_modules():
    module = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.Identity()), nn.Linear(3, 1))
    assert Ensemble.from_modules([module]).activation == "identity"
    bare = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert Ensemble.from_modules([bare]).activation == "identity"


def mlp(*parts):
    return nn.Sequential(*parts)


BAD = [
    ([], ValueError, "at least one module"),
    (nn.Linear(2, 3), TypeError, "list of torch.nn.Module"),
    (3, TypeError, "list of torch.nn.Module"),
    ([torch.relu], TypeError, r"modules\[0\]"),
    ([mlp()], ValueError, "nothing"),
    ([nn.Linear(2, 3)], ValueError, "at least one hidden layer"),
    ([mlp(nn.ReLU(), nn.Linear(2, 3), nn.Linear(3, 1))], ValueError, "ReLU, Linear"),
    ([mlp(nn.Linear(2, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 1))], ValueError, "Dropout"),
    ([mlp(nn.Linear(2, 3), nn.Dropout(), nn.Linear(3, 1))], ValueError, "Dropout"),
    ([mlp(nn.Linear(2, 3), nn.ReLU(), nn.Linear(4, 1))], ValueError, "feeds"),
    ([mlp(nn.Linear(2, 3), nn.LeakyReLU(0.2), nn.Linear(3, 1))], ValueError, "negative_slope"),
    ([mlp(nn.Linear(2, 3), nn.Softplus(beta=2), nn.Linear(3, 1))], ValueError, "beta"),
    ([mlp(nn.Linear(2, 3), nn.GELU("tanh"), nn.Linear(3, 1))], ValueError, "exact"),
    ([mlp(nn.Linear(2, 3), nn.ELU(2.0), nn.Linear(3, 1))], ValueError, "alpha"),
    (
        [mlp(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))],
        ValueError,
        "same activation",
    ),
    (
        [mlp(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1).double())],
        ValueError,
        "one dtype",
    ),
    (
        [
            mlp(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)),
            mlp(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)),
        ],
        ValueError,
        r"activation: modules\[0\] has relu, modules\[1\] has tanh",
    ),
    (
        [
            mlp(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)),
            mlp(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)),
        ],
        ValueError,
        "input size",
    ),
    ([mlp(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).half()], TypeError, "float16"),
]


@pytest.mark.parametrize("modules, kind, says", BAD)
def test_from_modules_refuses(modules, kind, says):
    with pytest.raises(kind, match=says):
        Ensemble.from_modules(modules)


@pytest.mark.parametrize(
    "module",
    [
        nn.Bilinear(2, 2, 1),
        mlp(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1)),
        mlp(nn.Linear(2, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 1)),
        mlp(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)),
        mlp(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)),
    ],
    ids=lambda module: type(module[0] if isinstance(module, nn.Sequential) else module).__name__,
)
def test_what_is_no_chain_is_told_where_it_goes(module):
    with pytest.raises(ValueError, match=r"modules\[0\].*edt\.ModuleEnsemble holds any module"):
        Ensemble.from_modules([module])


class Skipping(nn.Sequential):
    """A chain by its parts, not by what it computes."""

    def forward(self, x):
        return self[2](self[1](self[0](x))) + x[:, :1]


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def chain():
    return mlp(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def hooked(register):
    module = chain()
    getattr(module[0], register)(lambda *arguments: None)
    return module


def normed(function):
    module = chain()
    function(module[0])
    return module


def patched():
    module = chain()
    module[0].forward = lambda x: torch.zeros(x.shape[0], 3)
    return module


def shared():
    layer = nn.Linear(2, 2)
    return mlp(layer, nn.ReLU(), layer)


MISREAD = [
    (Skipping(*chain()), r"modules\[0\] is a Sequential with a forward of its own \(Skipping\)"),
    (mlp(mlp(Doubled(2, 3)), nn.ReLU(), nn.Linear(3, 1)), r"modules\[0\]\.0\.0 is a Linear"),
    (patched(), r"modules\[0\]\.0 is a Linear with a forward of its own"),
    (shared(), r"modules\[0\]\.2\.weight is modules\[0\]\.0\.weight once more"),
    (normed(torch.nn.utils.parametrizations.weight_norm), r"modules\[0\]\.0 has parametrised"),
    (normed(torch.nn.utils.parametrizations.spectral_norm), "parametrised"),
    *((hooked(name), r"modules\[0\]\.0 has a hook") for name in (
        "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
        "register_full_backward_pre_hook",
    )),
]  # fmt: skip


@pytest.mark.parametrize("module, says", MISREAD)
def test_what_would_be_misread_is_refused_and_held_by_module_ensembles(module, says):
    with pytest.raises(ValueError, match=says + r"(.|\n)*edt\.ModuleEnsemble holds any module"):
        Ensemble.from_modules([module])
    x = torch.randn(5, 2)
    held = edt.ModuleEnsemble([module])
    module.eval()
    assert torch.equal(held.to_module(0)(x), module(x))


@pytest.mark.parametrize("ran", [False, True])
@pytest.mark.parametrize("copying", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_pruned_modules_can_be_copied(copying, ran):
    ens = Ensemble.init([4], 3, d_in=2, d_out=1, sparsity=0.5)
    module, x = ens.to_module(0), torch.ones(3, 2, dtype=torch.float64)
    if ran and copying is not copy.deepcopy:
        return  # what torch itself does
    wanted = module(x) if ran else ens.to_module(0)(x)
    other = copying(module)
    assert torch.equal(other(x), wanted) and torch.equal(module(x), wanted)
    assert repr(other).startswith("Sequential(")
    with torch.no_grad():
        other[0].weight_orig.zero_()
    assert not torch.equal(other(x), wanted) and torch.equal(module(x), wanted)
    back = Ensemble.from_modules([copying(ens.to_module(0))], ids=ens.network_ids)
    assert torch.equal(back.state, ens.state) and torch.equal(back.theta, ens.theta)
    other(x).sum().backward()
    assert other[0].weight_orig.grad is not None


def test_state_dicts_load_into_pruned_modules_and_out_of_them():
    ens = Ensemble.init([4], 3, d_in=2, d_out=1, sparsity=0.5)
    dense = Ensemble.init([4], 5, d_in=2, d_out=1)
    x = torch.ones(3, 2, dtype=torch.float64)
    target = dense.with_masks(ens.masks).to_module(0)
    target.load_state_dict(ens.state_dict(0))
    assert torch.equal(target(x), ens.to_module(0)(x))
    assert torch.equal(target[0].weight, ens.weight(0, 0))
    # Values of pruned weights do not come back.
    target.load_state_dict(dense.state_dict(0))
    assert torch.equal(target(x), dense.with_masks(ens.masks).to_module(0)(x))
    for receiver in (dense.to_module(0), target):
        receiver.load_state_dict(ens.to_module(0).state_dict())
        assert torch.equal(receiver(x), ens.to_module(0)(x))
    with pytest.raises(RuntimeError, match="Missing key"):
        target.load_state_dict({})
