"""What torch modules share when they differ in their numbers only: one computation, one layout.

A module's parameters, and the buffers that training changes (running means), lie in one flat
vector: parameters in the order of ``named_parameters()``, then floating buffers in the order of
``named_buffers()``. Tied parameters have one place. Modules of one architecture are evaluated
together; when in doubt whether two are alike, they are not.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Hashable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

from edt.ensemble.blocks import Block
from edt.ensemble.masks import FROZEN, PRUNED, TRAINABLE

__all__ = ["Architecture", "Reading", "read_module"]

#: What every module has, or what holds tensors: not part of what it computes.
_BOOKKEEPING = frozenset(nn.Module().__dict__) - {
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
}
_PLAIN: tuple[Any, ...] = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    torch.dtype,
    torch.device,
    type,
)


class Reading:
    """One module, read: its architecture, its numbers and what may change of them.

    Attributes:
        architecture: of the module.
        theta: ``[P]``, parameters and floating buffers.
        state: uint8 ``[P]``: 0 pruned, 1 trainable, 2 frozen (buffers are).
    """

    def __init__(
        self, architecture: Architecture, theta: torch.Tensor, state: torch.Tensor
    ) -> None:
        self.architecture, self.theta, self.state = architecture, theta, state


class Architecture:
    """The computation of a module without its numbers.

    Args:
        module: a copy that nobody else holds.

    Attributes:
        blocks: of the flat vector, in order.
        size: length P of a network's flat vector.
        key: equal for modules that compute the same function of their numbers.
        signature: a digest of names and shapes, the same in every process (for files).
    """

    def __init__(self, module: nn.Module) -> None:
        self.skeleton = module
        owners = dict(module.named_modules())
        blocks: list[Block] = []
        at = 0
        for name, value in module.named_parameters():
            blocks.append(Block(name, tuple(value.shape), _role(owners, name, value), at))
            at += blocks[-1].size
        for name, buffer in module.named_buffers():
            if _changes(name, buffer):
                blocks.append(Block(name, tuple(buffer.shape), "buffer", at))
                at += blocks[-1].size
        self.blocks: tuple[Block, ...] = tuple(blocks)
        self.size = at
        self.kinds = {
            **{name: value.dtype for name, value in module.named_parameters()},
            **{name: value.dtype for name, value in module.named_buffers()},
        }
        self.key: Hashable = _key(module)
        text = repr([(block.name, block.shape, block.role) for block in blocks])
        self.signature = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._elsewhere: dict[torch.device, nn.Module] = {torch.device("cpu"): module}

    def module_on(self, device: torch.device) -> nn.Module:
        """The module for `torch.func.functional_call` on a device: constants lie there."""
        if device not in self._elsewhere:
            self._elsewhere[device] = copy.deepcopy(self.skeleton).to(device)
        return self._elsewhere[device]

    def tensors(self, flat: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """(parameters, buffers) by name: views of ``flat`` ``[P]``, buffers as copies."""
        parameters, buffers = {}, {}
        # One operation for all: the derivative of a slice fills a whole vector with zeros.
        parts = torch.split(flat, [block.size for block in self.blocks])
        for block, part in zip(self.blocks, parts, strict=True):
            value = part.view(block.shape)
            if block.role == "buffer":
                buffers[block.name] = value.detach().to(self._kind(block, flat), copy=True)
            else:
                parameters[block.name] = value
        return parameters, buffers

    def _kind(self, block: Block, flat: torch.Tensor) -> torch.dtype:
        kind = self.kinds[block.name]
        return flat.dtype if kind.is_floating_point else kind

    def write(self, flat: torch.Tensor, state: torch.Tensor) -> nn.Module:
        """A module of its own with these numbers; masks as `torch.nn.utils.prune` makes them."""
        module = copy.deepcopy(self.skeleton).to(flat.device, flat.dtype)
        parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
        owners = dict(module.named_modules())
        with torch.no_grad():
            for block in self.blocks:
                value = flat[block.span].view(block.shape)
                place = buffers if block.role == "buffer" else parameters
                place[block.name].copy_(value)
        for block in self.blocks:
            if block.role == "buffer":
                continue
            mine = state[block.span].view(block.shape)
            parameter = parameters[block.name]
            parameter.requires_grad_(bool((mine == TRAINABLE).any()))
            if bool((mine == PRUNED).any()):
                parent, _, name = block.name.rpartition(".")
                mask = (mine != PRUNED).to(flat.dtype)
                prune.custom_from_mask(owners[parent], name, mask)  # type: ignore[no-untyped-call]
                detached = getattr(owners[parent], name).detach()
                owners[parent].__dict__[name] = detached  # a leaf: the module can be copied
        return module

    def __repr__(self) -> str:
        return f"Architecture({type(self.skeleton).__name__}, {self.size:,} parameters)"


def read_module(name: str, module: Any) -> Reading:
    """Read one module; it is not changed.

    Args:
        name: of the argument, for messages.
        module: any module whose parameters are float32 or float64 (one dtype, one device).

    Raises:
        TypeError: no module, or lazy or unlike parameters. ValueError: no parameters.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, got {type(module).__name__}")
    copied = _copy(name, module)
    pruned = _unprune(copied)
    values = list(copied.named_parameters())
    if not values:
        raise ValueError(f"{name} must have parameters, got a {type(module).__name__} without any")
    for label, value in values:
        if isinstance(value, nn.parameter.UninitializedParameter):
            raise TypeError(f"{name}: {label} is lazy; call the module once to give it a shape")
        if value.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"{name}: {label} must be float32 or float64, got {value.dtype}; convert by "
                "module.float() or module.double()"
            )
        if value.dtype != values[0][1].dtype or value.device != values[0][1].device:
            raise TypeError(
                f"{name} must have one dtype and device, {values[0][0]} has {values[0][1].dtype} "
                f"on {values[0][1].device}, {label} has {value.dtype} on {value.device}"
            )
    dtype, device = values[0][1].dtype, values[0][1].device
    found: dict[str, torch.Tensor] = {**dict(values), **dict(copied.named_buffers())}
    architecture = Architecture(copied.cpu())
    theta = torch.empty(architecture.size, dtype=dtype, device=device)
    state = torch.full((architecture.size,), TRAINABLE, dtype=torch.uint8, device=device)
    for block in architecture.blocks:
        number = found[block.name]
        theta[block.span] = number.detach().reshape(-1).to(dtype)
        if block.role == "buffer" or not number.requires_grad:
            state[block.span] = FROZEN
        mask = pruned.get(block.name)
        if mask is not None:
            state[block.span] = state[block.span].masked_fill(mask.reshape(-1) == 0, PRUNED)
    return Reading(architecture, theta.masked_fill(state == PRUNED, 0.0), state)


