"""A small run of every kind, computed once for all tests of a session that want it finished."""

from __future__ import annotations

import shutil

from small_studies import NETS, SCIENCE

from edt.runs.sweeps import SweepSpec
from edt.studies import (
    CensusSpec,
    EscapeSpec,
    LossLevelsSpec,
    SafranShamirSpec,
    WidthSweepSpec,
    lottery_spec,
    multi_spec,
    perturb_spec,
)
from edt.studies.controls.spec import ControlsSpec
from edt.studies.kinds import KINDS
from edt.studies.xor.spec import XorSpec

TINY = {"steps": 200, "samples": 40, "lbfgs_rounds": 1}
STUDENTS = {
    **TINY, "widths": (2, 3), "seeds": 5, "teachers": 1, "teacher_width": 3, "lbfgs_steps": 100,
    "newton_steps": 20,
}  # fmt: skip
SPECS = {
    "width-sweep": WidthSweepSpec(
        **STUDENTS, reference_width=3, split_widths=(2,), escape_lbfgs_steps=20,
        escape_newton_steps=5,
    ),
    "census": CensusSpec(**STUDENTS, tol=1e-8),
    "escape": EscapeSpec(
        **STUDENTS, tol=1e-8, minima=1, add=(1,), descent_steps=50, escape_lbfgs_steps=20,
        escape_newton_steps=5, path_widths=(2,), path_seeds=2, path_steps=50,
    ),
    "lottery": lottery_spec(quick=True, rounds=2, steps=30, samples=200),
    "perturb-rest": perturb_spec(
        quick=True, **TINY, tickets=2, rests=2, sizes=(0.5, 1.0), good=1e-3, teacher_width=2,
        width=4, losers=1, random_rests=1, loser_rests=1, population=4,
    ),
    "multi-start": multi_spec(quick=True, **TINY, widths=(4, 8), seeds=3),
    "controls": ControlsSpec(
        **TINY, teachers=1, teacher_width=2, widths=(2, 4), seeds=3, lbfgs_steps=20, good=0.02,
        inners=(2,), margins=(2,),
    ),
    "xor": XorSpec(widths=(2, 3), seeds=20, steps=200),
    "safran-shamir": SafranShamirSpec(teachers=(6,), extra=(0, 1), starts=5, max_steps=2000),
    "loss-levels": LossLevelsSpec(
        widths=(1, 2), starts=1, points=11, max_time=100.0, lbfgs_steps=50, newton_steps=5
    ),
    "sweep": SweepSpec(
        task="xor", grid={"seed": "0..9", "steps": 100, "lr": [0.1, 0.2], "init": ["he", "glorot"]}
    ),
    **SCIENCE,
    **NETS,
}  # fmt: skip


def run(kind, folder):
    spec = SPECS[kind]
    return KINDS[kind].run(spec, folder, workers=0, progress=False)


class Finished:
    """Copies of finished runs.

    Args:
        make_folder: makes an empty folder, given a name.
    """

    def __init__(self, make_folder):
        self.make_folder = make_folder
        self.runs = {}

    def __call__(self, kind, folder):
        """Put one at a new place; returns it as it was computed."""
        if kind not in self.runs:
            place = self.make_folder(kind) / "run"
            self.runs[kind] = place, run(kind, place)
        place, done = self.runs[kind]
        shutil.copytree(place, folder)
        return done
