"""Tickets to and from `torch.nn.utils.prune`.

There a pruned module keeps its dense values as ``weight_orig`` and the ticket as ``weight_mask``:
just what `Tickets` holds. `edt.Ensemble.from_modules` reads the product of both; here both survive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.utils import prune

from edt.arguments import checked
from edt.ensemble import Ensemble
from edt.ensemble.masks import TRAINABLE
from edt.lottery.tickets import Tickets


def tickets_from_modules(modules: Sequence[nn.Module]) -> Tickets:
    """Tickets from modules with masks of `torch.nn.utils.prune`.

    Args:
        modules: `torch.nn.Sequential` (nested ones too) of Linear, activation, ..., Linear;
            modules without masks are tickets that keep everything. Biases a layer lacks count as
            pruned.

    Returns:
        `Tickets`: ``start`` holds the dense values (``weight_orig``), ``keep`` the masks.

    Raises:
        TypeError, ValueError: a module an ensemble cannot hold; names it.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        >>> _ = prune.l1_unstructured(net[0], "weight", amount=0.5)
        >>> int(tickets_from_modules([net]).size[0])
        15
    """
    pruned = Ensemble.from_modules(list(modules))
    dense: list[torch.Tensor] = []
    absent: list[torch.Tensor] = []
    for module in modules:
        for layer in _linears(module):
            for name in ("weight", "bias") if pruned.has_bias else ("weight",):
                value = _original(layer, name)
                absent.append(torch.full((_count(layer, name),), value is None))
                dense.append(
                    torch.zeros(_count(layer, name), dtype=pruned.dtype)
                    if value is None
                    else value.detach().reshape(-1)
                )
    missing = torch.cat(absent)
    state = torch.full_like(pruned.state, TRAINABLE).masked_fill(missing, 0)
    start = pruned.with_state(state).with_theta(torch.cat(dense).to(pruned.dtype))
    return Tickets.of(start, pruned.masks & ~missing)


def tickets_to_modules(tickets: Tickets) -> list[nn.Sequential]:
    """Modules with the dense initial values and, where something is pruned, the ticket's masks.

    The forward pass is that of the ticket alone; ``torch.nn.utils.prune.remove`` makes it
    permanent, and training the module keeps the masks.

    Returns:
        one `torch.nn.Sequential` a ticket.
    """
    dense = tickets.start
    alone = tickets.alone()
    plain = Ensemble(
        dense.layer_widths[:, 1:-1],
        dense.d_in,
        dense.d_out,
        activation=dense.activation,
        bias=dense.has_bias,
        theta=dense.theta,
    )
    out = []
    for k in range(len(tickets)):
        module = plain.to_module(k)
        apply_masks(module, masks_of(alone, k))
        out.append(module)
    return out


def masks_of(ens: Ensemble, b: int) -> dict[str, torch.Tensor]:
    """Masks of network b under the names of its `torch.nn.Sequential`: "0.weight", "0.bias", ...

    Returns:
        name to mask of zeros and ones, the networks' dtype; only where something is pruned.
    """
    out = {}
    for layer in range(ens.depth + 1):
        parts = {"weight": ens.weight_mask(b, layer)}
        if ens.has_bias:
            parts["bias"] = ens.bias_mask(b, layer)
        for name, mask in parts.items():
            if not bool(mask.all()):
                out[f"{2 * layer}.{name}"] = mask.to(ens.dtype)
    return out


def apply_masks(module: nn.Module, masks: Mapping[str, torch.Tensor]) -> None:
    """Prune a module in place by named masks, as `torch.nn.utils.prune` would.

    Args:
        module: any module.
        masks: "path.parameter" to a mask of its shape.

    Raises:
        ValueError: no such parameter, or another shape.
    """
    parameters = dict(module.named_parameters())
    for name, mask in masks.items():
        if name not in parameters:
            raise ValueError(f"masks names {name!r}, the module has {', '.join(parameters)}")
        if mask.shape != parameters[name].shape:
            raise ValueError(
                f"masks[{name!r}] must have shape {list(parameters[name].shape)}, got "
                f"{list(mask.shape)}"
            )
        path, _, parameter = name.rpartition(".")
        prune.custom_from_mask(module.get_submodule(path), parameter, mask)  # type: ignore[no-untyped-call]


def _linears(module: nn.Module) -> list[nn.Linear]:
    return [leaf for leaf in module.modules() if isinstance(leaf, nn.Linear)]


def _original(layer: nn.Linear, name: str) -> torch.Tensor | None:
    value = getattr(layer, f"{name}_orig", None)
    found: torch.Tensor | None = getattr(layer, name) if value is None else value
    return found


def _count(layer: nn.Linear, name: str) -> int:
    return layer.out_features * (layer.in_features if name == "weight" else 1)


checked(__name__)
