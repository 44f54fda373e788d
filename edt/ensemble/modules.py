"""Networks to and from `torch.nn.Sequential`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from edt.ensemble.activations import activation_module, name_of
from edt.ensemble.masks import FROZEN, PRUNED, TRAINABLE

if TYPE_CHECKING:
    from edt.ensemble.container import Ensemble

__all__ = ["Parts", "read_modules", "state_dict", "write_module"]


@dataclass
class Parts:
    """What `Ensemble` is built from, as read off modules."""

    widths: list[tuple[int, ...]]
    d_in: int
    d_out: int
    activation: str
    bias: bool
    theta: torch.Tensor
    state: torch.Tensor


@dataclass
class _Affine:
    """Weight, bias and their states; bias None where the module has none."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    weight_state: torch.Tensor
    bias_state: torch.Tensor | None


def read_modules(modules: Any) -> Parts:
    """Read B modules of equal depth, activation, dtype, input and output size.

    Raises:
        TypeError: not modules. ValueError: none, or a structure an ensemble cannot hold.
    """
    if isinstance(modules, nn.Module) or not isinstance(modules, Iterable):
        raise TypeError(f"modules must be a list of torch.nn.Module, got {type(modules).__name__}")
    read = [_read(f"modules[{b}]", module) for b, module in enumerate(modules)]
    if not read:
        raise ValueError("modules must hold at least one module, got none")
    layers0, activation = read[0]
    first = (len(layers0), activation, *_ends(layers0), layers0[0].weight.dtype)
    for b, (layers, name) in enumerate(read):
        found = (len(layers), name, *_ends(layers), layers[0].weight.dtype)
        what = ("number of layers", "activation", "input size", "output size", "dtype")
        for label, mine, theirs in zip(what, found, first, strict=True):
            if mine != theirs:
                raise ValueError(
                    f"modules must agree in {label}: modules[0] has {theirs}, "
                    f"modules[{b}] has {mine}"
                )
    has_bias = any(layer.bias is not None for layers, _ in read for layer in layers)
    theta: list[torch.Tensor] = []
    state: list[torch.Tensor] = []
    for layers, _ in read:
        for layer in layers:
            theta.append(layer.weight.reshape(-1))
            state.append(layer.weight_state.reshape(-1))
            if has_bias:
                # A layer without a bias among others with one: its bias is pruned.
                rows = layer.weight.shape[0]
                theta.append(layer.weight.new_zeros(rows) if layer.bias is None else layer.bias)
                state.append(
                    torch.full((rows,), PRUNED, dtype=torch.uint8)
                    if layer.bias_state is None
                    else layer.bias_state
                )
    d_in, d_out = _ends(layers0)
    return Parts(
        widths=[tuple(layer.weight.shape[0] for layer in layers[:-1]) for layers, _ in read],
        d_in=d_in,
        d_out=d_out,
        activation=activation,
        bias=has_bias,
        theta=torch.cat(theta),
        state=torch.cat(state),
    )


def write_module(ens: Ensemble, b: int) -> nn.Sequential:
    """Network b as a `torch.nn.Sequential` with its own copy of the parameters."""
    modules: list[nn.Module] = []
    for layer in range(ens.depth + 1):
        weight = ens.weight(b, layer).detach()
        linear = nn.Linear(
            weight.shape[1],
            weight.shape[0],
            bias=ens.has_bias,
            dtype=ens.dtype,
            device=ens.device,
        )
        _write(linear, "weight", weight, ens.layout.weight(ens.state, b, layer))
        if ens.has_bias:
            _write(
                linear, "bias", ens.bias(b, layer).detach(), ens.layout.bias(ens.state, b, layer)
            )
        modules.append(linear)
        if layer < ens.depth:
            modules.append(activation_module(ens.activation))
    return PrunedSequential(*modules)


