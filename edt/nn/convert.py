"""Sparse kernels under any module, where they are faster."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edt.errors import ShapeError
from edt.nn.layers import MaskedConv2d, MaskedLinear

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["report", "sparsify"]

#: Timed passes of each kernel, after one that is not.
PASSES = 5
KINDS: dict[type[nn.Module], type[Any]] = {nn.Linear: MaskedLinear, nn.Conv2d: MaskedConv2d}


def sparsify(
    module: nn.Module,
    masks: Mapping[str, Any] | None = None,
    *,
    sample: Tensor | tuple[Any, ...] | None = None,
    kernel: str = "auto",
) -> Any:
    """A copy of the module whose linear and convolutional layers follow their masks.

    Everything else (norms, residuals, attention, the module's own code) stays as it is. The copy is
    trained like any module; pruned weights are 0, and so are their gradients.

    Args:
        module: any module on the CPU. Layers that are exactly `torch.nn.Linear` or
            `torch.nn.Conv2d` are replaced, those of subclasses are left alone.
        masks: name of a layer, or of its weight, to its mask (see `MaskedLinear.set_mask`). A layer
            that is not named keeps the mask of `torch.nn.utils.prune` if it has one, else the
            weights that are not 0.
        sample: inputs of the module, a tensor or a tuple of arguments. Each layer is then timed on
            what it sees of them, forward and backward, with both kernels, and takes the faster one;
            `report` says which and by how much.
        kernel: "auto", "sparse" or "dense", for all.

    Raises:
        ValueError: a name of ``masks`` is of no such layer. ShapeError: a mask does not fit.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
        >>> sparse = sparsify(net, {"0": torch.rand(8, 1, 3, 3) < 0.2})
        >>> sparse(torch.ones(4, 1, 8, 8)).shape
        torch.Size([4, 10])
    """
    made = _copied(module)
    # A layer may have several names.
    found = {
        name: layer
        for name, layer in made.named_modules(remove_duplicate=False)
        if type(layer) in KINDS
    }
    wanted = {}
    for name, mask in (masks or {}).items():
        layer_name = name.removesuffix(".weight") if name != "weight" else ""
        if layer_name not in found:
            known = ", ".join(repr(n) for n in list(found)[:6]) or "none"
            raise ValueError(
                f"masks[{name!r}] is not a linear or convolutional layer of the module; it has "
                f"{known}{', ...' if len(found) > 6 else ''}"
            )
        wanted[id(found[layer_name])] = mask
    known_as: dict[int, Any] = {}
    for name, layer in found.items():
        if id(layer) not in known_as:
            known_as[id(layer)] = _masked(name, layer, wanted.get(id(layer)), kernel)
        masked = known_as[id(layer)]
        if name:
            parent, _, last = name.rpartition(".")
            setattr(made.get_submodule(parent), last, masked)
        else:
            made = masked
    if sample is not None:
        _measure(made, sample if isinstance(sample, tuple) else (sample,))
    return made


def _copied(module: nn.Module) -> Any:
    # torch.nn.utils.prune keeps products of parameters beside them, which do not copy themselves.
    kept: dict[int, Any] = {}
    layer: Any
    for layer in module.modules():
        if hasattr(layer, "weight_mask"):
            kept[id(layer.weight)] = layer.weight.detach()
    return copy.deepcopy(module, kept)


def _masked(name: str, layer: Any, mask: Any, kernel: str) -> Any:
    """The layer, with its very parameters, as a masked one."""
    pruned = getattr(layer, "weight_mask", None)
    if mask is None:
        mask = pruned if pruned is not None else layer.weight.detach() != 0
    new: Any = object.__new__(KINDS[type(layer)])
    nn.Module.__init__(new)
    skipped = ("_forward_pre_hooks", "weight")
    new.__dict__.update({k: v for k, v in layer.__dict__.items() if k not in skipped})
    new._parameters = dict(layer._parameters)
    new._buffers = {k: v for k, v in layer._buffers.items() if k != "weight_mask"}
    original = new._parameters.pop("weight_orig", None)  # of torch.nn.utils.prune
    if original is not None:
        new._parameters = {"weight": original, **new._parameters}
    try:
        new._set_up(mask, kernel)
    except ShapeError as error:
        raise ShapeError(f"layer {name!r}: {error}") from None
    with torch.no_grad():  # so that code that reads weights itself finds the masked ones
        new.weight.mul_(new.mask)
    return new


def _layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, layer in module.named_modules():
        if isinstance(layer, tuple(KINDS.values())):
            yield name, layer


def _measure(module: nn.Module, sample: tuple[Any, ...]) -> None:
    """Give every layer its faster kernel on what it sees."""
    seen: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(partial(_note, seen, name))
        for name, layer in _layers(module)
    ]
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(*sample)  # so that running statistics stay as they are
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    for name, layer in _layers(module):
        if name in seen:
            x = seen[name].detach()
            kept = layer.kernel
            layer.seconds = {kind: _seconds(layer, x, kind) for kind in ("sparse", "dense")}
            layer.kernel = kept
            layer.faster = min(layer.seconds, key=layer.seconds.__getitem__)


def _note(seen: dict[str, Tensor], name: str, _: nn.Module, given: tuple[Any, ...]) -> None:
    seen.setdefault(name, given[0])


def _seconds(layer: Any, x: Tensor, kernel: str) -> float:
    """A step of the layer, forward and backward."""
    layer.kernel = kernel
    given = x.clone().requires_grad_(True)
    wanted = [given, *(p for p in layer.parameters() if p.requires_grad)]
    times = []
    for _ in range(PASSES + 1):
        clock = time.perf_counter()
        with torch.enable_grad():
            torch.autograd.grad(layer(given).sum(), wanted)
        times.append(time.perf_counter() - clock)
    return statistics.median(times[1:])


def report(module: nn.Module) -> pd.DataFrame:
    """What the masked layers of a module are and which kernels they take.

    Returns:
        One row a layer: ``layer``, ``kind``, ``weights``, ``density``, ``kernel`` ("sparse",
        "dense", or "auto" where nothing was measured), ``sparse_ms`` and ``dense_ms`` of a step
        (NaN where not measured), ``compiled``: how often its mask was compiled.
    """
    import pandas as pd

    rows = []
    for name, layer in _layers(module):
        times = {kind: 1e3 * layer.seconds.get(kind, float("nan")) for kind in ("sparse", "dense")}
        chosen = layer.faster if layer.kernel == "auto" and layer.faster else layer.kernel
        rows.append({
            "layer": name, "kind": type(layer).__name__, "weights": layer.mask.numel(),
            "density": layer.density, "kernel": chosen, "sparse_ms": times["sparse"],
            "dense_ms": times["dense"], "compiled": layer.compiled,
        })  # fmt: skip
    columns = ["layer", "kind", "weights", "density", "kernel", "sparse_ms", "dense_ms", "compiled"]
    return pd.DataFrame(rows, columns=columns)
