"""Structure of an ensemble as plain tensors: to store and to fingerprint."""

from __future__ import annotations

from typing import Any

import torch

from edt.ensemble import Ensemble
from edt.training.checkpoint import digest


def pack(ens: Ensemble) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and JSON header from which `unpack` rebuilds the ensemble bit for bit."""
    tensors = {
        "networks.theta": ens.theta.detach().cpu(),
        "networks.state": ens.state.cpu(),
        "networks.layer_widths": ens.layer_widths.to(torch.int64).cpu(),
        "networks.ids": torch.as_tensor(ens.network_ids).to(torch.int64).cpu(),
    }
    return tensors, {"activation": ens.activation, "bias": ens.has_bias}


def unpack(tensors: dict[str, torch.Tensor], header: dict[str, Any]) -> Ensemble:
    """Inverse of `pack`."""
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


def fingerprint_structure(ens: Ensemble) -> str:
    """Digest of widths, states, activation, bias and dtype, not of the parameter values."""
    tensors, header = pack(ens)
    tensors.pop("networks.theta")
    tensors.pop("networks.ids")
    return f"{ens.activation}/{header['bias']}/{ens.dtype}/{digest(tensors)[:32]}"


def hidden_widths(ens: Ensemble) -> list[str]:
    """Hidden widths of each network as text, "8" or "8x4"."""
    return ["x".join(map(str, row)) for row in ens.layer_widths[:, 1:-1].tolist()]
