"""Exclusive or: the start, the counts, the comparison with the reference, resuming."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from edt.studies.xor.run import Xor, holm, networks, reference_table, run_xor
from edt.studies.xor.spec import REFERENCE, XorSpec
from edt.tasks.xor import xor

SMALL = XorSpec(widths=(2, 4), seeds=12, steps=400, success=0.4)


def test_start_is_the_protocol():
    """Variances 1 and 2 (or 2/m), zero biases; 6,000 weights leave 2% of noise, 4,000 2.3%."""
    spec = XorSpec(seeds=1000)
    for start, width, variance in (("fixed", 2, 2.0), ("fixed", 8, 2.0), ("he", 8, 0.25)):
        ens = networks(spec, start, width)
        theta = ens.theta.reshape(ens.B, -1)
        inputs, outputs = theta[:, : 2 * width], theta[:, 4 * width : 5 * width]
        assert float(inputs.var()) == pytest.approx(1.0, rel=0.08)
        assert float(outputs.var()) == pytest.approx(variance, rel=0.08)
        assert not theta[:, 2 * width : 3 * width].any()  # biases
        assert not theta[:, 3 * width : 4 * width].any()  # the logit that is pruned
        assert ens.coords.tolist() == [4 * width + 1] * 1000


def test_steps_are_gradient_descent_on_the_logistic_loss():
    """Three steps by autograd (1e-12: rounding of a few sums)."""
    spec = XorSpec(widths=(3,), seeds=2, starts=("fixed",), steps=3)
    runs = run_xor(spec, progress=False).tables["runs"]
    x, y = xor().x, torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    ens = networks(spec, "fixed", 3)
    for b in range(2):
        w, b1 = ens.weight(b, 0).clone(), ens.bias(b, 0).clone()
        a, c = ens.weight(b, 1)[1].clone(), ens.bias(b, 1)[1].clone()
        for step in range(4):
            parts = [p.detach().requires_grad_() for p in (w, b1, a, c)]
            z = torch.relu(x @ parts[0].T + parts[1]) @ parts[2] + parts[3]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
            if step == 3:
                break
            slopes = torch.autograd.grad(loss, parts)
            w, b1, a, c = (p - spec.lr * g for p, g in zip(parts, slopes, strict=True))
        assert runs["loss"][b] == pytest.approx(loss.item(), rel=1e-12)


def test_run_resume_and_load(tmp_path):
    folder = tmp_path / "run"
    done = run_xor(SMALL, folder, progress=False)
    runs = done.tables["runs"]
    assert len(runs) == SMALL.networks == 48
    assert (runs["win"] == (runs["loss"] < SMALL.success)).all() and runs["win"].any()
    before = (folder / "runs.parquet").read_bytes()
    next((folder / "parts").glob("he-width-0004.parquet")).unlink()
    run_xor(SMALL, folder, progress=False)
    assert (folder / "runs.parquet").read_bytes() == before
    pd.testing.assert_frame_equal(Xor.load(folder).tables["runs"], runs)
    assert not SMALL.comparable and XorSpec(seeds=7).comparable


def runs_of(counts, seeds=1000):
    """A table with these numbers of successes."""
    return pd.DataFrame(
        [
            {"start": "he", "width": width, "seed": s, "win": s < good}
            for width, good in counts.items()
            for s in range(seeds)
        ]
    )


def test_reference_against_itself():
    """The published figures of the protocol come back, to the digits they are given in."""
    table = reference_table(runs_of(REFERENCE)).set_index("width")
    assert (table["p"] > 0.999).all() and (table["p_holm"] == 1.0).all()
    expected = {2: 1.0, 3: 2.4, 4: 4.4, 6: 8.1, 8: 11.2, 10: 14.8}
    for width, tickets in expected.items():
        assert round(table.loc[width, "n_eff"], 1) == tickets
        assert table.loc[width, "n_eff_ref"] == table.loc[width, "n_eff"]
    assert table.loc[10, ["n_disjoint", "n_windows", "n_combinatorial"]].tolist() == [5, 9, 45]


def test_differences_are_found_and_others_are_not():
    table = reference_table(runs_of(REFERENCE | {8: 960, 5: 700})).set_index("width")
    assert table.loc[8, "p_holm"] < 0.01 and (table["p_holm"].drop([8, 5]) == 1.0).all()
    assert np.isnan(table.loc[5, ["p", "p_holm", "rate_ref", "n_eff_ref"]].astype(float)).all()
    without = reference_table(runs_of({4: 600, 1: 0}))
    assert without["n_eff"].isna().all()


def test_holm():
    """By hand: 0.01 * 3, then max(0.03, 0.02 * 2), then max(0.04, 0.5)."""
    assert holm(np.array([0.5, 0.01, 0.02])) == pytest.approx([0.5, 0.03, 0.04])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_bad_spec():
    with pytest.raises(ValueError, match="did you mean"):
        dataclasses.replace(SMALL, starts=("fixd",))
    with pytest.raises(ValueError, match="rising"):
        dataclasses.replace(SMALL, widths=(4, 2))
    with pytest.raises(ValueError, match="seeds"):
        dataclasses.replace(SMALL, seeds=0)
    with pytest.raises(TypeError, match="steps"):
        dataclasses.replace(SMALL, steps=1.5)
    with pytest.raises(ValueError, match="lr"):
        dataclasses.replace(SMALL, lr=0.0)
