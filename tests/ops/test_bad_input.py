"""Bad arguments: refused before any work, with the argument, what was given and what is allowed."""

from __future__ import annotations

import pytest
import torch

from edt import functional
from edt.ensemble import Ensemble
from edt.errors import ShapeError
from edt.tasks import Task

X = torch.randn(6, 2, dtype=torch.float64)
ENS = Ensemble([2, 3], 2, 1)
TASK = Task(X, torch.randn(3, 6, 1, dtype=torch.float64))
TOTAL = ENS.total
OPS = {
    "predict": functional.predict,
    "loss": functional.loss,
    "loss_and_grad": functional.loss_and_grad,
    "hvp": lambda ens, task, **more: functional.hvp(ens, task, torch.zeros_like(ENS.theta), **more),
    "ggn_vp": lambda ens, task, **more: functional.ggn_vp(
        ens, task, torch.zeros_like(ENS.theta), **more
    ),
    "hessian": functional.hessian,
    "hessian_blocks": functional.hessian_blocks,
    "jacobian": functional.jacobian,
}

BAD = [
    ({"ens": "net"}, TypeError, r"networks must be an edt\.Ensemble, got str"),
    ({"ens": None}, TypeError, "networks must be an"),
    ({"ens": torch.nn.Linear(1, 1)}, TypeError, "from_modules and edt"),
    ({"task": 3}, TypeError, r"task must be an edt\.Task or a pair \(x, y\), got int"),
    ({"task": ENS}, TypeError, r"task must be an edt\.Task or a pair \(x, y\), got Ensemble"),
    ({"task": (X, X)}, ShapeError, "task must have d_out = 1 like the networks"),
    ({"task": TASK.to(torch.float32)}, TypeError, r"float64, got torch\.float32; use task\.to"),
    (
        {"task": Task(X[:, :1], X[:, :1])},
        ShapeError,
        "task must have d_in = 2 like the networks, got d_in = 1",
    ),
    ({"task": Task(X, X)}, ShapeError, "task must have d_out = 1 like the networks, got d_out = 2"),
    ({"theta": [0.0] * TOTAL}, TypeError, r"theta must be a torch\.Tensor, got list"),
    ({"theta": torch.zeros(TOTAL)}, TypeError, "theta must have the networks' dtype torch.float64"),
    ({"theta": torch.zeros(5).double()}, ShapeError, rf"theta must have shape \[{TOTAL}\].*\[5\]"),
    ({"theta": torch.zeros(1, TOTAL).double()}, ShapeError, "theta must have shape"),
    ({"theta": torch.zeros(TOTAL, device="meta").double()}, ValueError, "theta.*CPU.*device meta"),
    ({"task_index": torch.tensor([0.0, 1.0])}, TypeError, "task_index must hold integers"),
    ({"task_index": torch.tensor([True, False])}, TypeError, "task_index must hold integers"),
    ({"task_index": torch.tensor([0])}, ShapeError, r"task_index must have shape \[2\].*got \[1\]"),
    ({"task_index": [0, 3]}, ValueError, r"task_index\[1\] must be in 0\.\.2, got 3"),
    (
        {"task_index": torch.tensor([-1, 0])},
        ValueError,
        r"task_index\[0\] must be in 0\.\.2, got -1",
    ),
    ({"backend": "cpus"}, ValueError, "backend must be one of.*'cpus'; did you mean 'cpu'"),
    ({"backend": None}, ValueError, "backend must be one of"),
    ({"backend": "tpu"}, ValueError, "backend must be one of"),
]


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize(("given", "error", "message"), BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_bad_arguments(name, given, error, message, backend):
    arguments = {"ens": ENS, "task": TASK, "backend": backend} | given
    ens, task = arguments.pop("ens"), arguments.pop("task")
    with pytest.raises(error, match=message):
        OPS[name](task, ens, **arguments)


@pytest.mark.parametrize("name", OPS)
def test_either_order(name):
    """(task, networks) or (networks, task), and a pair of tensors for the task."""
    pair = (TASK.x, TASK.y[0])
    same = {"task_index": torch.zeros(2, dtype=torch.int64)}
    wanted = OPS[name](TASK, ENS, **same)
    for first, second in ((ENS, TASK), (pair, ENS), (ENS, pair)):
        more = same if TASK in (first, second) else {}
        torch.testing.assert_close(OPS[name](first, second, **more), wanted, rtol=0, atol=0)


def test_outputs_at_inputs_alone():
    """No targets are needed, in either order."""
    wanted = functional.predict(TASK, ENS)
    for backend in ("auto", "reference"):
        for given in ((X, ENS), (ENS, X)):
            torch.testing.assert_close(functional.predict(*given, backend=backend), wanted)
    for wrong, error, message in (
        (X[:, :1], ShapeError, r"x must have shape \[N, 2\], got \[6, 1\]"),
        (X[0], ShapeError, "x must have shape"),
        (X.float(), TypeError, "x must have the networks' dtype"),
    ):
        with pytest.raises(error, match=message):
            functional.predict(ENS, wrong)


@pytest.mark.parametrize("product", [functional.hvp, functional.ggn_vp])
def test_bad_vectors(product):
    with pytest.raises(TypeError, match=r"vectors must be a torch\.Tensor, got NoneType"):
        product(ENS, TASK, None)
    with pytest.raises(TypeError, match=r"vectors must have the networks' dtype torch\.float64"):
        product(ENS, TASK, torch.zeros(TOTAL))
    for shape in [(TOTAL + 1,), (2, TOTAL - 1), (1, 1, TOTAL), ()]:
        with pytest.raises(ShapeError, match=rf"vectors must have shape \[K, {TOTAL}\]"):
            product(ENS, TASK, torch.zeros(shape).double())
    with pytest.raises(ValueError, match="vectors must be on the CPU"):
        product(ENS, TASK, torch.zeros(TOTAL, device="meta").double())
    assert product(ENS, TASK, torch.zeros(0, TOTAL).double()).shape == (0, TOTAL)


def test_strided_arguments_are_fine():
    """Views with strides are copied, not misread."""
    ens = ENS.with_theta(torch.randn(TOTAL, dtype=torch.float64))
    theta = torch.stack([ens.theta, ens.theta], 1)[:, 0]
    assert torch.equal(functional.loss(ens, TASK, theta), functional.loss(ens, TASK))
    vectors = torch.randn(TOTAL, 3, dtype=torch.float64)
    found = functional.hvp(ens, TASK, vectors.T)
    assert torch.equal(found, functional.hvp(ens, TASK, vectors.T.contiguous()))
    assert found.is_contiguous()


def test_a_single_task_index_serves_all():
    ens = ENS.with_theta(torch.randn(TOTAL, dtype=torch.float64))
    one = functional.loss(ens, TASK, task_index=torch.tensor(2))
    assert torch.equal(one, functional.loss(ens, TASK, task_index=torch.tensor([2, 2])))


def test_results_have_the_documented_shapes(cases):
    for dtype in (torch.float32, torch.float64):
        ens, task, index = cases.Case(dtype=dtype, d_out=2, masks="mixed").build()
        size = ens.total
        for backend in ("cpu", "reference"):
            same = {"task_index": index, "backend": backend}
            assert functional.predict(ens, task, **same).shape == (ens.B, task.N, 2)
            loss, grad = functional.loss_and_grad(ens, task, **same)
            assert (loss.dtype, grad.dtype) == (torch.float64, dtype)
            assert (loss.shape, grad.shape) == ((ens.B,), (size,))
            for many in ((3, size), (1, size), (size,)):
                assert functional.hvp(ens, task, torch.ones(many).to(dtype), **same).shape == many
            for b, matrix in enumerate(functional.hessian(ens, task, **same)):
                assert matrix.shape == (ens.coords[b], ens.coords[b])
                assert matrix.dtype == dtype
                if backend == "cpu":
                    assert matrix.data_ptr() % 64 == 0 or matrix.numel() == 0
            for b, matrix in enumerate(functional.jacobian(ens, task, **same)):
                assert matrix.shape == (task.N * 2, ens.coords[b])
                assert matrix.dtype == dtype
