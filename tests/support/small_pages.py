"""A report of every kind of run, small, made once for all tests that look at pages."""

from __future__ import annotations

import pytest
from small_studies import NETS, SCIENCE

from edt.runs.sweeps import SweepSpec
from edt.studies import (
    CensusSpec,
    EscapeSpec,
    SafranShamirSpec,
    WidthSweepSpec,
    loss_levels_spec,
    lottery_spec,
    multi_spec,
    perturb_spec,
)
from edt.studies.controls.spec import ControlsSpec
from edt.studies.kinds import KINDS
from edt.studies.reporting import report_on
from edt.studies.xor.spec import XorSpec

#: Small runs of every kind: "sweep" and those of `KINDS`.
STUDENTS = {
    "widths": (2, 3, 4), "seeds": 6, "teachers": 1, "teacher_width": 3, "samples": 40,
    "steps": 300, "lbfgs_rounds": 1, "lbfgs_steps": 100, "newton_steps": 20,
}  # fmt: skip
TINY = {"steps": 200, "samples": 40, "lbfgs_rounds": 1}
SPECS = {
    "width-sweep": WidthSweepSpec(
        widths=(2, 4), seeds=3, teachers=1, samples=32, steps=200, lbfgs_rounds=2,
        lbfgs_steps=100, newton_steps=20, escape_lbfgs_steps=100, escape_newton_steps=20,
        split_widths=(2,),
    ),
    "sweep": SweepSpec(task="xor", grid={"width": [2, 3], "seed": "0..3", "lr": [0.05, 0.1]}),
    "safran-shamir": SafranShamirSpec(teachers=(6, 9), extra=(0, 1), starts=12),
    "loss-levels": loss_levels_spec(quick=True, widths=(1, 2)),
    "census": CensusSpec(**STUDENTS, tol=1e-8),
    "escape": EscapeSpec(
        **STUDENTS, tol=1e-8, minima=2, add=(1, 2), descent_steps=200, escape_lbfgs_steps=50,
        escape_newton_steps=10, path_widths=(2, 3), path_seeds=2, path_steps=200,
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
    "xor": XorSpec(widths=(2, 3, 4), seeds=20, steps=600, success=0.4),
    **SCIENCE,
    **NETS,
}  # fmt: skip
#: Kinds looked at from every side; of the others, only the figures.
EVERY_SIDE = ["width-sweep", "sweep", "safran-shamir", "loss-levels"]
OTHERS = [kind for kind in SPECS if kind not in EVERY_SIDE]
EMPTY = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'


class Pages(dict):
    """A report of each kind, made when it is asked for."""

    def __init__(self, make_folder):
        super().__init__()
        self.make_folder = make_folder

    def __missing__(self, kind):
        folder = self.make_folder(kind) / "run"
        KINDS[kind].run(SPECS[kind], folder, workers=0, progress=False)
        with pytest.MonkeyPatch.context() as patch:
            if kind in OTHERS:
                # Their pictures are looked at in other tests.
                patch.setattr("edt.show.publish.themed_svg", lambda draw: EMPTY)
            self[kind] = report_on(folder)
        return self[kind]


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    return Pages(tmp_path_factory.mktemp)
