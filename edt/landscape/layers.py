"""Networks of an ensemble as lists of layers, and back: what embeddings and twins work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch

from edt.ensemble import Ensemble
from edt.ensemble.kinds import chains
from edt.ops.activations import ACTIVATION_FUNCTIONS
from edt.ops.losses import LOSSES
from edt.tasks import Task

#: The activations in plain PyTorch.
ACTIVATIONS = ACTIVATION_FUNCTIONS


@dataclass
class Layer:
    """One affine layer: ``z = W x + b`` and, entry for entry, its state (0, 1 or 2).

    Attributes:
        weight, weight_state: ``[out, in]``, the ensemble's dtype and uint8.
        bias, bias_state: ``[out]``, or None without biases.
    """

    weight: torch.Tensor
    weight_state: torch.Tensor
    bias: torch.Tensor | None
    bias_state: torch.Tensor | None

    #: Whether some weights miss the input at some positions.
    margins: ClassVar[bool] = False
    #: Whether maxima are taken before the layer.
    kinked: ClassVar[bool] = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, in] -> [N, out]``."""
        z: torch.Tensor = x @ self.weight.T
        return z if self.bias is None else z + self.bias

    def activation_name(self, networks: str) -> str:
        """Its name; ``networks`` is theirs."""
        return networks

    def activation(self, networks: str) -> Callable[[torch.Tensor], torch.Tensor]:
        """What the pre-activations of the layer before go through; ``networks`` names theirs."""
        return ACTIVATIONS[networks]

    def enter(self, z: torch.Tensor, networks: str) -> torch.Tensor:
        """Pre-activations of the layer before -> inputs of this one."""
        return self.activation(networks)(z)

    def patches(self, inputs: torch.Tensor) -> torch.Tensor:
        """What a unit's weights are multiplied with: ``[R, in]``, a row a sample (and position)."""
        return inputs

    def upstream(self, slope: torch.Tensor, z: torch.Tensor, networks: str) -> torch.Tensor:
        """``[R, K]``: dL/d(output of a unit of the layer before) through each output weight, at 1.

        Args:
            slope: ``[N, out, ...]``, dL/dz of this layer.
            z: ``[N, ...]``, pre-activations of the unit.
            networks: their activation.
        """
        return slope


Network = list[Layer]


def unpack(ens: Ensemble, b: int) -> Network:
    """Network b as copies of its layers."""
    sizes = chains(ens, "what looks at single neurons", "ens").layer_widths[b].tolist()
    at = int(ens.offsets[b])
    layers: Network = []
    for fan_in, fan_out in pairwise(sizes):
        count = fan_in * fan_out
        weight = ens.theta[at : at + count].detach().clone().reshape(fan_out, fan_in)
        state = ens.state[at : at + count].clone().reshape(fan_out, fan_in)
        at += count
        bias = bias_state = None
        if ens.has_bias:
            bias = ens.theta[at : at + fan_out].detach().clone()
            bias_state = ens.state[at : at + fan_out].clone()
            at += fan_out
        layers.append(Layer(weight, state, bias, bias_state))
    return layers


def pack(networks: Sequence[Network], like: Ensemble) -> Ensemble:
    """Ensemble of the given networks, with the activation, biases and dtype of ``like``."""
    theta: list[torch.Tensor] = []
    state: list[torch.Tensor] = []
    for layers in networks:
        for layer in layers:
            theta.append(layer.weight.reshape(-1))
            state.append(layer.weight_state.reshape(-1))
            if layer.bias is not None and layer.bias_state is not None:
                theta.append(layer.bias)
                state.append(layer.bias_state)
    return Ensemble(
        [tuple(int(layer.weight.shape[0]) for layer in layers[:-1]) for layers in networks],
        int(networks[0][0].weight.shape[1]),
        int(networks[0][-1].weight.shape[0]),
        activation=like.activation,
        bias=like.has_bias,
        dtype=like.dtype,
        theta=torch.cat(theta),
        state=torch.cat(state),
    )


def run(
    layers: Network, activation: str, x: torch.Tensor
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Forward pass in plain PyTorch.

    Returns:
        inputs ``[N, in]`` and pre-activations ``[N, out]`` of every layer; the last pre-activation
        is the output.
    """
    inputs, before = [x], [layers[0].forward(x)]
    for layer in layers[1:]:
        inputs.append(layer.enter(before[-1], activation))
        before.append(layer.forward(inputs[-1]))
    return inputs, before


def along(values: torch.Tensor, weight: torch.Tensor, axis: int) -> torch.Tensor:
    """Numbers of units in the shape that multiplies a weight whose ``axis`` counts them."""
    return values.reshape([-1 if k == axis else 1 for k in range(weight.dim())])


def total(column: torch.Tensor) -> torch.Tensor:
    """``[out, ...] -> [out]``: what a unit that is 1 everywhere adds to the next layer."""
    return column if column.dim() == 1 else column.flatten(1).sum(1)


def target_of(task: Task, t: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs ``[N, d_in]``, targets and coefficients ``[N]`` of the task's target t."""
    x = task.x if task.x.dim() == 2 else task.x[t]
    y = task.y
    per_target = y.dim() > LOSSES[task.loss].dims
    return x, (y[t] if per_target else y), task.coef[t]


def loss_of(task: Task, output: torch.Tensor, y: torch.Tensor, coef: torch.Tensor) -> torch.Tensor:
    """``sum_n c_n l(f_n, y_n)``, a scalar, differentiable in the output ``[N, d_out]``."""
    return (coef * LOSSES[task.loss].sample(output, y)).sum()


def derivatives(
    activation: str | Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """First and second derivative of the activation (a name or a function) at ``z``."""
    function = ACTIVATIONS[activation] if isinstance(activation, str) else activation
    with torch.enable_grad():
        leaf = z.detach().clone().requires_grad_(True)
        (first,) = torch.autograd.grad(function(leaf).sum(), leaf, create_graph=True)
        if not first.requires_grad:
            return first.detach(), torch.zeros_like(z)
        (second,) = torch.autograd.grad(first.sum(), leaf, allow_unused=True)
    return first.detach(), torch.zeros_like(z) if second is None else second
