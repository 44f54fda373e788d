"""Views of the loss landscape along lines and on planes, plainly or with the rest minimised out."""

from __future__ import annotations

from edt.arguments import checked
from edt.landscape.views.directions import eigen_directions, path_directions, random_directions
from edt.landscape.views.line import LossLine, loss_line
from edt.landscape.views.loss_planes import LossPlane, loss_plane
from edt.landscape.views.marked_networks import Marks

__all__ = [
    "LossLine",
    "LossPlane",
    "Marks",
    "eigen_directions",
    "loss_line",
    "loss_plane",
    "path_directions",
    "random_directions",
]

checked(__name__)
