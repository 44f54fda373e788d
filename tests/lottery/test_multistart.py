"""Partitions into tickets, and mutual information."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edt.ensemble import Ensemble
from edt.lottery.multistart import partition
from edt.stats import mutual_information


def test_partition_covers_each_neuron_once():
    ens = Ensemble.init([5, 8, 4], [0], d_in=2, d_out=1, scheme="normal")
    cut = partition(ens, 2, torch.tensor([0, 1, 0]))
    assert cut.network.tolist() == [0] * 2 + [1] * 4 + [2] * 2
    assert cut.part.tolist() == [0, 1, 0, 1, 2, 3, 0, 1]
    assert cut.tickets.task_index.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    alone = cut.tickets.alone()
    for b in range(ens.B):
        own = torch.nonzero(cut.network == b).flatten().tolist()
        used = sum(alone.weight_mask(k, 0).long() for k in own)
        width = int(ens.layer_widths[b, 1])
        assert used[: width // 2 * 2].eq(1).all() and used[width // 2 * 2 :].eq(0).all()
        for k in own:
            kept = alone.weight_mask(k, 0)
            assert (alone.weight(k, 0)[kept] == ens.weight(b, 0)[kept]).all()
    with pytest.raises(ValueError, match=r"1\.\.4"):
        partition(ens, 5, torch.zeros(3, dtype=torch.int64))


def test_mutual_information():
    a = np.array([1, 1, 0, 0], dtype=bool)
    assert mutual_information(a, ~a) == 1.0
    assert mutual_information(a, [True, False, True, False]) == 0.0
    # p(a, b) = 3/8, 1/8, 1/8, 3/8: 1 - H(1/4) bits.
    one = np.repeat([True, True, False, False], [3, 1, 1, 3])
    other = np.repeat([True, False, True, False], [3, 1, 1, 3])
    wanted = 1 + 0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)
    assert math.isclose(mutual_information(one, other), wanted, rel_tol=1e-12)
    # Two groups that differ in rate only: all of the information is theirs.
    assert mutual_information(a, a, a.astype(int)) == 0.0
