"""Gradient flow of ensembles: stiff, adaptive, network by network."""

from __future__ import annotations

from edt.arguments import checked
from edt.flow.gradient_flow import gradient_flow
from edt.flow.result import FlowResult

__all__ = ["FlowResult", "gradient_flow"]

checked(__name__)
