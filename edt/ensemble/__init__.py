"""Ragged ensembles of masked networks: container, initialisation, masks, files, modules."""

from __future__ import annotations

from edt.arguments import checked
from edt.ensemble.activations import ACTIVATIONS
from edt.ensemble.container import Ensemble
from edt.ensemble.filters import only
from edt.ensemble.init import SCHEMES
from edt.ensemble.module_ensemble import ModuleEnsemble

__all__ = ["ACTIVATIONS", "SCHEMES", "Ensemble", "ModuleEnsemble", "only"]

checked(__name__)
