"""Specs of studies that take seconds, have two parts at least, and yet something to show."""

from __future__ import annotations

from edt.studies.registry import STUDIES

TINY = {"steps": 200, "samples": 40, "lbfgs_rounds": 1}
#: Networks of modules.
NETS = {
    kind: STUDIES[kind].spec(quick=True, net="lenet5", factor=0.4, samples=60, steps=6, **own)
    for kind, own in (
        ("perturb-rest-net", {"candidates": 4, "tickets": 1, "rests": 1}),
        ("multi-start-net", {"seeds": 3}),
    )
}
NETS["width-net"] = STUDIES["width-net"].spec(
    quick=True, net="lenet5", samples=60, steps=6, seeds=3, factors=(0.1, 0.2), fits=0.2
)
#: Those that test a claim about width.
SCIENCE = {
    "subsets": STUDIES["subsets"].spec(quick=True, **TINY, teachers=2, seeds=3, widths=(5,)),
    "crossed": STUDIES["crossed"].spec(
        quick=True, **TINY, teachers=2, candidates=4, rests=2, good=1e-2
    ),
    "failures": STUDIES["failures"].spec(
        quick=True,
        **{**TINY, "teachers": 1, "seeds": 3, "widths": (2, 3), "certify_steps": 20},
        escape_steps=5,
    ),
    "index-loss": STUDIES["index-loss"].spec(
        quick=True, samples=40, teachers=2, seeds=2, widths=(2,), newton_steps=20
    ),
    "signs": STUDIES["signs"].spec(
        quick=True, samples=40, teachers=2, seeds=2, widths=(2,), newton_steps=20
    ),
    "escape-count": STUDIES["escape-count"].spec(
        quick=True,
        **{**TINY, "teachers": 1, "seeds": 3, "widths": (2, 3), "certify_steps": 20},
        escape_steps=5,
    ),
    "depth": STUDIES["depth"].spec(
        quick=True, **{**TINY, "steps": 100}, seeds=2, widths=(2, 3), certify_steps=10
    ),
    "targets": STUDIES["targets"].spec(
        quick=True,
        **{**TINY, "samples": 36, "steps": 100},
        seeds=2,
        targets=("noisy", "rosenbrock"),
        certify_steps=10,
    ),
    "optimisers": STUDIES["optimisers"].spec(
        quick=True,
        **{**TINY, "steps": 100},
        seeds=2,
        rules=("sgd",),
        scales=(1.0,),
        widths=(2,),
        batches=(4, 40),
        leave_steps=50,
        certify_steps=10,
    ),
    "barriers": STUDIES["barriers"].spec(
        quick=True,
        **{**TINY, "steps": 400},
        teachers=1,
        seeds=4,
        widths=(4,),
        pushes=1,
        certify_steps=10,
        good=1e-3,
    ),
    "escape-teachers": STUDIES["escape-teachers"].spec(
        quick=True, **{**TINY, "steps": 300}, pilots=8, seeds=3, certify_steps=20, good=1e-3
    ),
    "channel-sweep": STUDIES["channel-sweep"].spec(
        quick=True, readouts=("positions",), channels=(1, 2), seeds=2, steps=60, newton_steps=8
    ),
    "prune-to-narrow": STUDIES["prune-to-narrow"].spec(
        quick=True, **{**TINY, "steps": 400}, teachers=2, seeds=3, widths=(5,), certify_steps=20
    ),
}
