"""What edt set out to reach, and whether it did on this machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks import names
from benchmarks.figures import EDT, Figures, Measurement, Series

#: Quantities that must stay small.
AT_MOST = {
    names.MEMORY_QUANTITY: 1024.0,
    names.SOAK_QUANTITY: 32.0,
    names.CONVOLUTION_MEMORY: 1.2,
    names.PLANNING_QUANTITY: 10.0,
    names.STORE_QUANTITY: 2.0,
}
#: What running a sweep may cost beyond its trainings.
ENGINES = [names.engine_quantity(where) for where in names.ENGINES]
#: Exponent of time against size still called linear: 5% more time per unit per e-fold of size.
LINEAR = 1.05


@dataclass(frozen=True)
class Target:
    """A figure and its bound.

    Attributes:
        name: what is bounded.
        value: measured.
        bound: to reach.
        unit: of both.
        at_most: whether smaller is better.
        against: the contender compared with.
    """

    name: str
    value: float
    bound: float
    unit: str = "x"
    at_most: bool = False
    against: str = ""

    @property
    def met(self) -> bool:
        """Whether the bound is kept."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound


def targets(figures: Figures) -> list[Target]:
    """All targets whose figures were measured."""
    return [
        *_training(figures),
        *_sparsity(figures),
        *_sparse_layers(figures),
        *_products(figures),
        *_convolutions(figures),
        *_hessians(figures),
        *_one_network(figures),
        *_against_fastest(figures, names.BOTTOM_CASE, [names.SCIPY], names.BOTTOM_CASE, 10.0),
        *_quantities(figures),
        *(_linear(series) for series in figures.series if len(series.sizes) > 1),
    ]


def exponent(series: Series) -> float:
    """Least-squares slope of log time against log size."""
    return float(np.polyfit(np.log(series.sizes), np.log(series.seconds), 1)[0])


def _ratio(name: str, bound: float, mine: Measurement, peer: Measurement) -> Target:
    return Target(name, peer.seconds / mine.seconds, bound, against=peer.contender)


def _against_fastest(
    figures: Figures, case: str, peers: list[str], name: str, bound: float
) -> list[Target]:
    found = figures.of(case)
    there = [found[peer] for peer in peers if peer in found]
    if EDT not in found or not there:
        return []
    return [_ratio(name, bound, found[EDT], min(there, key=lambda m: m.seconds))]


def _training(figures: Figures) -> list[Target]:
    # The peers named when the targets were set, with the activations their libraries ship.
    peers = [
        names.EAGER,
        names.VMAP_PADDED,
        names.VMAP,
        names.BADDBMM,
        names.COMPILED,
        names.SCAN,
    ]
    bounds = {
        ("softplus", "float32"): 11.0,
        ("softplus", "float64"): 9.0,
        ("tanh", "float32"): 8.0,
        ("tanh", "float64"): 7.0,
    }
    out = []
    for (activation, dtype), bound in bounds.items():
        case = names.training_case(activation, dtype)
        out += _against_fastest(figures, case, peers, f"{case}: fastest peer", bound)
    for dtype in ("float32", "float64"):
        case = names.training_case("softplus", dtype)
        out += _against_fastest(figures, case, [names.VMAP_PADDED], f"{case}: vmap padded", 90.0)
    return out


def _sparsity(figures: Figures) -> list[Target]:
    out = []
    for dtype in ("float32", "float64"):
        case = names.sparsity_case(dtype)
        found = figures.of(case)
        if names.DENSE in found and names.SPARSE in found:
            out.append(_ratio(f"{case}: 90% pruned", 3.0, found[names.SPARSE], found[names.DENSE]))
    return out


def _sparse_layers(figures: Figures) -> list[Target]:
    """The least ratio over all cells."""
    out = []
    for networks, bound in ((16, 8.0), (1, 6.0)):
        cells = map(figures.of, filter(lambda c: names.is_sparse(c, networks), figures.cases()))
        name = f"Pruned LeNets, {networks}: least of all cells"
        ratios = [
            _ratio(name, bound, cell[EDT], cell[names.SPARSEPROP])
            for cell in cells
            if EDT in cell and names.SPARSEPROP in cell
        ]
        out += [min(ratios, key=lambda target: target.value)] if ratios else []
    return out


def _products(figures: Figures) -> list[Target]:
    peers = [names.JAX_FORWARD, names.JAX_REVERSE]
    case = names.PRODUCTS_CASE
    convolutions = names.CONVOLUTION_PRODUCTS
    return [
        *_against_fastest(figures, case, peers, f"{case}: JAX", 60.0),
        *_against_fastest(
            figures, convolutions, list(names.TORCH_FORMS), f"{convolutions}: torch.func", 10.0
        ),
    ]


def _convolutions(figures: Figures) -> list[Target]:
    found = []
    for sparsity, bound in zip(names.CONVOLUTION_SPARSITIES, (2.0, 5.0, 12.0), strict=True):
        case = names.convolution_case(sparsity)
        peers = list(names.TORCH_CONVOLUTIONS)
        found += _against_fastest(figures, case, peers, f"{case}: PyTorch", bound)
    return found


def _hessians(figures: Figures) -> list[Target]:
    out = []
    for width, bound in ((16, 120.0), (64, 200.0)):
        case = names.hessian_case(width)
        out += _against_fastest(figures, case, [names.JAX_HESSIAN], f"{case}: JAX", bound)
    return out


def _one_network(figures: Figures) -> list[Target]:
    """The least ratio over all widths and sample sizes."""
    out = []
    for what, bound in (("gradient", 2.0), ("Hessian", 30.0)):
        found = [figures.of(case) for case in figures.cases() if names.is_one(case, what)]
        ratios = [
            _ratio(f"One network, {what}: least of all cells", bound, m[EDT], m[names.TORCH_ONE])
            for m in found
            if EDT in m and names.TORCH_ONE in m
        ]
        out += sorted(ratios, key=lambda target: target.value)[:1]
    return out


def _quantities(figures: Figures) -> list[Target]:
    out = []
    for name, (value, unit) in figures.quantities.items():
        if name.startswith(names.peak_quantity("")):
            out.append(Target(name, value, 50.0, unit))
        if name in ENGINES:
            out.append(Target(name, value, 5.0, unit, at_most=True))
        if name in AT_MOST:
            out.append(Target(name, value, AT_MOST[name], unit, at_most=True))
    return out


def _linear(series: Series) -> Target:
    return Target(f"time ~ ({series.name})^p", exponent(series), LINEAR, "= p", at_most=True)