class PrunedSequential(nn.Sequential):
    """A `torch.nn.Sequential` whose pruned layers can be copied and take plain state dicts.

    `torch.nn.utils.prune` keeps a pruned ``weight`` as ``weight_orig`` times ``weight_mask``, made
    anew in every forward pass: a tensor with a graph, which torch refuses to copy, under names that
    a state dict of the network does not have.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> PrunedSequential:
        for layer, name in self._pruned():
            setattr(layer, name, getattr(layer, name).detach())
        out = type(self).__new__(type(self))
        memo[id(self)] = out
        out.__dict__ = copy.deepcopy(self.__dict__, memo)
        for made in (self, out):
            made._refresh()
        return out

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As of every module; "0.weight" of a pruned layer is taken under the layer's own mask.

        What a pruned network saved is taken by one that is not: values and zeros, no mask.
        """
        given = dict(state_dict)
        for place, layer in self._modules.items():
            for name in ("weight", "bias"):
                plain = f"{place}.{name}"
                if not hasattr(layer, f"{name}_mask") and f"{plain}_mask" in given:
                    given[plain] = given.pop(f"{plain}_orig") * given.pop(f"{plain}_mask")
                elif hasattr(layer, f"{name}_mask") and plain in given:
                    given[f"{plain}_orig"] = given.pop(plain)
                    given.setdefault(f"{plain}_mask", getattr(layer, f"{name}_mask"))
        found = super().load_state_dict(given, strict, assign)
        self._refresh()
        return found

    def _get_name(self) -> str:
        return "Sequential"

    def _pruned(self) -> list[tuple[nn.Module, str]]:
        return [
            (layer, name)
            for layer in self
            for name in ("weight", "bias")
            if hasattr(layer, f"{name}_mask")
        ]

    def _refresh(self) -> None:
        """Pruned parameters from what they are made of, as the next forward pass would."""
        for layer, name in self._pruned():
            value = getattr(layer, f"{name}_orig") * getattr(layer, f"{name}_mask")
            setattr(layer, name, value)


def state_dict(ens: Ensemble, b: int) -> dict[str, torch.Tensor]:
    """Copies of network b's parameters under the names they have in its `torch.nn.Sequential`."""
    out = {}
    for layer in range(ens.depth + 1):
        out[f"{2 * layer}.weight"] = ens.weight(b, layer).detach().clone()
        if ens.has_bias:
            out[f"{2 * layer}.bias"] = ens.bias(b, layer).detach().clone()
    return out


def _write(linear: nn.Linear, name: str, value: torch.Tensor, state: torch.Tensor) -> None:
    parameter = getattr(linear, name)
    with torch.no_grad():
        parameter.copy_(value)
    if bool((state == FROZEN).any()) and not bool((state == TRAINABLE).any()):
        parameter.requires_grad_(False)
    if bool((state == PRUNED).any()):
        mask = (state != PRUNED).to(value.dtype)
        prune.custom_from_mask(linear, name, mask)  # type: ignore[no-untyped-call]


