"""Whether a pruned network still hears its inputs: layers cut, and the paths that keep it whole.

A network none of whose paths from an input to an output survives is a constant, whatever its
biases learn. `edt.lottery.prune` therefore never cuts a network that was whole: it keeps the
strongest path, the one whose weakest weight has the highest score.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edt.arguments import checked
from edt.ensemble import Ensemble, ModuleEnsemble
from edt.ensemble.arrays import as_tensor
from edt.ensemble.kinds import Networks
from edt.ensemble.masks import PRUNED
from edt.errors import ShapeError
from edt.lottery.membership import membership, ranks

__all__ = ["connected", "layers_cut", "strongest_path"]


def layers_cut(ens: Networks) -> torch.Tensor:
    """Number of each network's layers that have no weight left, int64 ``[B]``.

    Example:
        >>> ens = Ensemble([2], d_in=1, d_out=1, bias=False)
        >>> layers_cut(ens.with_masks([[torch.ones(2, 1), torch.zeros(1, 2)]])).tolist()
        [1]
    """
    return ens.layers_cut


def connected(ens: Networks) -> torch.Tensor:
    """Whether a path of weights leads from an input to an output, bool ``[B]``.

    False: the network's outputs do not depend on its inputs. Networks of modules, whose paths are
    not known, count as connected while every layer has a weight.
    """
    if isinstance(ens, ModuleEnsemble):
        return layers_cut(ens) == 0
    reach, _, start = _reach(ens, np.zeros(ens.total))
    last = np.maximum.reduceat(reach[-1], start[-1][:-1])
    return torch.from_numpy(last > -np.inf)


def flat_scores(ens: Networks, scores: Any) -> torch.Tensor:
    """Scores of all parameters, on the CPU.

    Raises:
        TypeError: no array of numbers. ShapeError: wrong length.
    """
    flat = as_tensor("scores", scores).cpu()
    if tuple(flat.shape) != (ens.total,):
        raise ShapeError(f"scores must have shape [{ens.total}], got {list(flat.shape)}")
    return flat


def strongest_path(ens: Networks, scores: torch.Tensor) -> torch.Tensor:
    """The weights of one path through every network, bool ``[total]``, of the largest least score.

    ``max over paths of min over its weights of score``, by dynamic programming from the inputs;
    equals go to the lowest index. A network without a path has none of them. In networks of modules
    the best weight of each layer.

    Args:
        ens: B networks.
        scores: ``[total]``, not NaN at weights.

    Raises:
        ShapeError: wrong length.
    """
    scores = flat_scores(ens, scores)
    at = membership(ens)
    if isinstance(ens, ModuleEnsemble):
        where = torch.nonzero((ens.state.cpu() != PRUNED) & ~at.bias).flatten()
        kept = torch.zeros(ens.total, dtype=torch.bool)
        kept[where[ranks(-scores.cpu()[where].double(), at.block[where]) == 0]] = True
        return kept
    # Ranks, equal where the scores are: -inf then means that no path leads here.
    value = np.unique(scores.cpu().numpy(), return_inverse=True)[1].astype(np.float64)
    reach, weight, start = _reach(ens, value)
    row, column = at.row.numpy(), at.column.numpy()
    network = at.network.numpy()
    chosen = torch.zeros(ens.total, dtype=torch.bool)
    # The best output of each network; then backwards, the weight it got its value through.
    first = start[-1][:-1]
    best = np.maximum.reduceat(reach[-1], first)
    wanted = np.array(
        [a + int(np.argmax(reach[-1][a:b])) for a, b in zip(first, start[-1][1:], strict=True)]
    )
    wanted = wanted[best > -np.inf]
    for layer in range(at.layers - 1, -1, -1):
        here = weight[layer]
        into = start[layer + 1][network[here]] + row[here]
        source = start[layer][network[here]] + column[here]
        through = np.minimum(reach[layer][source], value[here])
        attained = through == reach[layer + 1][into]
        # The first weight that attains a unit's value.
        place = np.full(reach[layer + 1].size, here.size)
        np.minimum.at(place, into[attained], np.flatnonzero(attained))
        step = place[wanted]
        chosen[torch.from_numpy(here[step])] = True
        wanted = source[step]
    return chosen


def _reach(
    ens: Ensemble, value: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Per layer of units the best path value (-inf: none), the live weights, and unit offsets.

    Returns:
        reach: ``[units of the layer in all networks]``, inputs (inf) to outputs; D + 2 of them.
        weight: places of the unpruned weights of each layer; D + 1.
        start: ``[B + 1]``, first unit of each network in ``reach``; D + 2.
    """
    at = membership(ens)
    live = ((ens.state.cpu() != PRUNED) & ~at.bias).numpy()
    layer, network = at.layer.numpy(), at.network.numpy()
    row, column = at.row.numpy(), at.column.numpy()
    start = [np.r_[0, np.cumsum(widths)] for widths in ens.layer_widths.cpu().numpy().T]
    weight = [np.flatnonzero(live & (layer == k)) for k in range(at.layers)]
    reach = [np.full(start[0][-1], np.inf)]
    for k, here in enumerate(weight):
        through = np.minimum(reach[k][start[k][network[here]] + column[here]], value[here])
        units = np.full(start[k + 1][-1], -np.inf)
        np.maximum.at(units, start[k + 1][network[here]] + row[here], through)
        reach.append(units)
    return reach, weight, start


checked(__name__)