def _copy(name: str, module: nn.Module) -> nn.Module:
    """A deep copy; values that hooks derive from parameters (old weight norm) are cut off."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        copied: nn.Module = copy.deepcopy(module, memo)
    except (RuntimeError, TypeError) as error:
        raise TypeError(f"{name} cannot be copied ({error}); give a module that can") from None
    return copied


def _unprune(module: nn.Module) -> dict[str, torch.Tensor]:
    """Turn `torch.nn.utils.prune`'s masks into zeros; returns them by the parameter's name."""
    masks = {}
    for path, part in module.named_modules():
        for hook in list(part._forward_pre_hooks.values()):
            if not isinstance(hook, prune.BasePruningMethod):
                continue
            short = hook._tensor_name
            masks[f"{path}.{short}" if path else short] = getattr(part, f"{short}_mask").clone()
            prune.remove(part, short)  # type: ignore[no-untyped-call]
            # Pruning moved the parameter behind the others: back to where layers have it.
            order = sorted(part._parameters, key=lambda name: name != "weight")
            part._parameters.update({name: part._parameters.pop(name) for name in order})
    return masks


def _role(owners: dict[str, nn.Module], name: str, value: torch.Tensor) -> str:
    parent, _, short = name.rpartition(".")
    owner = owners[parent]
    kind = type(owner).__name__
    if "Norm" in kind and "Spectral" not in kind:
        return "norm"
    if isinstance(owner, (nn.Embedding, nn.EmbeddingBag)):
        return "embedding"
    if short.endswith("bias") or "bias" in short:
        return "bias"
    return "weight" if value.dim() > 1 else "other"


def _changes(name: str, value: torch.Tensor) -> bool:
    """Whether a buffer may differ between networks; whole and bool ones are constants."""
    return value.is_floating_point() or name.rpartition(".")[2] == "num_batches_tracked"


def _key(module: nn.Module) -> Hashable:
    tied: dict[int, str] = {}
    parts: list[Hashable] = []
    for path, part in module.named_modules(remove_duplicate=False):
        kind: Any = type(part)
        mine: list[Hashable] = [path, kind]
        mine += [
            (name, _value(value))
            for name, value in sorted(vars(part).items())
            if name not in _BOOKKEEPING
        ]
        for name, value in [*part._parameters.items(), *part._buffers.items()]:
            if value is None:
                mine.append((name, None))
                continue
            first = tied.setdefault(id(value), f"{path}.{name}")
            constant = (
                None if isinstance(value, nn.Parameter) or _changes(name, value) else _value(value)
            )
            mine.append((name, tuple(value.shape), value.dtype, first, constant))
        parts.append(tuple(mine))
    return tuple(parts)


def _value(value: Any) -> Hashable:
    """Something equal for values that make a module compute the same."""
    if isinstance(value, _PLAIN):
        return (type(value).__name__, value)
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, *(_value(entry) for entry in value))
    if isinstance(value, (set, frozenset)):
        return (type(value).__name__, frozenset(_value(entry) for entry in value))
    if isinstance(value, dict):
        return ("dict", *((_value(k), _value(v)) for k, v in value.items()))
    if isinstance(value, torch.Tensor):
        data = value.detach().cpu()
        if data.is_floating_point() and not data.is_leaf:
            return ("derived", tuple(data.shape))
        return ("tensor", tuple(data.shape), str(data.dtype), data.numpy().tobytes())
    # Functions and other objects: alike only if they are one and the same.
    return ("object", type(value), id(value))
