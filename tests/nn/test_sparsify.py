"""`sparsify`: the same function with other kernels, and the faster one by measurement."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import edt
from edt.errors import ShapeError
from edt.nn import MaskedConv2d, MaskedLinear, report, sparsify


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.head((x + self.second(x)).mean((2, 3)))


def masks():
    torch.manual_seed(1)
    return {
        "first.weight": torch.rand(8, 3, 3, 3) < 0.2, "second": torch.rand(8, 8, 1, 1) < 0.3,
        "head": torch.rand(5, 8) < 0.5,
    }  # fmt: skip


def test_the_same_function_and_the_same_training():
    torch.manual_seed(0)
    plain = Residual().double()
    sparse = sparsify(plain, masks(), kernel="sparse")
    assert type(plain.first) is nn.Conv2d  # a copy
    with torch.no_grad():
        for name, mask in masks().items():
            weight = plain.get_submodule(name.removesuffix(".weight")).weight
            weight.mul_(mask)
    hooks = [
        layer.weight.register_hook(lambda g, mask=mask, w=layer.weight: g * mask.expand_as(w))
        for layer, mask in zip(
            (plain.first, plain.second, plain.head), masks().values(), strict=True
        )
    ]
    x, y = torch.randn(10, 3, 9, 9, dtype=torch.float64), torch.randint(0, 5, (10,))
    losses = []
    for net in (plain, sparse):
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert all(hook is not None for hook in hooks)


def test_masks_of_torch_and_of_zeros():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    prune.random_unstructured(net[0], "weight", 0.5)
    with torch.no_grad():
        net[3].weight[0].zero_()
    x = torch.randn(2, 1, 8, 8)
    sparse = sparsify(net, kernel="sparse")
    torch.testing.assert_close(sparse(x), net(x), rtol=1e-5, atol=1e-6)
    assert torch.equal(sparse[0].mask, net[0].weight_mask.bool())
    assert sparse[3].density == pytest.approx(2 / 3)
    assert {name for name, _ in sparse.named_parameters()} == {
        "0.weight", "0.bias", "3.weight", "3.bias"
    }  # fmt: skip
    assert isinstance(sparsify(nn.Linear(3, 2)), MaskedLinear)


def test_a_layer_of_two_names_and_code_that_reads_weights():
    layer = nn.Linear(4, 4)
    twice = sparsify(nn.Sequential(layer, nn.ReLU(), layer), {"0": torch.eye(4)})
    assert twice[0] is twice[2] and float(twice[0].weight.abs().sum(0).count_nonzero()) == 4
    torch.manual_seed(2)
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    sparse = sparsify(block, {"linear1": torch.rand(16, 8) < 0.2}, kernel="sparse")
    x = torch.randn(3, 5, 8)
    slow = sparse(x)  # torch's fast path, without gradients, reads the weights of linear1 itself
    with torch.no_grad():
        torch.testing.assert_close(sparse(x), slow, rtol=1e-4, atol=1e-5)


def test_measured_on_a_sample(monkeypatch):
    """Whichever was faster is taken; running statistics and the mode stay as they were."""
    times = iter([1.0, 2.0, 4.0, 3.0, 1.0, 1.5])
    monkeypatch.setattr("edt.nn.convert._seconds", lambda *_: next(times))
    sparse = sparsify(Residual(), masks(), sample=torch.randn(6, 3, 9, 9))
    table = report(sparse)
    assert table["layer"].tolist() == ["first", "second", "head"]
    assert table["kernel"].tolist() == ["sparse", "dense", "sparse"]
    assert table["sparse_ms"].tolist() == [1e3, 4e3, 1e3]
    assert sparse.training and float(sparse.norm.running_mean.abs().max()) == 0.0


def test_a_real_measurement_leaves_a_working_module():
    sparse = sparsify(Residual(), masks(), sample=(torch.randn(6, 3, 9, 9),))
    table = report(sparse)
    assert set(table["kernel"]) <= {"sparse", "dense"}
    assert (table[["sparse_ms", "dense_ms"]] > 0).all(axis=None)
    for _, layer in sparse.named_modules():
        assert not isinstance(layer, (MaskedConv2d, MaskedLinear)) or layer.kernel == "auto"


def test_bad_input():
    with pytest.raises(ValueError, match=r"masks\['third'\] is not .* has 'first', 'second', 'h"):
        sparsify(Residual(), {"third": torch.ones(1)})
    with pytest.raises(ShapeError, match=r"layer 'head'.*broadcast"):
        sparsify(Residual(), {"head": torch.ones(8, 5)})
    assert edt.nn.MaskedLinear is MaskedLinear
