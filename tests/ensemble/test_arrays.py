"""Arrays that mean more than their numbers are refused, with a way out, wherever arrays enter."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import edt
from edt.ensemble.arrays import as_tensor, integers, reals
from edt.landscape import embed
from edt.lottery.prune import prune_lowest
from edt.lottery.tickets import Tickets

ENS = edt.Ensemble.init([2, 3], [0], d_in=2, d_out=1)
X = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).reshape(6, 2)
Y = X.sum(1, keepdim=True)
TASK = edt.Task(X, Y)
FLAT = ENS.theta.detach().clone()


class Length(np.ndarray):
    """What astropy's and unyt's arrays are: numpy's with a unit."""

    unit = "km"


class Pint:
    """What pint's quantities are: an array behind a unit, to which all else is forwarded."""

    units = "metre"

    def __init__(self, value):
        self.magnitude = value

    def __getattr__(self, name):
        return getattr(self.magnitude, name)


def masked_tensor(value):
    from torch.masked import masked_tensor

    value = value.long() if value.dtype == torch.uint8 else value  # not among its dtypes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "is in prototype stage"
        return masked_tensor(value, torch.ones_like(value, dtype=torch.bool))


def quantised(value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still found in old code
        return torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8)


def hole(array):
    mask = np.zeros(array.shape, dtype=bool)
    mask.flat[0] = True
    return np.ma.array(array, mask=mask)


#: name: (wrap a tensor of numbers, the way out that the message names).
MEANINGS = {
    "masked array": (lambda t: hole(t.numpy()), r"masked.*\.filled\("),
    "masked tensor": (masked_tensor, r"masked tensor.*to_tensor"),
    "sparse": (lambda t: t.to_sparse(), r"sparse.*\.to_dense\(\)"),
    "quantised": (quantised, r"quantised.*\.dequantize\(\)"),
    "complex tensor": (lambda t: t.to(torch.complex128), r"complex.*\.real"),
    "complex array": (lambda t: t.numpy() + 1j, r"complex.*\.real"),
    "subclass with a unit": (lambda t: t.numpy().view(Length), r"quantity in km.*to_value"),
    "quantity": (lambda t: Pint(t.numpy()), r"quantity in metre.*magnitude"),
    "Series": (lambda t: pd.Series(t.numpy().ravel()), r"Series.*\.to_numpy\(\)"),
    "DataFrame": (lambda t: pd.DataFrame(t.numpy().reshape(len(t), -1)), r"\.to_numpy\(\)"),
    "DataArray": (lambda t: xr.DataArray(t.numpy()), r"DataArray.*\.to_numpy\(\)"),
    "scipy's sparse": (
        lambda t: scipy.sparse.csr_matrix(np.atleast_2d(t.numpy())),
        r"sparse.*\.toarray\(\)",
    ),
}
#: Only numbers with a fraction can require gradients.
GRADIENT = {"requires_grad": (lambda t: t.clone().requires_grad_(), r"gradients.*\.detach\(\)")}

ONES = torch.ones(ENS.total, dtype=torch.float64)
FEW = torch.tensor([0.5, 0.25], dtype=torch.float64)
WHOLE = torch.tensor([0, 0])
TRAIN = {"steps": 2, "record": None, "progress": False}

#: (call, numbers that it takes, whether gradients end there).
FLOATS = {
    "x": (lambda v: edt.Task(v, Y), X, True),
    "y": (lambda v: edt.Task(X, v), Y, True),
    "weights": (lambda v: edt.Task(X, Y, weights=v), torch.ones(6, dtype=torch.float64), True),
    "theta": (lambda v: edt.Ensemble([2, 3], 2, 1, theta=v), FLAT, False),
    "with_theta": (lambda v: ENS.with_theta(v), FLAT, False),
    "theta of an op": (lambda v: edt.loss_and_grad(ENS, TASK, theta=v), FLAT, False),
    "theta of the curvature": (lambda v: edt.hessian_spectrum(ENS, TASK, theta=v), FLAT, False),
    "vectors": (lambda v: edt.hvp(ENS, TASK, v), FLAT, False),
    "masks": (lambda v: ENS.with_masks(v), ONES, True),
    "frozen": (lambda v: ENS.with_frozen(v), ONES, True),
    "sparsity": (lambda v: ENS.with_sparsity(v), FEW, True),
    "scores": (lambda v: prune_lowest(ENS, v, 0.5), FLAT.abs(), True),
    "lr": (lambda v: edt.masked_train(TASK, ENS, lr=v, **TRAIN), FEW, True),
    "weight_decay": (
        lambda v: edt.masked_train(TASK, ENS, weight_decay=v, **TRAIN), FEW, True,
    ),
    "mu": (lambda v: embed.split(ENS, 0, v), torch.tensor([0.5, 0.5]).double(), True),
    "losses": (lambda v: edt.loss_levels(v), FEW, True),
    "times": (
        lambda v: edt.gradient_flow(TASK, ENS, max_time=1.0, record=v, progress=False),
        torch.tensor([0.25, 0.5]).double(), True,
    ),
}  # fmt: skip
INTEGERS = {
    "classes": (lambda v: edt.Task(X, v, "cross_entropy"), torch.tensor([0, 1, 0, 1, 0, 1])),
    "state": (lambda v: ENS.with_state(v), torch.ones(ENS.total, dtype=torch.uint8)),
    "seeds": (lambda v: edt.Ensemble.init([2], v, d_in=1, d_out=1), WHOLE),
    "ids": (lambda v: edt.Ensemble([2, 3], 2, 1, ids=v), WHOLE),
    "indices": (lambda v: ENS.select(v), WHOLE),
    "task_index": (lambda v: edt.loss(ENS, TASK, task_index=v), WHOLE),
    "task_index of training": (
        lambda v: edt.masked_train(TASK, ENS, task_index=v, **TRAIN), WHOLE,
    ),
    "task_index of minima": (
        lambda v: edt.converge(TASK, ENS, task_index=v, progress=False), WHOLE,
    ),
    "data_seed": (
        lambda v: edt.masked_train(TASK, ENS, batch_size=2, data_seed=v, **TRAIN), WHOLE,
    ),
    "record": (
        lambda v: edt.masked_train(TASK, ENS, steps=2, record=v, progress=False),
        torch.tensor([0, 2]),
    ),
    "neuron": (lambda v: embed.split(ENS, v, 0.5), WHOLE),
    "ticket": (lambda v: Tickets.of(ENS, v), torch.ones(ENS.total, dtype=torch.int64)),
}  # fmt: skip

