"""The reference against networks built independently, as `torch.nn` modules under autograd."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edt import functional
from edt.ops.activations import ACTIVATION_CODES


class Elementwise(nn.Module):
    """A module from a function."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


MODULES = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": lambda: nn.Softplus(threshold=1e3),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "erf": lambda: Elementwise(lambda z: torch.erf(z / 2**0.5)),
    "sin": lambda: Elementwise(torch.sin),
    "square": lambda: Elementwise(lambda z: z**2 / 2),
    "cube": lambda: Elementwise(lambda z: z**3),
    "g": lambda: Elementwise(lambda z: torch.sigmoid(4 * z) + torch.logaddexp(z, 0 * z)),
}


class Twin:
    """Network b as `nn.Sequential`, its loss, and its coordinates."""

    def __init__(self, ens, task, b, t):
        row = ens.layer_widths[b].tolist()
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        parts = []
        for layer in range(len(row) - 1):
            parts.append(nn.Linear(row[layer], row[layer + 1], bias=ens.has_bias).to(ens.dtype))
            if layer < len(row) - 2:
                parts.append(MODULES[ens.activation]())
        self.model = nn.Sequential(*parts)
        nn.utils.vector_to_parameters(ens.theta[span], self.model.parameters())
        self.free = ens.state[span] == 1
        self.x = task.x if task.x.dim() == 2 else task.x[t]
        self.coef, self.entropy = task.coef[t], task.loss == "cross_entropy"
        self.y = task.y if task.y.dim() == 2 - self.entropy else task.y[t]

    def output(self, flat):
        names = dict(self.model.named_parameters())
        at, given = 0, {}
        for name, tensor in names.items():
            given[name] = flat[at : at + tensor.numel()].view_as(tensor)
            at += tensor.numel()
        return torch.func.functional_call(self.model, given, (self.x,))

    def loss(self, flat):
        f = self.output(flat)
        if self.entropy:
            each = nn.functional.cross_entropy(f, self.y, reduction="none")
        else:
            each = nn.functional.mse_loss(f, self.y, reduction="none").sum(1)
        return (self.coef * each).sum()


@pytest.mark.parametrize("activation", ACTIVATION_CODES)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_reference_is_autograd(cases, activation, data):
    depth, loss = data.draw(st.integers(1, 3)), data.draw(st.sampled_from(["mse", "cross_entropy"]))
    case = cases.Case(
        activation,
        loss,
        hidden=((3, 2, 4)[:depth], (1, 4, 2)[:depth]),
        d_in=3,
        d_out=data.draw(st.integers(1 if loss == "mse" else 2, 3)),
        bias=data.draw(st.booleans()),
        masks=data.draw(st.sampled_from(cases.MASKS)),
        samples=data.draw(st.integers(1, 9)),
        targets=data.draw(st.sampled_from([1, 3])),
        own_inputs=data.draw(st.booleans()),
        one_target=data.draw(st.booleans()),
        weighted=data.draw(st.booleans()),
        seed=data.draw(st.integers(0, 999)),
    )
    ens, task, index = case.build()
    vectors = torch.randn(2, ens.total, dtype=torch.float64)
    same = {"task_index": index, "backend": "reference"}
    outputs, losses = functional.predict(ens, task, **same), functional.loss(ens, task, **same)
    grads = functional.loss_and_grad(ens, task, **same)[1]
    products = functional.hvp(ens, task, vectors, **same)
    gauss_newton = functional.ggn_vp(ens, task, vectors, **same)
    hessians, jacobians = (
        functional.hessian(ens, task, **same),
        functional.jacobian(ens, task, **same),
    )
    ggn = functional.hessian(ens, task, ggn=True, **same)
    for b in range(ens.B):
        twin = Twin(ens, task, b, int(index[b]))
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        free, flat = twin.free, ens.theta[span]
        bars = cases.Magnitudes(ens, task, b, int(index[b]))

        def close(found, expected, bar):
            # Two orders of the same float64 operations; nn's gelu and softplus are good to a few
            # units of 1 + |z| rather than of their own size, hence the 1.
            limit = 200 * 2.0**-52 * (1 + torch.as_tensor(bar))
            assert bool(((found - expected).abs() <= limit).all())

        close(outputs[b], twin.output(flat), bars.f)
        close(losses[b], twin.loss(flat), bars.loss)
        full = torch.autograd.functional.hessian(twin.loss, flat)
        (slope,) = torch.autograd.functional.jacobian(twin.loss, (flat,))
        close(grads[span], slope * free, bars.gradient())
        rows = bars.product(torch.ones_like(flat))[free][:, None]
        close(hessians[b], full[free][:, free], rows)
        inner = vectors[:, span] * free
        close(products[:, span], (inner @ full) * free, bars.product(inner.abs().sum(0)))
        slopes = torch.autograd.functional.jacobian(twin.output, flat).flatten(0, 1)[:, free]
        close(jacobians[b], slopes, bars.pull(torch.ones_like(bars.f))[free])
        # H = G + curvature of the outputs, weighted with the slope of the loss in them.
        f = twin.output(flat).detach()
        curvature = torch.autograd.functional.hessian(
            lambda out, twin=twin: _loss_of_outputs(twin, out), f
        ).reshape(f.numel(), f.numel())
        expected = slopes.T @ curvature @ slopes
        close(ggn[b], expected, rows)
        whole = torch.zeros_like(full)
        whole[free.nonzero(), free.nonzero().T] = expected
        close(gauss_newton[:, span], inner @ whole, bars.product(inner.abs().sum(0)))


def _loss_of_outputs(twin, f):
    if twin.entropy:
        each = nn.functional.cross_entropy(f, twin.y, reduction="none")
    else:
        each = (f - twin.y).square().sum(1)
    return (twin.coef * each).sum()


def test_blocks_are_blocks(cases):
    """Per-layer blocks are the diagonal blocks of the Hessian, in both backends."""
    ens, task, index = cases.Case(hidden=((3, 2), (2, 4)), masks="mixed", d_out=2).build()
    for backend in ("cpu", "reference"):
        whole = functional.hessian(ens, task, task_index=index, backend=backend)
        parts = functional.hessian_blocks(ens, task, task_index=index, backend=backend)
        for matrix, blocks in zip(whole, parts, strict=True):
            at = 0
            for block in blocks:
                stop = at + block.shape[0]
                # The compiled engine computes a block as a Hessian of its own.
                torch.testing.assert_close(block, matrix[at:stop, at:stop], rtol=1e-12, atol=1e-13)
                at = stop
            assert at == matrix.shape[0]


def test_parameters_that_count_as_zero(cases):
    """What ``theta`` holds at pruned parameters is ignored, in both backends."""
    ens, task, index = cases.Case(masks="mixed", hidden=((3,), (4,)), d_out=2).build()
    loud = torch.where(ens.state == 0, 1e3, ens.theta)
    for backend in ("cpu", "reference"):
        plain = functional.loss_and_grad(ens, task, task_index=index, backend=backend)
        given = functional.loss_and_grad(ens, task, loud, index, backend=backend)
        assert torch.equal(plain[0], given[0])
        assert torch.equal(plain[1], given[1])
        assert torch.equal(
            functional.predict(ens, task, task_index=index, backend=backend),
            functional.predict(ens, task, loud, index, backend=backend),
        )
        for one, two in zip(
            functional.jacobian(ens, task, task_index=index, backend=backend),
            functional.jacobian(ens, task, loud, index, backend=backend),
            strict=True,
        ):
            assert torch.equal(one, two)
