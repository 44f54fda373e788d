"""Directions in parameter space: random ones of fair length, eigenvectors, differences, paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edt.curvature import extreme_eigenpairs, hessian_spectrum
from edt.curvature.eigenpairs import ENDS
from edt.ensemble import Ensemble, ModuleEnsemble
from edt.ensemble.deviates import normal
from edt.ensemble.kinds import Networks
from edt.ensemble.masks import TRAINABLE
from edt.ensemble.philox import draws
from edt.errors import unknown_choice
from edt.landscape.views.chart import matched
from edt.scalars import integer
from edt.tasks.given import task_and_networks

__all__ = ["eigen_directions", "path_directions", "random_directions"]

NORMS = ("filter", "network", "unit")
#: Stream of the generator, apart from those of networks, tasks and lotteries (0-10 << 24).
DIRECTION_STREAM = 11 << 24
#: Most coordinates for which eigenvectors come from the dense Hessian.
DENSE = 1000


def random_directions(
    networks: Networks, count: int = 1, *, seed: int = 0, norm: str = "filter"
) -> torch.Tensor:
    """Gaussian directions, scaled so that networks can be compared.

    A network's direction depends on its widths, its id and the seed, not on the other networks.
    Entries of pruned and frozen parameters are 0.

    ========  ====================================================================================
    norm      scale
    ========  ====================================================================================
    filter    each neuron's input weights and bias get the norm of the network's own: a step of 1
              changes every neuron by its own size, whatever its scale (Li et al.)
    network   the whole direction gets the norm of the network's trainable parameters
    unit      the whole direction gets norm 1
    ========  ====================================================================================

    Args:
        networks: B networks.
        count: how many.
        seed: >= 0.
        norm: see above.

    Returns:
        float64 ``[count, total]``.

    Raises:
        TypeError, ValueError: an argument is wrong.

    Example:
        >>> ens = edt.Ensemble.init([3], d_in=2, d_out=1)
        >>> random_directions(ens, 2).shape
        torch.Size([2, 13])

    Reference: H. Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018.
    """
    if norm not in NORMS:
        raise unknown_choice("norm", str(norm), NORMS)
    count = integer("count", count, 1)
    seed = integer("seed", seed, 0)
    rows = [_drawn(networks, seed + k) for k in range(count)]
    free = networks.state.cpu() == TRAINABLE
    if isinstance(networks, ModuleEnsemble) and norm == "filter":
        # Li et al. leave norms as they are: their scale is not a filter's.
        free &= ~networks.role_mask("norm").cpu()
    theta = networks.theta.detach().cpu().to(torch.float64)
    group = _neurons(networks) if norm == "filter" else _owners(networks)
    out = torch.stack(rows) * free
    for row in out:
        length = _norms(row, group)
        wanted = torch.ones_like(length) if norm == "unit" else _norms(theta * free, group)
        row *= (wanted / length.masked_fill(length == 0.0, 1.0))[group]
    return out.to(networks.device)


def _drawn(networks: Networks, seed: int) -> torch.Tensor:
    """Gaussian numbers, float64 ``[total]``; a network's depend on its sizes, id and the seed."""
    if isinstance(networks, ModuleEnsemble):
        sizes = networks.offsets.diff().numpy()
        keys = np.full(networks.B, seed, dtype=np.uint64)
        names = networks.network_ids.numpy().astype(np.uint64)
        return torch.from_numpy(normal(draws(keys, names, DIRECTION_STREAM, sizes)))
    return Ensemble.init(
        [tuple(row) for row in networks.layer_widths[:, 1:-1].tolist()],
        seed,
        d_in=networks.d_in,
        d_out=networks.d_out,
        scheme="normal",
        bias=networks.has_bias,
        ids=networks.network_ids.cpu(),
    ).theta


