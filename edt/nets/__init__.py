"""Networks of the literature as torch modules, with a width factor each.

Every function is a builder for `edt.ModuleEnsemble.build`: the first argument is the width (a
factor on all hidden sizes; 1 is the paper's), the second the seed, or None to draw from PyTorch's
generator as it is. The others are set by `functools.partial`.

Example:
    >>> from functools import partial
    >>> small = partial(lenet5, shape=(1, 8, 8))
    >>> edt.ModuleEnsemble.build(small, [0.5, 1.0], range(3))  # doctest: +SKIP
"""

from __future__ import annotations

from edt.arguments import checked
from edt.nets.conv import conv2, conv4, conv6, lenet5, vgg11, vgg16
from edt.nets.mlp import lenet300, residual_mlp
from edt.nets.resnet import resnet20
from edt.nets.transformer import transformer

__all__ = [
    "conv2",
    "conv4",
    "conv6",
    "lenet5",
    "lenet300",
    "residual_mlp",
    "resnet20",
    "transformer",
    "vgg11",
    "vgg16",
]

checked(__name__)
