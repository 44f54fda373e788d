"""What a large study costs beside its work grows with its parts alone; counted, not timed."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks import scale
from edt.studies.kinds import KINDS


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The study is one of edt's only here."""
    monkeypatch.setitem(KINDS, scale.Scale.kind, scale.Scale)


def test_a_hundred_parts_are_planned_run_resumed_and_exported(tmp_path):
    """Each step checks what it gives; `steps` raises otherwise."""
    found = scale.steps(100, tmp_path / "run", "local", 0, Counter)
    assert tuple(found) == scale.STEPS
    frame = scale.table({100: found})
    assert frame["step"].tolist() == list(scale.STEPS) and (frame["us_a_part"] >= 0).all()


def test_requests_of_a_store_of_objects_grow_with_the_parts():
    """A fixed number for each part, and a few for the whole, whatever is done."""
    sizes = (20, 60)
    few, many = (scale.count_operations(parts) for parts in sizes)
    allowed = {  # for each part: a look at the size and the object, for each of manifest and table
        "plan": {},
        "run": {"PUT": 2, "GET": 2, "HEAD": 3, "DELETE": 2},
        "status": {"GET": 1, "HEAD": 1},
        "resume": {"GET": 2, "HEAD": 2},
        "mend": {"GET": 6, "HEAD": 6},
        "export": {},
    }
    for step, most in allowed.items():
        for kind in ("GET", "HEAD", "PUT", "DELETE", "LIST"):
            grown = many[step].get(kind, 0) - few[step].get(kind, 0)
            assert grown <= (sizes[1] - sizes[0]) * (most.get(kind, 0) + 0.1), (step, kind, grown)


def test_what_grows_faster_is_told():
    def taken(seconds):
        took = {"seconds": seconds, "processor": seconds, "bytes": 0.0}
        return dict.fromkeys(scale.STEPS, took)

    assert scale.worse({1_000: taken(1.0), 10_000: taken(10.0)}) == []
    told = scale.worse({1_000: taken(1.0), 10_000: taken(100.0)})
    assert len(told) == len(scale.STEPS) + 2 and "plan: 1000 us" in told[0]
