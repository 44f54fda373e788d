"""Every verdict follows from what is saved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import edt
import edt.training as training


@pytest.mark.parametrize("maxnorm", [None, 0.4])
def test_saved_results_give_their_verdicts_again(cases, tmp_path, maxnorm):
    data = edt.tasks.teacher_student(2, 2, n=50, normalise=True, seed=1)
    minima = edt.masked_train(data, widths=[1, 2], seeds=range(3), steps=300, lr=0.02,
                              progress=False).networks  # fmt: skip
    low = training.converge(data, minima, lbfgs_steps=300, newton_steps=60, maxnorm=maxnorm,
                            progress=False)  # fmt: skip
    saddles = edt.embed.split(low.networks.select([0, 1]), 0, 0.5).networks
    high = training.converge(data, saddles, escape_saddles=False, maxnorm=maxnorm, newton_steps=30,
                             progress=False)  # fmt: skip
    words = set()
    for name, result in (("low", low), ("high", high)):
        result.save(tmp_path / f"{name}.safetensors")
        back = training.ConvergeResult.load(tmp_path / f"{name}.safetensors")
        assert back.to_pandas().equals(result.to_pandas()) and back.task == result.task
        assert (back.maxnorm is None) == (maxnorm is None)
        table = back.recheck(data)
        assert table["agrees"].all(), table
        known = back.index >= 0
        # The same kernels on the same parameters: the same bits.
        assert table["loss"].tolist() == back.loss.tolist()
        assert table["grad_max"].tolist() == back.grad_max.tolist()
        assert table["index"][known.numpy()].tolist() == back.index[known].tolist()
        np.testing.assert_array_equal(table["min_eig"][known.numpy()], back.min_eig[known])
        for b, word in enumerate(back.verdict):
            evidence = back.evidence(b)
            if word != "unconverged":
                assert evidence.grad_max <= evidence.tol
                assert (word == "saddle") == (evidence.min_eig < -evidence.threshold)
                assert (word == "minimum") == (evidence.min_eig > evidence.threshold)
            words.add(word)
    assert {"minimum", "saddle"} <= words


def test_wrong_claims_are_found(cases):
    data = edt.tasks.teacher_student(2, 2, n=50, normalise=True, seed=1)
    ens = edt.Ensemble.init([1], range(2), d_in=2, d_out=1)
    result = training.converge(data, ens, lbfgs_steps=200, newton_steps=60, progress=False)
    assert result.recheck(data)["agrees"].all()
    result.networks = result.networks.with_theta(result.networks.theta + 0.01)
    assert not result.recheck(data)["agrees"].any()
    with pytest.raises(ValueError, match="data of the result"):
        result.recheck(edt.Task(data.x, 2 * data.y))


def test_results_together(cases):
    data, ens = cases.task(), cases.ensemble([2, 3, 2], seed=3)
    options = {"lbfgs_steps": 50, "newton_steps": 10, "progress": False}
    whole = training.converge(data, ens, **options)
    parts = [training.converge(data, ens.select([b]), **options) for b in range(3)]
    joined = training.ConvergeResult.concat(parts)
    assert torch.equal(joined.networks.theta, whole.networks.theta)
    assert joined.to_pandas().equals(whole.to_pandas())
    with pytest.raises(ValueError, match="tol"):
        training.ConvergeResult.concat([whole, training.converge(data, ens, tol=1e-3, **options)])
    with pytest.raises(ValueError, match="at least one"):
        training.ConvergeResult.concat([])
