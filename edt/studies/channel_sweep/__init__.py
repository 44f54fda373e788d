"""Channels of convolutions: success against their number, and ways down after one is split."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="channel-sweep",
    question="Do escape dimensions tell the same story for channels of convolutions?",
    about="Small convolutional networks learn convolutional teachers, reading out the mean over "
    "positions or every position; channels of their minima are split, and the ways down counted.",
    result="ChannelSweep",
    page="write_channel_sweep_report",
    flags=("channels", "seeds", "teachers"),
    quick={
        "teachers": 2, "teacher_channels": 2, "channels": (1, 2, 3), "seeds": 4, "samples": 32,
        "steps": 200, "lbfgs_steps": 50, "newton_steps": 5, "minima": 1, "good": 1e-4,
    },
)  # fmt: skip
#: Makes its specs.
channel_sweep_spec = STUDY.spec
