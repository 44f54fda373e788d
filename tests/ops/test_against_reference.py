"""Every op of the compiled engines against its twin in plain PyTorch (see `op_cases`)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from op_cases import MASKS, Case, any_case, compare, going_round, wide_case

from edt import functional
from edt.ops.activations import ACTIVATION_CODES
from edt.ops.checks import problem_of
from edt.ops.jacobians import jacobian as structured_jacobian

VECTORS = 5  # one group of four and a rest


PUBLIC = {
    "predict": lambda ens, task, index, *_: functional.predict(ens, task, task_index=index),
    "vjp": lambda ens, task, index, _, cotangent: torch.ops.edt.predict_vjp(
        ens.theta, cotangent, *problem_of(ens, task, index)
    ),
    "loss": lambda ens, task, index, *_: functional.loss(ens, task, task_index=index),
    "loss beside grad": lambda ens, task, index, *_: functional.loss_and_grad(
        ens, task, task_index=index
    )[0],
    "grad": lambda ens, task, index, *_: functional.loss_and_grad(ens, task, task_index=index)[1],
    "hvp": lambda ens, task, index, vectors, _: functional.hvp(
        ens, task, vectors, task_index=index
    ),
    "ggn_vp": lambda ens, task, index, vectors, _: functional.ggn_vp(
        ens, task, vectors, task_index=index
    ),
    "hessian": lambda ens, task, index, *_: functional.hessian(ens, task, task_index=index),
    "ggn": lambda ens, task, index, *_: functional.hessian(ens, task, task_index=index, ggn=True),
    "blocks": lambda ens, task, index, *_: functional.hessian_blocks(ens, task, task_index=index),
    "jacobian": lambda ens, task, index, *_: functional.jacobian(ens, task, task_index=index),
}


def check_all(case, device="cpu"):
    def compute(*arguments):
        return {name: call(*arguments) for name, call in PUBLIC.items()}

    compare(case, compute, vectors=VECTORS, device=device)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("activation", ACTIVATION_CODES)
def test_every_activation(device, activation, depth, loss):
    """All activations x depths x losses x dtypes."""
    for turn, dtype in enumerate((torch.float64, torch.float32)):
        check_all(going_round(activation, depth, loss, turn, dtype), device)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("samples", range(1, 34))
def test_every_remainder(processor, samples, dtype):
    """Sample counts of every remainder modulo the vector lengths 8 and 16, and N = 1."""
    narrow = {"hidden": ((3,), (4,)), "d_out": 1}
    deep = {"hidden": ((3, 2), (2, 4)), "d_out": 2, "masks": "sparse"}
    shape = narrow if samples % 2 else deep
    check_all(Case(dtype=dtype, samples=samples, seed=samples, **shape), processor)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("samples", [3, 40, 150])
@pytest.mark.parametrize("d_in", [3, 4, 7, 8, 13, 20, 40])
def test_gradients_of_dense_layers(processor, d_in, samples, dtype):
    """Dot products and outer products: pieces of every size, on both sides of where they change."""

    def compute(ens, task, index, *_):
        return {"grad": functional.loss_and_grad(ens, task, task_index=index)[1]}

    hidden = ((4, 3), (7, 13), (14, 6), (27, 5))
    data = {"d_in": d_in, "samples": samples, "seed": samples + d_in}
    case = Case("softplus", dtype=dtype, hidden=hidden, **data)
    compare(case, compute, vectors=1, device=processor)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("masks", ["dense", "very sparse"])
def test_wide_layers(device, masks, dtype):
    """Wide layers (no matrices: the reference is slow)."""
    without = {"hessian", "ggn", "blocks", "jacobian"}

    def compute(*arguments):
        return {name: call(*arguments) for name, call in PUBLIC.items() if name not in without}

    compare(wide_case(masks, dtype), compute, vectors=VECTORS, device=device)


@pytest.mark.parametrize("masks", MASKS)
def test_jacobians_layer_by_layer(masks):
    """What CUDA tensors take, on the CPU."""

    def compute(ens, task, index, *_):
        return {"jacobian": structured_jacobian(ens.theta, problem_of(ens, task, index))}

    case = Case(hidden=((3, 2), (5, 4)), d_out=2, masks=masks, samples=11)
    compare(case, compute, vectors=1)


@settings(
    max_examples=80,
    deadline=None,
    # The device is the same for all examples.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_anything(device, data):
    check_all(data.draw(any_case()), device)
