"""Random ensembles with their data, how large rounding errors may be on them, and the comparison of
an engine's results with plain PyTorch at float64.

Tolerance: `Magnitudes` gives the sum of the absolute terms of each result. Sums here have at most
some 40 samples, added in lanes and trees, and a dozen neurons; activations are good to 7 units:
some tens of roundings meet in a term, and as they seldom agree in sign the worst of thousands of
random cases is 3 units. float32 results are compared with the float64 reference at the same float32
inputs, so one count serves both. Terms that underflow add a multiple of the least normal number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from hypothesis import strategies as st

from edt.ensemble import Ensemble
from edt.ops import reference
from edt.ops.activations import ACTIVATION_CODES, ACTIVATION_FUNCTIONS
from edt.ops.checks import problem_of
from edt.ops.losses import LOSSES
from edt.ops.problem import Problem
from edt.tasks import Task

ROUNDINGS = 12

MASKS = (
    "dense",
    "sparse",
    "very sparse",
    "dead units",
    "frozen",
    "mixed",
    "layer pruned",
    "layer frozen",
    "no output bias",
    "nothing trainable",
    "nothing left",
)


@dataclass(frozen=True)
class Case:
    """Everything that decides an ensemble, its data, and which target each network has."""

    activation: str = "tanh"
    loss: str = "mse"
    dtype: torch.dtype = torch.float64
    hidden: tuple[tuple[int, ...], ...] = ((3,), (5,))
    d_in: int = 2
    d_out: int = 1
    bias: bool = True
    masks: str = "dense"
    samples: int = 11
    targets: int = 1
    own_inputs: bool = False  # x has its targets' dimension
    one_target: bool = False  # y has not, though x does
    weighted: bool = False
    seed: int = 0

    def build(self) -> tuple[Ensemble, Task, torch.Tensor]:
        """(networks, data, task index)."""
        draw = torch.Generator().manual_seed(self.seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        blank = Ensemble(
            list(self.hidden),
            self.d_in,
            self.d_out,
            activation=self.activation,
            bias=self.bias,
            dtype=self.dtype,
        )
        # The 27th power of cubes on cubes must stay within float32.
        theta = (0.3 if self.activation == "cube" else 0.7) * normal(blank.total)
        state = torch.cat([self._state(blank, b, draw) for b in range(blank.B)])
        ens = Ensemble(
            list(self.hidden),
            self.d_in,
            self.d_out,
            activation=self.activation,
            bias=self.bias,
            theta=theta.to(self.dtype),
            state=state,
        )
        many = (self.targets,) if self.targets > 1 else ()
        x = normal(*(many if self.own_inputs else ()), self.samples, self.d_in)
        weights = None
        if self.weighted:
            weights = torch.rand(*many, self.samples, generator=draw, dtype=torch.float64) + 0.01
            weights[..., 1:] *= torch.rand(self.samples - 1, generator=draw) > 0.3
        each = () if self.own_inputs and self.one_target else many
        if self.loss != "cross_entropy":
            y = _meant(self.loss, normal(*each, self.samples, self.d_out))
            task = Task(x.to(self.dtype), y.to(self.dtype), self.loss, weights=weights)
        else:
            y = torch.randint(0, self.d_out, (*each, self.samples), generator=draw)
            task = Task(x.to(self.dtype), y, "cross_entropy", weights=weights, n_classes=self.d_out)
        index = torch.randint(0, self.targets, (blank.B,), generator=draw)
        return ens, task, index

    def _state(self, ens: Ensemble, b: int, draw: torch.Generator) -> torch.Tensor:
        """uint8 states of network b."""
        layout = ens.layout
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        state = torch.ones(ens.total, dtype=torch.uint8)
        chance = torch.rand(ens.total, generator=draw)
        layer = int(torch.randint(0, ens.depth + 1, (1,), generator=draw))
        if self.masks in ("sparse", "very sparse", "mixed"):
            state[chance < {"sparse": 0.5, "very sparse": 0.9, "mixed": 0.3}[self.masks]] = 0
        if self.masks in ("frozen", "mixed"):
            state[chance > 0.7] = 2
        if self.masks == "dead units":
            # Unit 0 hears nothing, the last one of a layer is heard by nobody.
            for at in range(ens.depth):
                layout.weight(state, b, at)[0] = 0
                layout.weight(state, b, at + 1)[:, -1] = 0
        if self.masks in ("layer pruned", "layer frozen"):
            layout.weight(state, b, layer)[:] = 0 if self.masks == "layer pruned" else 2
        if self.masks == "no output bias" and ens.has_bias:
            layout.bias(state, b, ens.depth)[:] = 2 * (b % 2)
        if self.masks == "nothing trainable":
            state[:] = 2
        if self.masks == "nothing left":
            state[:] = 0
        return state[span]


def _meant(loss: str, y: torch.Tensor) -> torch.Tensor:
    """Targets that a loss is meant for, of real numbers."""
    if loss == "soft_cross_entropy":
        return torch.softmax(y, -1)
    if loss == "bce":
        return torch.sigmoid(3 * y)
    if loss in ("logistic", "squared_hinge"):
        return torch.sign(y)
    return 2 * y if loss == "huber" else y


class Magnitudes:
    """Sums of absolute terms of every result of network b: what its rounding error scales with.

    The network is run on absolute values, each quantity q replaced by a bar ``q'`` that holds the
    sum of the absolute terms that make it, plus what the rounding of its own inputs can change:
    ``a' = |s(z)| + |s'(z)| z'`` and so on. A computation with n roundings per term is then off by
    at most about ``n u`` times the bar.
    """

    def __init__(self, ens: Ensemble, task: Task, b: int, t: int) -> None:
        widths = ens.layer_widths[b].tolist()
        flat = ens.theta[int(ens.offsets[b]) : int(ens.offsets[b + 1])].to(torch.float64)
        self.widths, self.has_bias = widths, ens.has_bias
        self.weights = [weight.abs() for weight, _ in self.split(flat)]
        x = (task.x if task.x.dim() == 2 else task.x[t]).to(torch.float64)
        self.coef = task.coef[t].to(torch.float64)[:, None]
        z, bar = x, x.abs()
        self.a, self.d1, self.d2 = [bar], [], []
        for layer, (weight, bias) in enumerate(self.split(flat)):
            z, bar = z @ weight.T + bias, bar @ weight.abs().T + bias.abs()
            if layer == ens.depth:
                break
            s = self.derivatives(ens.activation, z)
            self.a.append(s[0].abs() + s[1].abs() * bar)
            self.d1.append(s[1].abs() + s[2].abs() * bar)
            self.d2.append(s[2].abs() + s[3].abs() * bar)
            z, bar = s[0], self.a[-1]
        self.f, self.entropy = bar, LOSSES[task.loss].shifts
        if self.entropy:
            # Probabilities are at most 1; an error e in the outputs changes them by a factor 1 + e.
            top = 1 + bar.amax(-1, keepdim=True)
            self.loss = float((self.coef * (2 * top + bar.shape[1])).sum())
            self.delta, self.curvature = self.coef * top * torch.ones_like(bar), 2 * top
        elif task.loss != "mse":
            # Each of these is at most (1 + |y|)^2 (1 + |f|)^2, and so are its slopes.
            y = (task.y if task.y.dim() == 2 else task.y[t]).to(torch.float64).abs()
            most = (1 + y) ** 2 * (1 + bar) ** 2
            self.loss = float((self.coef * most).sum())
            self.delta, self.curvature = self.coef * most, 2 * most
        else:
            y = task.y if task.y.dim() == 2 else task.y[t]
            r = bar + y.to(torch.float64).abs()
            self.loss = float((self.coef * r.square()).sum())
            self.delta, self.curvature = 2 * self.coef * r, torch.tensor(2.0)

    def split(self, flat: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(weight, bias) of every layer."""
        out, at = [], 0
        for fan_in, fan_out in pairwise(self.widths):
            weight = flat[at : at + fan_in * fan_out].view(fan_out, fan_in)
            at += fan_in * fan_out
            bias = flat[at : at + fan_out] if self.has_bias else flat.new_zeros(fan_out)
            at += fan_out if self.has_bias else 0
            out.append((weight, bias))
        return out

    def join(self, layers: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        """The inverse of `split`."""
        parts = [part for layer in layers for part in layer[: 2 if self.has_bias else 1]]
        return torch.cat([part.reshape(-1) for part in parts])

    @staticmethod
    def derivatives(activation: str, z: torch.Tensor) -> list[torch.Tensor]:
        """s(z) and three derivatives, by autograd."""
        z = z.detach().requires_grad_(True)
        found = [ACTIVATION_FUNCTIONS[activation](z)]
        for _ in range(3):
            slope = torch.zeros_like(z)
            if found[-1].requires_grad:
                (slope,) = torch.autograd.grad(
                    found[-1].sum(), z, create_graph=True, materialize_grads=True
                )
            found.append(slope)
        return [y.detach() for y in found]

    def pull(self, delta: torch.Tensor) -> torch.Tensor:
        """Bars of ``J^T delta``, over all parameters; ``delta`` ``[N, d_out]`` >= 0."""
        layers = []
        for layer in range(len(self.weights) - 1, -1, -1):
            layers.append((delta.T @ self.a[layer], delta.sum(0)))
            if layer > 0:
                delta = (delta @ self.weights[layer]) * self.d1[layer - 1]
        return self.join(layers[::-1])

    def gradient(self) -> torch.Tensor:
        """Bars of the gradient."""
        return self.pull(self.delta)

    def product(self, vector: torch.Tensor) -> torch.Tensor:
        """Bars of ``H v`` (and of ``G v``); of row sums of ``|H|`` for v = 1."""
        v = [(w.abs(), c.abs()) for w, c in self.split(vector.to(torch.float64))]
        rz, ra = [], [torch.zeros_like(self.a[0])]
        for layer, (weight, bias) in enumerate(v):
            rz.append(self.a[layer] @ weight.T + bias + ra[layer] @ self.weights[layer].T)
            if layer < len(v) - 1:
                ra.append(self.d1[layer] * rz[-1])
        rf = rz[-1].sum(-1, keepdim=True).expand_as(rz[-1]) if self.entropy else rz[-1]
        rd, delta, layers = self.coef * self.curvature * rf, self.delta, []
        for layer in range(len(v) - 1, -1, -1):
            weight = rd.T @ self.a[layer] + delta.T @ ra[layer]
            layers.append((weight, rd.sum(0)))
            if layer > 0:
                back = delta @ self.weights[layer]
                rd = self.d1[layer - 1] * (rd @ self.weights[layer] + delta @ v[layer][0])
                rd = rd + self.d2[layer - 1] * back * rz[layer - 1]
                delta = back * self.d1[layer - 1]
        return self.join(layers[::-1])


def upcast(problem: Problem) -> Problem:
    """The same numbers in float64."""
    y = problem.y if problem.loss == "cross_entropy" else problem.y.double()
    return problem._replace(x=problem.x.double(), y=y, coef=problem.coef.double())


def close(
    what: str, found: torch.Tensor, expected: Any, bars: Any, dtype: torch.dtype, roundings: int
) -> None:
    """Insist that |found - expected| <= roundings eps bars, entry by entry."""
    assert found.shape == expected.shape, what
    assert found.dtype == (torch.float64 if what.startswith("loss") else dtype), what
    info = torch.finfo(dtype)
    limit = roundings * (info.eps * torch.as_tensor(bars) + 1e3 * info.tiny)
    ratio = (found.cpu().double() - expected).abs() / limit
    worst = float(ratio.max()) if ratio.numel() else 0.0
    assert worst <= 1.0, f"{what}: {worst * roundings:.3g} units, at most {roundings} allowed"


#: (networks, task, task index, vectors [K, total], cotangent [B, N, d_out]) -> results by name:
#: "predict", "vjp", "loss", "loss beside grad", "grad", "hvp", "ggn_vp", "hessian", "ggn",
#: "blocks", "jacobian"; some may be left out.
Compute = Callable[..., dict[str, Any]]


def compare(
    case: Case,
    compute: Compute,
    *,
    vectors: int,
    device: Any = "cpu",
    roundings: int = ROUNDINGS,
) -> None:
    """Insist that what ``compute`` finds for a case on a device is what the reference finds.

    Args:
        case: networks and data.
        compute: called with everything on the device.
        vectors: K.
        device: where.
        roundings: units allowed.
    """
    ens, task, index = case.build()
    draw = torch.Generator().manual_seed(case.seed + 1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64).to(case.dtype)

    rows, cotangent = normal(vectors, ens.total), normal(ens.B, task.N, task.d_out)
    found = compute(
        ens.to(device=device), task.to(device=device), index, rows.to(device), cotangent.to(device)
    )
    problem, theta = upcast(problem_of(ens, task, index)), ens.theta.double()
    wanted = {
        "predict": lambda: reference.predict(theta, problem),
        "vjp": lambda: reference.predict_vjp(theta, cotangent.double(), problem),
        "loss": lambda: reference.loss(theta, problem),
        "loss beside grad": lambda: reference.loss(theta, problem),
        "grad": lambda: reference.loss_and_grad(theta, problem)[1],
        "hvp": lambda: reference.hvp(theta, rows.double(), problem),
        "ggn_vp": lambda: reference.ggn_vp(theta, rows.double(), problem),
        "hessian": lambda: reference.hessian(theta, problem),
        "ggn": lambda: reference.hessian(theta, problem, ggn=True),
        "blocks": lambda: reference.hessian_blocks(theta, problem),
        "jacobian": lambda: reference.jacobian(theta, problem),
    }
    expected = {name: wanted[name]() for name in found}
    for b in range(ens.B):
        size = Magnitudes(ens, task, b, int(index[b]))
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        free = ens.state[span] == 1
        # A row sum of the absolute terms bounds each entry of a row of the Hessian.
        bars: dict[str, Any] = {
            "predict": size.f,
            "loss": size.loss,
            "loss beside grad": size.loss,
            "grad": size.gradient(),
            "vjp": size.pull(cotangent[b].double().abs()),
            "hessian": size.product(torch.ones(free.shape))[free][:, None],
            "jacobian": size.pull(torch.ones_like(size.f))[free],
        }
        for name, value in found.items():
            if name in ("grad", "vjp"):
                close(name, value[span], expected[name][span], bars[name], case.dtype, roundings)
                # Constants: results are exactly 0 there.
                assert not value[span].cpu()[~free].any(), name
            elif name in ("hvp", "ggn_vp"):
                for k in range(vectors):
                    bar = size.product(rows[k, span] * free)
                    close(name, value[k, span], expected[name][k, span], bar, case.dtype, roundings)
                    assert not value[k, span].cpu()[~free].any(), name
            elif name in ("hessian", "ggn"):
                close(name, value[b], expected[name][b], bars["hessian"], case.dtype, roundings)
                assert torch.equal(value[b], value[b].T), name
            elif name == "blocks":
                at = 0
                for block, other in zip(value[b], expected[name][b], strict=True):
                    stop = at + other.shape[0]
                    close(name, block, other, bars["hessian"][at:stop], case.dtype, roundings)
                    at = stop
                assert len(value[b]) == ens.depth + 1
            else:
                close(name, value[b], expected[name][b], bars[name], case.dtype, roundings)


def going_round(activation: str, depth: int, loss: str, turn: int, dtype: torch.dtype) -> Case:
    """A case for each activation, depth and loss, going round the masks, shapes and data."""
    spin = 7 * list(ACTIVATION_CODES).index(activation) + 3 * depth + 5 * turn
    return Case(
        activation,
        loss,
        dtype,
        hidden=((5, 3, 4)[:depth], (2, 6, 3)[:depth]),
        d_in=(2, 9, 4)[spin % 3],
        d_out=(2, 3)[turn] if LOSSES[loss].shifts else (1, 3)[turn],
        bias=spin % 4 > 0,
        masks=MASKS[spin % len(MASKS)],
        samples=8 + spin % 17,
        targets=1 + spin % 2,
        own_inputs=spin % 3 == 0,
        weighted=spin % 5 == 0,
        seed=spin,
    )


def wide_case(masks: str, dtype: torch.dtype) -> Case:
    """Layers wider and more samples than one register tile or block of samples."""
    return Case(
        "softplus", dtype=dtype, hidden=((72, 43),), d_in=19, d_out=3, masks=masks, samples=200
    )


@st.composite
def any_case(draw: Any, networks: int = 3) -> Case:
    """A random `Case` of at most so many networks."""
    depth = draw(st.integers(1, 3))
    width = st.integers(1, 10 if depth == 1 else 5)
    loss = draw(st.sampled_from(list(LOSSES)))
    return Case(
        activation=draw(st.sampled_from(list(ACTIVATION_CODES))),
        loss=loss,
        dtype=draw(st.sampled_from([torch.float64, torch.float32])),
        hidden=tuple(draw(st.lists(st.tuples(*[width] * depth), min_size=1, max_size=networks))),
        d_in=draw(st.integers(1, 10)),
        d_out=draw(st.integers(2 if LOSSES[loss].shifts else 1, 4)),
        bias=draw(st.booleans()),
        masks=draw(st.sampled_from(MASKS)),
        samples=draw(st.integers(1, 40)),
        targets=draw(st.integers(1, 3)),
        own_inputs=draw(st.booleans()),
        one_target=draw(st.booleans()),
        weighted=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )
