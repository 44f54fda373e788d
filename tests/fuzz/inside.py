"""One fuzzing process: ``python -m tests.fuzz.inside TARGET COMMAND [libFuzzer's options]``.

COMMAND is a program that starts this again: libFuzzer does so to merge corpora.
"""

from __future__ import annotations

import os
import sys

import atheris

with atheris.instrument_imports(include=["edt"]):
    from tests.fuzz.targets import MAX_GB, TARGETS

import torch

torch.set_num_threads(1)
os.environ["EDT_MAX_GB"] = MAX_GB
name, *command = sys.argv[1:]
atheris.Setup(command, TARGETS[name])
atheris.Fuzz()