def eigen_directions(
    task: Any,
    networks: Networks,
    count: int = 1,
    *,
    which: str = "lowest",
    task_index: Any = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit eigenvectors of each network's Hessian with the lowest or highest eigenvalues.

    The sign is fixed: the entry of largest magnitude is positive.

    Args:
        task: an `edt.Task`, ``(x, y)``, or a task over infinite data.
        networks: B networks.
        count: how many, at most the coordinates of the smallest network that has any.
        which: "lowest" (from the smallest eigenvalue up) or "highest" (from the largest down).
        task_index: int64 ``[B]``, default 0.

    Returns:
        (directions float64 ``[count, total]``, eigenvalues float64 ``[count, B]``); 0 and NaN of a
        network without coordinates.

    Raises:
        TypeError, ValueError: an argument is wrong.

    Example:
        >>> ways, values = eigen_directions(task, networks, 2)  # doctest: +SKIP
    """
    which = {letters: word for word, letters in ENDS.items()}.get(which, which)
    if which not in ENDS:
        raise unknown_choice("which", str(which), ("lowest", "highest"))
    task, networks = task_and_networks(task, networks)
    home = networks.device
    task, networks, index = matched(task, networks, task_index, device="cpu")
    least = networks.coords[networks.coords > 0]
    count = integer("count", count, 1)
    if least.numel() and count > int(least.min()):
        raise ValueError(
            f"count must be at most {int(least.min())} (the smallest network's), got {count}"
        )
    out = torch.zeros(count, networks.total, dtype=torch.float64)
    values = torch.full((count, networks.B), torch.nan, dtype=torch.float64)
    free = networks.state.cpu() == TRAINABLE
    offsets = networks.offsets.tolist()
    for b, (found, vectors) in enumerate(_pairs(networks, task, index, count, which)):
        for k in range(min(count, found.numel())):
            way = vectors[k]
            way = way * torch.sign(way[way.abs().argmax()])
            span = slice(offsets[b], offsets[b + 1])
            out[k, span][free[span]] = way
            values[k, b] = found[k]
    return out.to(home), values


def _pairs(
    networks: Any, task: Any, index: torch.Tensor, count: int, which: str
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(eigenvalues ``[count]``, eigenvectors ``[count, P]``) of each network, in order."""
    order = slice(None) if which == "lowest" else slice(None, None, -1)
    if int(networks.coords.max()) <= DENSE:
        spectra, columns = hessian_spectrum(networks, task, task_index=index, vectors=True)
        turned = [(value.numpy()[order], column.T.numpy()[order])
                  for value, column in zip(spectra, columns, strict=True)]  # fmt: skip
        return [(torch.from_numpy(v[:count].copy()), torch.from_numpy(c[:count].copy()))
                for v, c in turned]  # fmt: skip
    kind = "SA" if which == "lowest" else "LA"
    pairs = extreme_eigenpairs(networks, task, count, which=kind, task_index=index)
    flip = [range(count), range(count - 1, -1, -1)][which == "highest"]
    return [(pair.values[list(flip)], pair.vectors[list(flip)]) for pair in pairs]


def path_directions(networks: Networks, path: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The two directions in which each network's path varies most around its end.

    Principal directions of ``theta_b(t_r) - theta_b`` over the recorded moments r, not centred:
    the plane through the end that is closest to the path. Units are those of the parameters.

    Args:
        networks: B networks, where the paths end.
        path: float64 ``[R, total]``; moments with entries that are not finite are left out.

    Returns:
        (orthonormal directions float64 ``[2, total]``, share of the squared distances each
        accounts for, float64 ``[2, B]``).

    Raises:
        ValueError: the shape does not fit, or a path has fewer than two moments away from the end.

    Example:
        >>> ways, share = path_directions(flow.networks, params)  # doctest: +SKIP

    Reference: H. Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018,
    section 7.
    """
    if path.dim() != 2 or path.shape[1] != networks.total:
        raise ValueError(f"path must have shape [R, {networks.total}], got {list(path.shape)}")
    out = torch.zeros(2, networks.total, dtype=torch.float64)
    share = torch.zeros(2, networks.B, dtype=torch.float64)
    theta = networks.theta.detach().cpu().to(torch.float64)
    free = networks.state.cpu() == TRAINABLE
    offsets = networks.offsets.tolist()
    for b in range(networks.B):
        span = slice(offsets[b], offsets[b + 1])
        rows = (path[:, span].cpu().to(torch.float64) - theta[span]) * free[span]
        rows = rows[torch.isfinite(rows).all(1) & (rows != 0.0).any(1)]
        if rows.shape[0] < 2 or int(free[span].sum()) < 2:
            raise ValueError(
                f"path must have two moments away from the end of network {b} (and two "
                f"coordinates to move in), got {rows.shape[0]}"
            )
        _, lengths, ways = torch.linalg.svd(rows, full_matrices=False)
        for k in range(2):
            way = ways[k]
            out[k, span] = way * torch.sign(way[way.abs().argmax()])
        share[:, b] = lengths[:2] ** 2 / (lengths**2).sum()
    return out.to(networks.device), share


def _owners(networks: Networks) -> torch.Tensor:
    """Network of each parameter, int64 ``[total]``."""
    sizes = (networks.offsets[1:] - networks.offsets[:-1]).cpu()
    return torch.repeat_interleave(torch.arange(networks.B), sizes)


def _neurons(networks: Networks) -> torch.Tensor:
    """Neuron (row of a weight, with its bias) of each parameter, int64 ``[total]``.

    In modules: a unit or channel of each block, and whole blocks that have none.
    """
    out = torch.zeros(networks.total, dtype=torch.int64)
    count = 0
    if isinstance(networks, ModuleEnsemble):
        for b, start in enumerate(networks.offsets[:-1].tolist()):
            rows: dict[str, int] = {}
            for block in networks.blocks(b):
                owner = block.name.rpartition(".")[0]
                span = slice(start + block.start, start + block.stop)
                if block.role == "bias" and rows.get(owner, -1) >= 0 and len(block.shape) == 1:
                    # A bias moves with the weights that feed its unit.
                    out[span] = rows[owner] + torch.arange(block.size)
                    continue
                each = torch.arange(block.filters).repeat_interleave(block.size // block.filters)
                out[span] = count + each
                if block.role == "weight":
                    rows[owner] = count
                count += block.filters
        return out
    for b in range(networks.B):
        for layer in range(networks.depth + 1):
            weight = networks.layout.weight(out, b, layer)
            names = torch.arange(count, count + weight.shape[0])
            weight.copy_(names[:, None].expand_as(weight))
            if networks.has_bias:
                networks.layout.bias(out, b, layer).copy_(names)
            count += weight.shape[0]
    return out


def _norms(flat: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Euclidean norm of each group's entries."""
    out = torch.zeros(int(group.max()) + 1, dtype=torch.float64)
    return torch.sqrt(out.index_add_(0, group, flat * flat))
