"""The two kinds of networks, and what to say where only one will do."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch

from edt.ensemble.container import Ensemble
from edt.ensemble.module_ensemble import ModuleEnsemble

__all__ = ["Networks", "as_networks", "chains", "is_networks"]

#: What the verbs work on.
Networks: TypeAlias = Ensemble | ModuleEnsemble


def is_networks(value: Any) -> bool:
    """Whether it is an ensemble of either kind."""
    return isinstance(value, (Ensemble, ModuleEnsemble))


def as_networks(value: Any, name: str = "networks") -> Any:
    """An ensemble of either kind, as it is.

    Raises:
        TypeError: something else; says how to make one of torch modules.
    """
    if is_networks(value):
        return value
    modules = isinstance(value, (torch.nn.Module, list, tuple))
    hint = (
        "; edt.Ensemble.from_modules and edt.ModuleEnsemble make one of torch modules"
        if modules
        else ""
    )
    raise TypeError(f"{name} must be an edt.Ensemble, got {type(value).__name__}{hint}")


def chains(value: Any, what: str, name: str = "networks") -> Ensemble:
    """Networks that are chains of one activation, which ``what`` needs.

    Raises:
        TypeError: other networks; says why.
    """
    networks = as_networks(value, name)
    if isinstance(networks, ModuleEnsemble):
        raise TypeError(
            f"{name} must be an edt.Ensemble: {what} is defined for chains of one activation "
            "(edt.Ensemble) only, got an edt.ModuleEnsemble"
        )
    return networks  # type: ignore[no-any-return]
