"""An ensemble in a file: safetensors and a JSON header, no pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from edt.files import CheckpointError, encode, read, write
from edt.locations import Location

if TYPE_CHECKING:
    from edt.ensemble.container import Ensemble
    from edt.ensemble.kinds import Networks

__all__ = ["encode_ensemble", "read_ensemble", "write_ensemble"]

KIND = "ensemble"


def write_ensemble(path: Location, ens: Ensemble) -> None:
    """Write structure and parameters; the file is written whole and renamed."""
    write(path, KIND, *_contents(ens))


def encode_ensemble(ens: Networks) -> tuple[bytes, bytes]:
    """Bytes of the files that ``save`` writes of either kind: safetensors, and its copy to read."""
    from edt.ensemble.module_ensemble import ModuleEnsemble

    if isinstance(ens, ModuleEnsemble):
        return encode(ens.kind, *ens.contents())
    return encode(KIND, *_contents(ens))


def _contents(ens: Ensemble) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors = {
        "theta": ens.theta,
        "state": ens.state,
        "layer_widths": ens.layer_widths,
        "ids": ens.network_ids,
    }
    return tensors, {"activation": ens.activation, "bias": ens.has_bias}


def read_ensemble(
    path: Location, data: bytes | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and header of a file written by `write_ensemble`.

    Args:
        path: of the file.
        data: its bytes, where they have been read already.

    Raises:
        CheckpointError: missing, truncated, corrupted, another kind of file, or incomplete.
    """
    tensors, header = read(path, KIND, data)
    for name in ("theta", "state", "layer_widths", "ids"):
        if name not in tensors:
            raise CheckpointError(f"{path}: has no tensor {name!r}")
    for name in ("activation", "bias"):
        if name not in header:
            raise CheckpointError(f"{path}: its header has no entry {name!r}")
    return tensors, header
