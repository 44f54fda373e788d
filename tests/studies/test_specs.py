"""Specs put together from parts: each field once, its kind checked, what is stored still found."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import pytest

from edt.runs.spec import Spec
from edt.runs.values import Budget, Count, FewWidths, Positive, Share, Sizes, Widths, kinds_of
from edt.studies.registry import STUDIES

SPECS = {kind: study.experiment.spec_type for kind, study in STUDIES.items()}

#: What names a study's default run in its directory: a change is one of every such run's identity.
DIGESTS = {
    "barriers": "9de0e64dc312afd5",
    "census": "48b1c305b1d846b2",
    "channel-sweep": "8fdd2cadb1fcb72a",
    "controls": "2a161e777fd457a6",
    "crossed": "2ccf5d76720bc330",
    "depth": "f4c4c0bed11a2d51",
    "escape": "9aff6a8fc2ac73f3",
    "escape-count": "a7cbd7e86e6eb307",
    "escape-teachers": "e5ecb3565fab5710",
    "failures": "923457b0c31c04a5",
    "index-loss": "1a01fb54a0c3b776",
    "loss-levels": "7a281f9a3a94f175",
    "lottery": "e9689dc5f39b5155",
    "multi-start": "cb1802bf5476438e",
    "multi-start-net": "1dbec0ea0c9c1bd1",
    "optimisers": "0fd8a419322d3e8f",
    "perturb-rest": "1524be5b4668bd3f",
    "perturb-rest-net": "c1514c4dcbc9675c",
    "prune-to-narrow": "29030c1350fc6563",
    "safran-shamir": "9c72ac355dc837c3",
    "signs": "cb3836f050c8c232",
    "subsets": "c3744fed515f911b",
    "targets": "10d811c8f7ffdce8",
    "width-net": "15b293ff9b573304",
    "width-sweep": "baa69d80f916134e",
    "xor": "eb2420f33d4da17c",
}


@dataclass(frozen=True)
class Some(Spec):
    """A field of each kind."""

    count: Count = 1
    budget: Budget = 0
    positive: Positive = 1.0
    share: Share = 0.5
    widths: Widths = (2, 3)
    few: FewWidths = ()
    sizes: Sizes = (0.5,)


@dataclass(frozen=True)
class Other(Some, count=3, widths=(4,)):
    """Two other defaults."""


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("count", 0),
        ("count", 1.0),
        ("count", True),
        ("budget", -1),
        ("positive", 0.0),
        ("positive", float("nan")),
        ("positive", "1"),
        ("share", 1.0),
        ("widths", ()),
        ("widths", (3, 2)),
        ("widths", (2, 2)),
        ("widths", (0, 1)),
        ("widths", 3),
        ("few", (0,)),
        ("sizes", (0.0,)),
        ("sizes", ()),
    ],
)
def test_a_value_of_another_kind_is_refused_by_its_field(field, bad):
    with pytest.raises((TypeError, ValueError), match=f"^{field} .*must|^{field} must"):
        Other(**{field: bad})


def test_parts_give_other_defaults_and_only_to_fields_that_they_have():
    assert (Other().count, Other().widths, Other().budget) == (3, (4,), 0)
    assert Some().count == 1
    assert replace(Other(), budget=2).count == 3
    assert Other.from_dict({"widths": [5, 6]}).to_dict()["widths"] == [5, 6]
    with pytest.raises(TypeError, match="no field 'cuont'"):

        class Wrong(Some, cuont=3):
            pass


@pytest.mark.parametrize("kind", SPECS)
def test_a_study_declares_no_field_of_its_parts_again(kind):
    """But for narrowing what its values may be."""
    spec = SPECS[kind]
    for part in spec.__mro__[:-1]:
        for name, hint in vars(part).get("__annotations__", {}).items():
            for base in part.__mro__[1:-1]:
                if isinstance(hint, str) and name in vars(base).get("__dataclass_fields__", {}):
                    assert kinds_of(part, name) != kinds_of(base, name), (part, name)
    for entry in fields(spec):  # numbers have ranges
        of, kinds = kinds_of(spec, entry.name)
        assert kinds or of not in ("int", "float"), entry.name


def test_default_runs_are_named_as_they_were():
    assert {kind: spec().digest for kind, spec in SPECS.items()} == DIGESTS


def test_directories_keep_the_name_that_they_have_for_teachers():
    """And any of its names is read as the one that there is now."""
    for kind, name in (("census", "teacher"), ("multi-start", "teacher-student")):
        spec = SPECS[kind]()
        assert (spec.task, spec.to_dict()["task"]) == ("teacher_student", name)
        for given in ("teacher", "teacher-student", "teacher_student"):
            assert SPECS[kind].from_dict({"task": given}) == spec
        assert "task = 'teacher_student'" in spec.text()
    with pytest.raises(ValueError, match="did you mean 'teacher_student'"):
        SPECS["multi-start"](task="teacher_studnet")