CASES = [
    pytest.param(call, numbers, wrap, way, id=f"{name}: {kind}")
    for name, (call, numbers, ends) in FLOATS.items()
    for kind, (wrap, way) in {**MEANINGS, **(GRADIENT if ends else {})}.items()
] + [
    pytest.param(call, numbers, wrap, way, id=f"{name}: {kind}")
    for name, (call, numbers) in INTEGERS.items()
    for kind, (wrap, way) in MEANINGS.items()
]


@pytest.mark.parametrize(("call", "numbers", "wrap", "way"), CASES)
def test_refuses_what_means_more(call, numbers, wrap, way):
    call(numbers)
    # Where only torch's tensors are taken, that is said instead.
    with pytest.raises(TypeError, match=f"{way}|must be a torch.Tensor"):
        call(wrap(numbers))


def test_gradients_go_on_where_they_can():
    theta = FLAT.clone().requires_grad_()
    edt.loss(edt.Ensemble([2, 3], 2, 1, theta=theta), TASK).sum().backward()
    torch.testing.assert_close(theta.grad, edt.loss_and_grad(ENS, TASK)[1])


@pytest.mark.parametrize(
    "view",
    [
        lambda a: np.ma.array(a, mask=False),
        lambda a: np.ma.array(a),
        lambda a: a.astype(a.dtype.newbyteorder(">")),
        lambda a: np.asfortranarray(a),
        lambda a: a[::-1].copy()[::-1],
        lambda a: np.broadcast_to(a, a.shape),
        lambda a: torch._neg_view(torch.from_numpy(-a)),
        lambda a: torch.nn.Parameter(torch.from_numpy(a), requires_grad=False),
        lambda a: a.tolist(),
        lambda a: [np.ma.array(row) for row in a],
        lambda a: tuple(torch.from_numpy(row) for row in a),
    ],
    ids=[
        "nothing masked", "no mask", "big endian", "columns first", "backwards", "read only",
        "negative view", "parameter", "lists", "list of arrays", "tuple of tensors",
    ],
)  # fmt: skip
def test_takes_numbers_however_they_lie(view):
    task = edt.Task(view(X.numpy()), Y)
    assert torch.equal(task.x, X)
    assert not task.x.requires_grad
    # The compiled engine reads the memory, not the view.
    assert torch.equal(edt.loss(ENS, task), edt.loss(ENS, TASK))


def test_the_engine_sees_negative_views_of_parameters():
    theta = torch._neg_view(-FLAT)
    assert torch.equal(edt.loss(ENS, TASK, theta=theta), edt.loss(ENS, TASK))
    assert torch.equal(edt.loss(ENS.with_theta(theta), TASK), edt.loss(ENS, TASK))


@pytest.mark.parametrize(
    "value",
    [
        [[hole(np.ones(2))], [np.ones(2)]],
        [[1.0, np.ma.masked]],
        [[1.0, 2.0 + 0.0j]],
        [[np.complex128(1.0), 2.0]],
        [["1.0", "2.0"]],
        [[True, 2.0]],
        [[1.0, None]],
        [pd.Series([1.0, 2.0])],
        [Pint(1.0), 2.0],
        [torch.ones(2, requires_grad=True)],
    ],
    ids=range(10),
)
def test_lists_hide_nothing(value):
    with pytest.raises(TypeError, match=r"^x "):
        edt.Task(value, Y)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=6))
@settings(deadline=None)
def test_labels_in_lists_are_whole_or_refused(numbers):
    """A list of labels never loses a fraction on its way to a class."""
    with pytest.raises(TypeError, match="y must hold integers"):
        edt.Task(X[: len(numbers)], numbers, "cross_entropy")


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=5))
@settings(deadline=None)
def test_integers_stay_what_they_are(numbers):
    if all(-(2**63) <= n < 2**63 for n in numbers):
        assert integers("n", numbers).tolist() == numbers
    else:
        with pytest.raises(ValueError, match="64 bits"):
            integers("n", numbers)


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "b"]),
        np.array([object(), object()]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.array([(1.0, 2)], dtype=[("a", float), ("b", int)]),
        np.rec.array([(1.0, 2)], dtype=[("a", float), ("b", int)]),
        "text",
        None,
        {"a": 1},
        object(),
    ],
    ids=range(9),
)
@pytest.mark.parametrize("door", [as_tensor, reals, integers])
def test_refuses_what_holds_no_numbers(door, array):
    with pytest.raises(TypeError, match=r"^this "):
        door("this", array)
