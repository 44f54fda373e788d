"""Layers of torch whose kernels follow the mask: sparse networks that train fast on a processor."""

from edt.arguments import checked
from edt.nn.convert import report, sparsify
from edt.nn.layers import MaskedConv2d, MaskedLinear

__all__ = ["MaskedConv2d", "MaskedLinear", "report", "sparsify"]

checked(__name__)
