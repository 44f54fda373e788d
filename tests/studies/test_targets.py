"""Targets out of reach: what is good, and data that are what they are said to be."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from edt import functional
from edt.studies.depth.run import deep_teachers
from edt.studies.depth.spec import DepthSpec
from edt.studies.targets.run import judged, make_data
from edt.studies.targets.spec import TargetsSpec


def test_noise_is_on_the_training_samples_alone():
    spec = TargetsSpec(teachers=2, samples=400, noise=0.2, test_samples=300)
    clean, test = make_data(spec, "clean")
    noisy, same = make_data(spec, "noisy")
    both = torch.arange(2)
    teacher = clean.info["teacher"]
    assert functional.loss(teacher, clean, task_index=both).max() < 1e-25
    assert functional.loss(teacher, test, task_index=both).max() < 1e-25
    # 400 squares of standard deviation 0.2: 7% standard deviation.
    loss = functional.loss(teacher, noisy, task_index=both)
    assert loss.tolist() == pytest.approx([0.04, 0.04], rel=0.3)
    assert torch.equal(test.y, same.y) and test.x.shape == (300, 2)


def test_good_is_near_the_best_of_the_narrow():
    spec = TargetsSpec(share=0.1)
    rows = [("rosenbrock", 4, 1.0), ("rosenbrock", 4, 1.05), ("rosenbrock", 8, 0.5),
            ("rosenbrock", 2, 3.0), ("clean", 4, 1e-9), ("clean", 4, 1e-2)]  # fmt: skip
    runs = pd.DataFrame(rows, columns=["data", "width", "loss"]).assign(
        target=0, seed=range(6), parameters=9, train_loss=1.0, test_loss=1.0, threshold=1e-6,
        label="minimum", outcome="bad",
    )  # fmt: skip
    found = judged(spec, runs)
    assert found["outcome"].tolist() == ["good", "good", "good", "bad", "good", "bad"]
    assert found["threshold"].tolist()[:4] == [1.1] * 4


def test_deep_teachers_are_as_deep_as_their_students():
    spec = DepthSpec(teachers=2, samples=40)
    for depth in (1, 3):
        task = deep_teachers(spec, depth)
        teacher = task.info["teacher"]
        assert teacher.layer_widths.shape[1] == depth + 2
        assert functional.loss(teacher, task, task_index=torch.arange(2)).max() < 1e-25
        assert task.variance.tolist() == pytest.approx([1.0, 1.0])
