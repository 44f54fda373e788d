"""Every study: the folders of `edt.studies` that hold one, in the order of ``edt run --help``."""

from __future__ import annotations

from importlib import import_module

from edt.studies.study import Study

FOLDERS = (
    "width",
    "xor",
    "controls",
    "perturb_rest",
    "multi_start",
    "perturb_rest_net",
    "multi_start_net",
    "lottery",
    "census",
    "escape",
    "loss_levels",
    "safran_shamir",
    "subsets",
    "crossed",
    "failures",
    "index_loss",
    "signs",
    "escape_count",
    "prune_to_narrow",
    "depth",
    "targets",
    "optimisers",
    "barriers",
    "escape_teachers",
    "channel_sweep",
    "width_net",
)
_FOUND: list[Study] = [import_module(f"edt.studies.{folder}").STUDY for folder in FOLDERS]
#: Studies by kind: the names of their commands, and of what their directories hold.
STUDIES: dict[str, Study] = {study.kind: study for study in _FOUND}
