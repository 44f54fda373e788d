"""Random ensembles with their data, and how large rounding errors may be on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from edt import _core
from edt.ensemble import Ensemble
from edt.ops.activations import ACTIVATION_FUNCTIONS
from edt.tasks import Task

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


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Reference loops run many tiny torch operations, which threads only slow down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=_core.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set of this machine in turn."""
    before = _core.isa()
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(before)


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
        if self.loss == "mse":
            y = normal(*each, self.samples, self.d_out)
            task = Task(x.to(self.dtype), y.to(self.dtype), weights=weights)
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
        self.f, self.entropy = bar, task.loss == "cross_entropy"
        if self.entropy:
            # Probabilities are at most 1; an error e in the outputs changes them by a factor 1 + e.
            top = 1 + bar.amax(-1, keepdim=True)
            self.loss = float((self.coef * (2 * top + bar.shape[1])).sum())
            self.delta, self.curvature = self.coef * top * torch.ones_like(bar), 2 * top
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


@pytest.fixture(scope="session")
def cases() -> SimpleNamespace:
    """The helpers above."""
    return SimpleNamespace(Case=Case, MASKS=MASKS, Magnitudes=Magnitudes)
