"""Module networks as a container: what is read, kept, chosen, written."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from edt import nets
from edt.ensemble.module_ensemble import ModuleEnsemble
from edt.errors import ShapeError
from edt.files import CheckpointError

BUILDER = partial(nets.resnet20, shape=(1, 8, 8), blocks=1)


def _networks() -> ModuleEnsemble:
    return ModuleEnsemble.build(BUILDER, [0.25, 0.5], range(2))


def test_networks_depend_on_width_and_seed_only() -> None:
    torch.manual_seed(11)
    first = _networks()
    rest = torch.randn(3)
    torch.manual_seed(11)
    again = ModuleEnsemble.build(BUILDER, [0.5], [1])
    assert torch.equal(torch.randn(3), rest)
    assert torch.equal(first.network(3).theta, again.theta)
    assert first.labels == [0.25, 0.25, 0.5, 0.5]
    assert [members.tolist() for _, members in first.groups()] == [[0, 1], [2, 3]]


def test_modules_come_back_as_they_were() -> None:
    x = torch.randn(4, 1, 8, 8)
    module = BUILDER(0.5, 3)
    module.train()(x)  # running statistics move
    networks = ModuleEnsemble([module])
    back = networks.to_module(0)
    assert torch.equal(back(x), module.eval()(x))
    assert not any(name.endswith("_orig") for name, _ in back.named_parameters())
    mine = dict(module.named_buffers())
    assert all(torch.equal(value, mine[name]) for name, value in back.named_buffers())
    assert not torch.equal(networks.parameter(0, "1.running_mean"), torch.zeros(8))


def test_masks_and_frozen_parameters_are_read_and_written() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    module[2].bias.requires_grad_(False)
    prune.l1_unstructured(module[0], "weight", amount=0.5)
    networks = ModuleEnsemble([module, nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))])
    assert len(networks.groups()) == 1
    assert networks.coords.tolist() == [26 - 6 - 2, 26]
    x = torch.randn(5, 3)
    back = networks.to_module(0)
    assert torch.equal(copy.deepcopy(back)(x), module(x))
    assert torch.equal(back(x), module(x))
    assert not back[2].bias.requires_grad
    anew = networks.with_masks(networks.role_mask("bias"))
    assert bool((anew.theta[~networks.role_mask("bias")] == 0).all())


def test_tied_parameters_have_one_place() -> None:
    module = nets.transformer(0.5, 0)
    networks = ModuleEnsemble([module])
    names = [block.name for block in networks.blocks(0)]
    assert "embed.weight" in names and "readout.weight" not in names
    assert networks.total == sum(p.numel() for p in module.parameters())
    back = networks.with_theta(networks.theta * 2).to_module(0)
    assert back.readout.weight is back.embed.weight


def test_unlike_modules_are_not_put_together() -> None:
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.a, self.factor = nn.Linear(2, 2), factor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.factor * self.a(x)

    networks = ModuleEnsemble([Scaled(1.0), Scaled(2.0), Scaled(1.0)])
    assert [members.tolist() for _, members in networks.groups()] == [[0, 2], [1]]
    slopes = [nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(slope)) for slope in (0.1, 0.2)]
    assert len(ModuleEnsemble(slopes).groups()) == 2
    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda module, args, out: 2 * out)
    assert len(ModuleEnsemble([nn.Linear(2, 2), hooked]).groups()) == 2


def test_select_concat_and_files(tmp_path: Path) -> None:
    networks = _networks()
    chosen = networks[[3, 0, 3]]
    assert torch.equal(chosen.network(2).theta, networks.network(3).theta)
    assert torch.equal(ModuleEnsemble.concat([networks[:2], networks[2:]]).theta, networks.theta)
    assert len(ModuleEnsemble.concat([networks, _networks()]).groups()) == 2
    path = tmp_path / "networks.safetensors"
    networks.save(path)
    read = ModuleEnsemble.load(path, [BUILDER(0.5), BUILDER(0.25)])
    assert torch.equal(read.theta, networks.theta) and torch.equal(read.state, networks.state)
    assert read.labels == networks.labels
    with pytest.raises(CheckpointError, match="network 2 has parameters of other names"):
        ModuleEnsemble.load(path, [BUILDER(0.25)])


def test_parametrised_modules_are_what_they_compute() -> None:
    module = torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    x = torch.randn(4, 3)
    assert torch.equal(ModuleEnsemble([module]).to_module(0)(x), module(x))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: ModuleEnsemble(nn.Linear(2, 2)), TypeError, "modules must be a list"),
        (lambda: ModuleEnsemble([]), ValueError, "at least one module"),
        (lambda: ModuleEnsemble([nn.ReLU()]), ValueError, "must have parameters"),
        (lambda: ModuleEnsemble([nn.LazyLinear(2)]), TypeError, "is lazy"),
        (lambda: ModuleEnsemble([nn.Linear(2, 2).half()]), TypeError, "float32 or float64"),
        (
            lambda: ModuleEnsemble([nn.Linear(2, 2), nn.Linear(2, 2).double()]),
            ValueError,
            "one dtype and device",
        ),
        (lambda: _networks().with_theta(torch.zeros(3)), ShapeError, "theta must have shape"),
        (lambda: _networks().parameter(0, "nothing"), KeyError, "has no tensor 'nothing'"),
        (lambda: ModuleEnsemble.build(lambda w, s: 3, [1]), TypeError, "builder must return"),
        (lambda: nets.lenet5(0.0), ValueError, "finite number > 0"),
        (lambda: nets.resnet20(norm="layer"), ValueError, "norm"),
    ],
)
def test_bad_input_is_named(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
