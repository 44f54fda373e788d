"""Every parameter's place, against loops over layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edt.ensemble import Ensemble
from edt.lottery.membership import group_sum, membership, ranks


@pytest.mark.parametrize("bias", [True, False])
def test_places_agree_with_the_layout(bias):
    ens = Ensemble([(3, 2), (4, 5)], d_in=2, d_out=3, bias=bias)
    at = membership(ens)
    for b in range(ens.B):
        for layer in range(ens.depth + 1):
            row = ens.layout.weight(at.row, b, layer)
            column = ens.layout.weight(at.column, b, layer)
            assert (row == torch.arange(row.shape[0])[:, None]).all()
            assert (column == torch.arange(row.shape[1])[None]).all()
            assert (ens.layout.weight(at.network, b, layer) == b).all()
            assert (ens.layout.weight(at.layer, b, layer) == layer).all()
            if bias:
                assert (ens.layout.bias(at.column, b, layer) == -1).all()
                assert ens.layout.bias(at.row, b, layer).tolist() == list(range(row.shape[0]))
    assert int(at.bias.sum()) == (ens.layer_widths[:, 1:].sum() if bias else 0)


def test_ranks_and_sums_against_loops():
    draw = np.random.default_rng(0)
    keys = torch.from_numpy(draw.integers(0, 6, 200).astype(float))  # many ties
    group = torch.from_numpy(draw.integers(0, 9, 200))
    rank = ranks(keys, group)
    for g in range(9):
        own = torch.nonzero(group == g).flatten()
        order = sorted(own.tolist(), key=lambda i: (float(keys[i]), i))
        assert [int(rank[i]) for i in order] == list(range(len(order)))
    sums = group_sum(keys, group, 9)
    assert sums.tolist() == [float(keys[group == g].sum()) for g in range(9)]
    assert group_sum(keys > 2, group, 9).tolist() == [
        int((keys[group == g] > 2).sum()) for g in range(9)
    ]
