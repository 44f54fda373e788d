"""Chains of stages given as torch modules, as lists of layers and back.

What `edt.landscape.layers` is for `edt.Ensemble`, for networks of modules: a `torch.nn.Sequential`
of convolutions and linear layers with one activation, pooling and flattening between two of them. A
**unit** is an output channel of a convolution or an output of a linear layer. A channel has many
output weights, one a tap: ``[out, in, kh, kw]`` of a convolution, ``[out, channels, positions]`` of
a linear layer behind `torch.nn.Flatten`; so in either kind of networks axis 1 of a layer's weight
counts the units of the layer before.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from edt.ensemble import Ensemble, ModuleEnsemble
from edt.ensemble.activations import name_of
from edt.ensemble.kinds import Networks, as_networks
from edt.errors import ShapeError
from edt.landscape.layers import Layer, Network, pack, unpack

__all__ = ["Stage", "hidden_widths", "layers_of", "networks_of", "sample_shaped"]

POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d, nn.AdaptiveMaxPool2d)
SILENT = (nn.Flatten, nn.Identity)


@dataclass
class Stage(Layer):
    """A convolution or linear layer of a module, with what stands before it.

    Attributes:
        name: of the layer in its module.
        skeleton: the whole module; its numbers do not matter.
        before: stages between the layer before and this one, in order.
    """

    name: str
    skeleton: nn.Module
    before: tuple[nn.Module, ...]

    @property
    def module(self) -> Any:
        """The layer; its numbers do not matter."""
        return self.skeleton.get_submodule(self.name)

    def activation(self, networks: str) -> Callable[[torch.Tensor], torch.Tensor]:
        """See `edt.landscape.layers.Layer.activation`."""
        return self._acting

    def activation_name(self, networks: str) -> str:
        """See `edt.landscape.layers.Layer.activation_name`."""
        return name_of(self._acting)

    @property
    def _acting(self) -> nn.Module:
        acting = (stage for stage in self.before if not isinstance(stage, (*POOLS, *SILENT)))
        return next(acting, nn.Identity())

    @property
    def pools(self) -> tuple[nn.Module, ...]:
        """The pooling among what stands before."""
        return tuple(stage for stage in self.before if isinstance(stage, POOLS))

    @property
    def kinked(self) -> bool:  # type: ignore[override]
        """Whether maxima are taken before the layer: equal values make a kink."""
        return any(isinstance(stage, (nn.MaxPool2d, nn.AdaptiveMaxPool2d)) for stage in self.pools)

    @property
    def margins(self) -> bool:  # type: ignore[override]
        """Whether some taps miss the input at some positions."""
        return isinstance(self.module, nn.Conv2d) and any(_margins(self.module))

    def enter(self, z: torch.Tensor, networks: str) -> torch.Tensor:
        """See `edt.landscape.layers.Layer.enter`."""
        for stage in self.before:
            z = stage(z)
        return z

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, in, H, W] -> [N, out, H', W']``, or ``[N, in] -> [N, out]``."""
        if isinstance(self.module, nn.Conv2d):
            return F.conv2d(x, self.weight, self.bias, self.module.stride, self.module.padding)
        return F.linear(x, self.weight.flatten(1), self.bias)

    def patches(self, inputs: torch.Tensor) -> torch.Tensor:
        """See `edt.landscape.layers.Layer.patches`: one row a sample and position."""
        if isinstance(self.module, nn.Conv2d):
            layer = self.module
            found = F.unfold(
                inputs, layer.kernel_size, padding=_margins(layer), stride=layer.stride
            )
            return found.transpose(1, 2).flatten(0, 1)
        return inputs

    def upstream(self, slope: torch.Tensor, z: torch.Tensor, networks: str) -> torch.Tensor:
        """See `edt.landscape.layers.Layer.upstream`; ``z`` is ``[N, H, W]`` or ``[N]``.

        A tap reads one position (or what pooling made of several): the derivative of the loss in
        the next pre-activation, spread by the tap, then pulled back through the pooling.
        """
        out = slope.shape[1]
        if z.dim() == 1:
            return slope
        with torch.enable_grad():
            values = self.activation(networks)(z[:, None])
            pooled = values
            for pool in self.pools:
                pooled = pool(pooled)
            rows, columns = pooled.shape[2:]
            spread = self._spread(slope, rows, columns)
            many = values.detach().expand(-1, spread.shape[1], -1, -1).clone().requires_grad_(True)
            pooled = many
            for pool in self.pools:
                pooled = pool(pooled)
            if self.pools:
                (spread,) = torch.autograd.grad(pooled, many, spread)
        assert spread.shape[1] % out == 0
        return spread.movedim(1, -1).flatten(0, 2)

    def _spread(self, slope: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """dL/d(input value) ``[N, out * taps, rows, columns]`` through each tap at weight 1."""
        samples, out = slope.shape[:2]
        if isinstance(self.module, nn.Linear):
            eye = torch.eye(rows * columns, dtype=slope.dtype).view(-1, rows, columns)
            return (slope[:, :, None, None, None] * eye).flatten(1, 2)
        kernel = self.module.kernel_size
        taps = kernel[0] * kernel[1]
        eye = torch.eye(taps, dtype=slope.dtype).view(1, taps, *kernel)
        each = slope.flatten(0, 1)[:, None]
        size = (samples * out, taps, rows, columns)
        found: torch.Tensor = conv2d_input(  # type: ignore[no-untyped-call]
            size, eye, each, stride=self.module.stride, padding=_margins(self.module)
        )
        return found.view(samples, out * taps, rows, columns)


def layers_of(networks: Networks, b: int) -> Network:
    """Network b as copies of its layers, of either kind of networks.

    Raises:
        TypeError: a module that is no chain of such stages; names the stage.
    """
    if isinstance(networks, Ensemble):
        return unpack(networks, b)
    skeleton = networks.architecture(b).skeleton
    first = int(networks.offsets[b])
    places = {block.name: block for block in networks.blocks(b)}
    found: Network = []
    before: list[nn.Module] = []
    units = 0
    for name, stage in _stages(skeleton, f"network {b}"):
        if not isinstance(stage, (nn.Conv2d, nn.Linear)):
            before.append(stage)
            continue
        parts: list[torch.Tensor | None] = []
        for short in ("weight", "bias"):
            if getattr(stage, short) is None:
                parts += [None, None]
                continue
            block = places.get(f"{name}.{short}" if name else short)
            if block is None:
                raise TypeError(f"network {b}: stage {name!r} shares its {short} with another")
            span = slice(first + block.start, first + block.stop)
            parts += [
                whole[span].detach().clone().reshape(block.shape)
                for whole in (networks.theta, networks.state)
            ]
        weight, weight_state, bias, bias_state = parts
        assert weight is not None and weight_state is not None
        if isinstance(stage, nn.Linear) and found and weight.shape[1] > units:
            weight = weight.reshape(weight.shape[0], units, -1)
            weight_state = weight_state.reshape(weight.shape)
        if found:
            _check_between(before, f"network {b}", name)
        found.append(Stage(weight, weight_state, bias, bias_state, name, skeleton, tuple(before)))
        units, before = weight.shape[0], []
    if before:
        raise TypeError(
            f"network {b}: the last stage must be a convolution or linear layer, got "
            f"{type(before[-1]).__name__}"
        )
    return found


def networks_of(made: Sequence[Network], like: Networks) -> Any:
    """Networks of the given layers, of the kind, dtype and device of ``like``."""
    if isinstance(like, Ensemble):
        return pack(made, like)
    modules, states = [], []
    for layers in made:
        module = copy.deepcopy(layers[0].skeleton)  # type: ignore[attr-defined]
        named: dict[str, torch.Tensor] = {}
        for stage in layers:
            assert isinstance(stage, Stage)
            layer = module.get_submodule(stage.name)
            _fill(layer, stage)
            lead = f"{stage.name}." if stage.name else ""
            named[f"{lead}weight"] = stage.weight_state
            if stage.bias_state is not None:
                named[f"{lead}bias"] = stage.bias_state
        modules.append(module)
        states.append(named)
    grown = ModuleEnsemble(modules, input_shape=like.input_shape)
    state = [states[b][block.name].reshape(-1) for b in range(grown.B) for block in grown.blocks(b)]
    return grown.with_state(torch.cat(state))


def hidden_widths(networks: Any, name: str = "ens") -> torch.Tensor:
    """int64 ``[B, depth]``: units of each hidden layer, channels of a convolution among them.

    Raises:
        TypeError: no networks, or modules that are no chains. ShapeError: of several depths.
    """
    networks = as_networks(networks, name)
    if isinstance(networks, Ensemble):
        return networks.layer_widths[:, 1:-1].cpu()
    rows: list[list[int]] = [[]] * networks.B
    for _, members in networks.groups():
        row = [int(layer.weight.shape[0]) for layer in layers_of(networks, int(members[0]))[:-1]]
        for b in members.tolist():
            rows[b] = row
    depths = {len(row) for row in rows}
    if len(depths) > 1:
        raise ShapeError(f"{name} must have one number of hidden layers, got {sorted(depths)}")
    return torch.tensor(rows, dtype=torch.int64).reshape(networks.B, -1)


def sample_shaped(networks: Networks, x: torch.Tensor) -> torch.Tensor:
    """Inputs ``[N, ...]`` of a task in the shape that the networks take."""
    shape = getattr(networks, "input_shape", None)
    return x if shape is None else x.reshape(x.shape[0], *shape)


def _stages(module: nn.Module, where: str, name: str = "") -> list[tuple[str, nn.Module]]:
    """(name, stage) of a Sequential's stages in order."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        return [
            one
            for short, child in module._modules.items()
            if child is not None
            for one in _stages(child, where, f"{name}.{short}" if name else short)
        ]
    if not _known(module):
        raise TypeError(
            f"{where}: stage {name!r} is {module}; units are defined for chains (nn.Sequential) of "
            "Conv2d (no dilation, one group, zeros as margins), Linear, pooling of whole images, "
            "Flatten and the activations of edt only"
        )
    return [(name, module)]


def _known(module: Any) -> bool:
    if type(module) is nn.Conv2d:
        zeros = module.padding_mode == "zeros" and module.padding != "same"
        return module.dilation == (1, 1) and module.groups == 1 and zeros
    if type(module) is nn.Flatten:
        return bool(module.start_dim == 1 and module.end_dim == -1)
    if type(module) in (nn.Linear, nn.Identity, *POOLS):
        return not getattr(module, "return_indices", False)
    try:
        name_of(module)
    except ValueError:
        return False
    return not getattr(module, "inplace", False)


def _check_between(before: Sequence[nn.Module], where: str, name: str) -> None:
    """At most one activation, and pooling behind it."""
    kinds = [stage for stage in before if not isinstance(stage, SILENT)]
    acting = [stage for stage in kinds if not isinstance(stage, POOLS)]
    if len(acting) > 1 or (acting and kinds[0] is not acting[0]):
        words = ", ".join(type(stage).__name__ for stage in kinds)
        raise TypeError(
            f"{where}: before stage {name!r} must stand at most one activation, then pooling, got "
            f"{words}"
        )


def _margins(layer: nn.Conv2d) -> tuple[int, int]:
    padding: Any = (0, 0) if layer.padding == "valid" else layer.padding
    return padding[0], padding[1]


def _fill(layer: Any, stage: Stage) -> None:
    """Give a layer the sizes and numbers of a stage."""
    weight = stage.weight.flatten(1) if isinstance(layer, nn.Linear) else stage.weight
    sizes = ("out_features", "in_features")
    for name, size in zip(
        sizes if isinstance(layer, nn.Linear) else ("out_channels", "in_channels"),
        weight.shape[:2],
        strict=True,
    ):
        setattr(layer, name, int(size))
    layer.weight = nn.Parameter(weight.detach().clone())
    if stage.bias is not None:
        layer.bias = nn.Parameter(stage.bias.detach().clone())
