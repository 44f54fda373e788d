"""Structure of an ensemble as plain tensors: to store and to fingerprint."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from edt.ensemble import Ensemble, ModuleEnsemble
from edt.ensemble.exchange import width_column
from edt.ensemble.kinds import Networks
from edt.training.checkpoint import CheckpointError, digest


def pack(ens: Networks) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and JSON header from which `unpack` rebuilds the ensemble bit for bit."""
    if isinstance(ens, ModuleEnsemble):
        tensors, header = ens.contents()
        return {f"networks.{name}": value for name, value in tensors.items()}, {"modules": header}
    tensors = {
        "networks.theta": ens.theta.detach().cpu(),
        "networks.state": ens.state.cpu(),
        "networks.layer_widths": ens.layer_widths.to(torch.int64).cpu(),
        "networks.ids": torch.as_tensor(ens.network_ids).to(torch.int64).cpu(),
    }
    return tensors, {"activation": ens.activation, "bias": ens.has_bias}


def unpack(tensors: dict[str, torch.Tensor], header: dict[str, Any], modules: Any = None) -> Any:
    """Inverse of `pack`; networks of modules need modules built as theirs were.

    Raises:
        CheckpointError: they were not given, or are others.
    """
    if "modules" in header:
        if modules is None:
            raise CheckpointError(
                "holds networks of torch modules, whose code is in no file: give modules=[...], "
                "built as they were"
            )
        names = ("theta", "state", "ids")
        inside = {name: tensors[f"networks.{name}"] for name in names}
        return ModuleEnsemble.of_contents(inside, header["modules"], modules)
    table = tensors["networks.layer_widths"]
    theta = tensors["networks.theta"]
    return Ensemble(
        [tuple(row) for row in table[:, 1:-1].tolist()],
        int(table[0, 0]),
        int(table[0, -1]),
        activation=header["activation"],
        bias=header["bias"],
        dtype=theta.dtype,
        theta=theta,
        state=tensors["networks.state"],
        ids=tensors["networks.ids"],
    )


def fingerprint_structure(ens: Networks) -> str:
    """Digest of widths, states, activation, bias and dtype, not of the parameter values."""
    tensors, header = pack(ens)
    tensors.pop("networks.theta")
    tensors.pop("networks.ids")
    if isinstance(ens, ModuleEnsemble):
        names = ",".join(header["modules"]["signatures"])
        mark = hashlib.sha256(names.encode()).hexdigest()[:32]
        return f"modules/{ens.dtype}/{digest(tensors)[:32]}/{mark}"
    return f"{ens.activation}/{header['bias']}/{ens.dtype}/{digest(tensors)[:32]}"


def hidden_widths(ens: Networks) -> list[int] | list[str]:
    """Hidden width of each network, "8x4" where one has several layers; labels of module networks.

    Numbers where all are, so that tables sort 2, 4, 16.
    """
    if isinstance(ens, ModuleEnsemble):
        return width_column([str(label) for label in ens.labels])
    return width_column(["x".join(map(str, row)) for row in ens.layer_widths[:, 1:-1].tolist()])