def _flatten(name: str, module: Any) -> list[nn.Module]:
    if not isinstance(module, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, got {type(module).__name__}")
    if isinstance(module, nn.Sequential):
        return [leaf for child in module for leaf in _flatten(name, child)]
    return [module]


#: What holds a module that is no chain of one activation.
ELSEWHERE = "edt.ModuleEnsemble holds any module"
#: Dictionaries of hooks that may change what a module computes or learns.
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _check_plain(name: str, module: nn.Module) -> None:
    """Refuse what would be misread: modules that compute something else than their layers say.

    Raises:
        ValueError: names the part and what can hold it.
    """
    seen: dict[int, str] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        where = f"{name}.{path}" if path else name
        for kind in (nn.Sequential, nn.Linear):
            if isinstance(part, kind) and (
                type(part).forward is not kind.forward or "forward" in vars(part)
            ):
                raise ValueError(
                    f"{where} is a {kind.__name__} with a forward of its own "
                    f"({type(part).__name__}); {ELSEWHERE}"
                )
        if parametrize.is_parametrized(part):
            raise ValueError(
                f"{where} has parametrised parameters; make them plain by "
                f"torch.nn.utils.parametrize.remove_parametrizations, or: {ELSEWHERE}"
            )
        for hooks in _HOOKS:
            for hook in getattr(part, hooks).values():
                if not isinstance(hook, prune.BasePruningMethod):
                    kind_of = getattr(hook, "__qualname__", type(hook).__name__)
                    raise ValueError(f"{where} has a hook ({kind_of}); {ELSEWHERE}")
        for short, value in part._parameters.items():
            label = f"{where}.{short}"
            if value is not None and seen.setdefault(id(value), label) != label:
                raise ValueError(
                    f"{label} is {seen[id(value)]} once more: shared parameters would come "
                    f"apart; {ELSEWHERE}"
                )


def _read(name: str, module: Any) -> tuple[list[_Affine], str]:
    leaves = _flatten(name, module)
    _check_plain(name, module)
    linear = [k for k, leaf in enumerate(leaves) if isinstance(leaf, nn.Linear)]
    if len(linear) < 2 or linear[0] != 0 or linear[-1] != len(leaves) - 1:
        raise ValueError(
            f"{name} must be Linear, activation, ..., Linear with at least one hidden layer, "
            f"got {', '.join(type(leaf).__name__ for leaf in leaves) or 'nothing'}; {ELSEWHERE}"
        )
    names = set()
    for left, right in pairwise(linear):
        between = leaves[left + 1 : right]
        if len(between) > 1:
            raise ValueError(
                f"{name} must have one activation between Linear layers, got "
                f"{', '.join(type(leaf).__name__ for leaf in between)}; {ELSEWHERE}"
            )
        try:
            names.add(name_of(between[0]) if between else "identity")
        except ValueError as error:
            raise ValueError(f"{name}: {error}; {ELSEWHERE}") from None
    if len(names) > 1:
        raise ValueError(
            f"{name} must have the same activation in all hidden layers, got "
            f"{', '.join(sorted(names))}; {ELSEWHERE}"
        )
    layers = [_affine(name, leaves[k]) for k in linear]
    for before, after in pairwise(layers):
        if before.weight.shape[0] != after.weight.shape[1]:
            raise ValueError(
                f"{name}: a layer of {before.weight.shape[0]} outputs feeds one of "
                f"{after.weight.shape[1]} inputs"
            )
    dtypes = {layer.weight.dtype for layer in layers}
    if len(dtypes) > 1:
        raise ValueError(f"{name} must have one dtype, got {', '.join(map(str, dtypes))}")
    return layers, names.pop()


def _affine(name: str, linear: nn.Module) -> _Affine:
    weight, weight_state = _tensor(linear, "weight")
    bias, bias_state = _tensor(linear, "bias")
    if weight is None or weight_state is None:
        raise ValueError(f"{name}: a Linear layer without a weight")
    return _Affine(weight, bias, weight_state, bias_state)


def _tensor(linear: nn.Module, name: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """A parameter and its state; one pruned by `torch.nn.utils.prune` is ``name_orig * mask``."""
    original = getattr(linear, f"{name}_orig", None)
    parameter = getattr(linear, name) if original is None else original
    if parameter is None:
        return None, None
    kind = TRAINABLE if parameter.requires_grad else FROZEN
    value = parameter.detach()
    state = torch.full(value.shape, kind, dtype=torch.uint8)
    if original is not None:
        mask = getattr(linear, f"{name}_mask")
        state[mask.cpu() == 0] = PRUNED
        value = value * mask
    return value, state


def _ends(layers: Sequence[_Affine]) -> tuple[int, int]:
    return int(layers[0].weight.shape[1]), int(layers[-1].weight.shape[0])
