"""Wrong arguments: an error that names the argument, the value and what is allowed."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch

from edt.ensemble import Ensemble
from edt.errors import ShapeError, unknown_choice

F64 = torch.float64

CONSTRUCT = [
    ({"widths": []}, ValueError, "widths must name at least one"),
    ({"widths": [2, 0]}, ValueError, r"widths\[1\] must be >= 1, got 0"),
    ({"widths": [(2, -3)]}, ValueError, r"widths\[0\]\[1\] must be >= 1, got -3"),
    ({"widths": [2.0]}, TypeError, r"widths\[0\] must be an integer >= 1, got 2.0"),
    ({"widths": [True]}, TypeError, r"widths\[0\]"),
    ({"widths": [()]}, ValueError, "at least one hidden layer"),
    ({"widths": [(2, 3), (4,)]}, ValueError, "same depth: widths.0. has 2 .* widths.1. has 1"),
    ({"widths": "23"}, TypeError, "widths"),
    ({"widths": 5}, TypeError, "widths"),
    ({"widths": [2**31]}, ValueError, "at most"),
    ({"widths": [(2**30, 2**30)]}, ValueError, "parameters"),
    ({"d_in": 0}, ValueError, "d_in must be >= 1, got 0"),
    ({"d_in": 1.5}, TypeError, "d_in"),
    ({"d_out": -1}, ValueError, "d_out"),
    ({"activation": "tahn"}, ValueError, "activation must be one of .* did you mean 'tanh'"),
    ({"activation": torch.tanh}, ValueError, "activation"),
    ({"bias": 1}, TypeError, "bias must be True or False, got 1"),
    ({"dtype": torch.float16}, ValueError, "dtype"),
    ({"dtype": "float64"}, ValueError, "dtype"),
    ({"theta": [0.0] * 13}, TypeError, "theta must be a tensor or an array, got list"),
    ({"theta": torch.zeros(12, dtype=F64)}, ShapeError, r"theta must have shape \[13\].*\[12\]"),
    ({"theta": torch.zeros(1, 13, dtype=F64)}, ShapeError, "theta"),
    ({"theta": torch.zeros(13, dtype=torch.int64)}, TypeError, "theta .*int64"),
    ({"theta": torch.zeros(13), "dtype": F64}, TypeError, "float64, got torch.float32"),
    ({"state": torch.ones(12, dtype=torch.uint8)}, ShapeError, "state"),
    ({"state": torch.ones(13)}, TypeError, "state must have dtype torch.uint8"),
    ({"state": [1] * 13}, TypeError, "state"),
    ({"state": torch.full((13,), 3, dtype=torch.uint8)}, ValueError, r"state\[0\] .* got 3"),
    ({"state": torch.full((13,), -1)}, ValueError, "got -1"),
    ({"ids": [1, 2]}, ShapeError, r"ids must have length 1"),
    ({"ids": [0.5]}, TypeError, r"ids\[0\]"),
    ({"ids": [2**63]}, ValueError, r"ids\[0\]"),
]


@pytest.mark.parametrize("bad, kind, says", CONSTRUCT)
def test_constructor_refuses(bad, kind, says):
    arguments = {"widths": [2], "d_in": 4, "d_out": 1, **bad}
    with pytest.raises(kind, match=says):
        Ensemble(**arguments)


INIT = [
    ({"widths": 0}, ValueError, "widths"),
    ({"seeds": []}, ValueError, "at least one seed"),
    ({"seeds": -1}, ValueError, r"seeds\[0\] must be in 0..2\*\*64-1, got -1"),
    ({"seeds": [0, 2**64]}, ValueError, r"seeds\[1\]"),
    ({"seeds": 0.5}, TypeError, "seeds"),
    ({"seeds": [True]}, TypeError, r"seeds\[0\]"),
    ({"seeds": "12"}, TypeError, "seeds"),
    ({"scheme": "glorrot"}, ValueError, "did you mean 'glorot'"),
    ({"scheme": None}, ValueError, "scheme"),
    ({"scale": -1.0}, ValueError, "scale"),
    ({"scale": float("nan")}, ValueError, "scale"),
    ({"scale": "1"}, TypeError, "scale"),
    ({"activation": "rellu"}, ValueError, "did you mean 'relu'"),
    ({"dtype": torch.int64}, ValueError, "dtype"),
    ({"dtype": None}, ValueError, "dtype"),
    ({"sparsity": 1.0}, ValueError, r"sparsity\[0\] must be a finite number >= 0 and < 1, got 1.0"),
    ({"sparsity": -0.1}, ValueError, "sparsity"),
    ({"sparsity": float("nan")}, ValueError, "sparsity"),
    ({"sparsity": [0.1, 0.2, 0.3]}, ShapeError, r"one per layer \(2\), got 3"),
    ({"sparsity": "half"}, TypeError, "sparsity"),
    ({"sparsity": [0.1, None]}, TypeError, r"sparsity\[1\]"),
    ({"masks": torch.ones(13), "sparsity": 0.5}, ValueError, "must not both"),
    ({"masks": torch.ones(12)}, ShapeError, r"masks must have shape \[13\]"),
    ({"ids": [1, 2, 3]}, ShapeError, "ids"),
]


@pytest.mark.parametrize("bad, kind, says", INIT)
def test_init_refuses(bad, kind, says):
    arguments = {"widths": [2], "seeds": 0, "d_in": 4, "d_out": 1, **bad}
    with pytest.raises(kind, match=says):
        Ensemble.init(**arguments)


ones = torch.ones
MASKS = [
    (None, TypeError, "masks must be a flat tensor or a list"),
    ("1" * 13, TypeError, "masks"),
    (torch.full((13,), 0.5), ValueError, r"masks\[0\] must be 0 or 1, got 0.5"),
    (torch.full((13,), float("nan")), ValueError, "masks"),
    (torch.full((13,), 2), ValueError, "got 2"),
    (torch.zeros(13, dtype=torch.complex64), TypeError, "complex"),
    ([], ShapeError, r"one list per network \(1\), got 0"),
    ([ones(2, 4)], TypeError, r"masks\[0\] must be a list of 2"),
    ([[ones(2, 4)]], ShapeError, r"masks\[0\] must hold 2 layers, got 1"),
    ([[ones(4, 2), ones(1, 2)]], ShapeError, r"masks\[0\]\[0\] must have shape \[2, 4\]"),
    ([[ones(2, 4), (ones(1, 2), ones(2))]], ShapeError, r"masks\[0\]\[1\] \(bias\)"),
    ([[ones(2, 4), (ones(1, 2),)]], ShapeError, "got 1 items"),
    ([[ones(2, 4), 3.0]], TypeError, r"masks\[0\]\[1\]"),
    ([[3 * ones(2, 4), None]], ValueError, r"masks\[0\]\[0\]\[0, 0\] must be 0 or 1, got 3"),
]


@pytest.mark.parametrize("masks, kind, says", MASKS)
def test_masks_refused(masks, kind, says):
    ens = Ensemble([2], 4, 1)
    with pytest.raises(kind, match=says):
        ens.with_masks(masks)
    with pytest.raises(kind, match=says.replace("masks", "frozen")):
        ens.with_frozen(masks)


def test_parts_refuse():
    ens = Ensemble([2, 3], 4, 1, bias=False)
    with pytest.raises(IndexError, match=r"network must be in 0\.\.1, got 2"):
        ens.weight(2, 0)
    with pytest.raises(IndexError, match=r"layer must be in 0\.\.1, got 2"):
        ens.weight(0, 2)
    with pytest.raises(TypeError, match="layer must be an integer"):
        ens.weight(0, 0.0)
    with pytest.raises(TypeError, match="network"):
        ens.network(None)
    with pytest.raises(IndexError, match="network"):
        ens.to_module(-3)
    with pytest.raises(IndexError, match="network"):
        ens.state_dict(5)
    for part in (ens.bias, ens.bias_mask):
        with pytest.raises(ValueError, match="no biases"):
            part(0, 0)
    with pytest.raises(ValueError, match="no biases"):
        ens.with_masks([[None, (None, torch.ones(1))]] * 2)


@pytest.mark.parametrize(
    "indices, kind, says",
    [
        ([], ValueError, "at least one"),
        (torch.zeros(2, dtype=torch.bool), ValueError, "at least one"),
        (torch.ones(3, dtype=torch.bool), ShapeError, "length 2, got 3"),
        ([0, 2], IndexError, r"indices\[1\] must be in 0..1, got 2"),
        ([-3], IndexError, "got -3"),
        ([0.0], TypeError, "float64"),
        ([[0]], ShapeError, "one dimension"),
        ("01", TypeError, "indices"),
        (None, TypeError, "indices"),
    ],
)
def test_select_refuses(indices, kind, says):
    with pytest.raises(kind, match=says):
        Ensemble([2, 3], 4, 1).select(indices)


def test_with_theta_and_state_refuse():
    ens = Ensemble([2], 4, 1)
    with pytest.raises(ShapeError, match="theta"):
        ens.with_theta(torch.zeros(12, dtype=F64))
    with pytest.raises(TypeError, match="float32"):
        ens.with_theta(torch.zeros(13))
    with pytest.raises(ValueError, match="theta must be on cpu"):
        ens.with_theta(torch.zeros(13, dtype=F64, device="meta"))
    with pytest.raises(ShapeError, match="state"):
        ens.with_state(torch.zeros(12, dtype=torch.uint8))
    with pytest.raises(ValueError, match="dtype"):
        ens.to(torch.bfloat16)
    with pytest.raises(ShapeError, match="seeds"):
        Ensemble([2, 3, 4], 4, 1).with_sparsity(0.5, seeds=[1, 2])


def test_concat_refuses():
    ens = Ensemble([2], 4, 1)
    with pytest.raises(ValueError, match="at least one"):
        Ensemble.concat([])
    with pytest.raises(TypeError, match=r"list of edt\.Ensemble"):
        Ensemble.concat(ens)
    with pytest.raises(TypeError, match=r"ensembles\[1\]"):
        Ensemble.concat([ens, 3])
    unlike = {
        "depth": Ensemble([(2, 2)], 4, 1),
        "d_in": Ensemble([2], 3, 1),
        "d_out": Ensemble([2], 4, 2),
        "activation": Ensemble([2], 4, 1, activation="relu"),
        "has_bias": Ensemble([2], 4, 1, bias=False),
        "dtype": Ensemble([2], 4, 1, dtype=torch.float32),
    }
    for what, other in unlike.items():
        with pytest.raises(ValueError, match=rf"agree in {what}: ensembles\[0\]"):
            Ensemble.concat([ens, other])


def test_many_spellings_of_the_same_arguments():
    plain = Ensemble.init([2, 3], [0, 1], d_in=4, d_out=1)
    for widths, seeds in (
        (np.array([2, 3]), np.array([0, 1])),
        (torch.tensor([[2], [3]]), torch.tensor([0, 1])),
        (range(2, 4), range(2)),
        (((2,), (3,)), (0, np.uint64(1))),
    ):
        other = Ensemble.init(widths, seeds, d_in=np.int64(4), d_out=1)
        assert torch.equal(other.theta, plain.theta)


def test_unknown_choice():
    error = unknown_choice("optimizer", "adamm", ["gd", "adam"])
    assert str(error) == "optimizer must be one of 'gd', 'adam', got 'adamm'; did you mean 'adam'?"
    assert "did you mean" not in str(unknown_choice("optimizer", "zzz", ["gd", "adam"]))
    assert "did you mean 'GD'" in str(unknown_choice("optimizer", "gd", ["GD"]))


@pytest.mark.parametrize("module", ["edt.ensemble.container", "edt.errors"])
def test_examples_run(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
