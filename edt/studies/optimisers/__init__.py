"""Success under several optimisers and scales of the start, and how soon saddles are left."""

from __future__ import annotations

from edt.studies.study import Study

STUDY = Study(
    kind="optimisers",
    question="Does what width does depend on the optimiser and the scale of the start, and do "
    "small batches leave saddles sooner?",
    about="Gradient descent, minibatches and Adam from small to large starts, taken to the bottom; "
    "steps until runs of several batch sizes have left a split minimum along its way down; how "
    "long gradient flow stays at saddles, against their curvature.",
    result="OptimisersRun",
    page="write_optimisers_report",
    flags=("widths", "seeds", "teachers"),
    quick={
        "teachers": 2, "seeds": 3, "rules": ("gd", "sgd", "adam"), "scales": (0.3, 1.0),
        "widths": (2, 4), "samples": 48, "steps": 400, "lbfgs_steps": 200, "newton_steps": 20,
        "certify_steps": 40, "saddles": 1, "batches": (4, 48), "leave_steps": 500, "noises": 2,
        "good": 1e-4, "flows": 2, "flow_width": 3, "flow_time": 1e4,
    },
)  # fmt: skip
#: Makes its specs.
optimisers_spec = STUDY.spec
