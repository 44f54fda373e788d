"""Labels of ends that hold against more optimisation, and the rule that gives them.

A small gradient decides nothing: in a channel to infinity it falls below any tolerance. What
decides is how far Newton's method still has to go and how much lower it would come,

    d = |H^-1 g| / max(1, |theta|),      p = 1/2 g' H^-1 g / L,

over the eigenvalues of H beyond ``eps_H``, and whether the eigenvalues within it are explained: by
a loss that cannot be told from 0, or by directions in which the network's function does not change.

============  =================================================================================
label         when
============  =================================================================================
separable     the loss has no minimum: the readout separates samples, and the loss falls along it
              for ever (`edt.training.separable`), however small the gradient
minimum       d and p below `SETTLED` and `GAIN`, every eigenvalue above eps_H (or loss 0 and full
              rank)
flat minimum  the same, with zero eigenvalues that are all explained
saddle        d and p below the bounds, an eigenvalue below -eps_H
saturated     not settled; a unit has a slope on fewer samples than it has input weights (it became
              constant or a step on the others), so that some of these are free
channel       not settled, and less than `MOVING` is to be gained; two opponents' input weights are
              within `CLOSE`, or the loss is flat along the growth of two opponents' outputs (at
              least `OUTWARD` of it), or the norm grew under the budget together with these
drifting      none of these, and still moving when the budget was spent
undecided     none of these, and not moving: rounding, or more coordinates than Hessians are
              formed of
============  =================================================================================

How a run came to where it stands has no say where the place itself has one: in a channel rounding
stops every run somewhere, and what grew on the way there does not grow any more.

Reference: J. Nocedal, S. Wright, "Numerical Optimization", 2006, chapters 2 and 3; F. Martinelli et
al., NeurIPS 2025, arXiv 2506.14951 (channels).
"""

from __future__ import annotations

from dataclasses import dataclass

from edt.training.channels import CLOSE

__all__ = [
    "CERTIFIED",
    "GAIN",
    "GROWTH",
    "LABELS",
    "MOVING",
    "OUTWARD",
    "SETTLED",
    "Standing",
    "label_of",
    "overturned_by",
]

#: Every label.
LABELS = (
    "minimum", "flat minimum", "saddle", "separable", "channel", "saturated", "drifting",
    "undecided",
)  # fmt: skip
#: Labels that say a minimum was reached.
CERTIFIED = ("minimum", "flat minimum")
#: Largest relative Newton distance d of a settled point, and largest relative gain p. After a push
#: minima of small networks stand at 1e-12 and 1e-20; channels and saturated units on their way at
#: 0.1.
SETTLED, GAIN = 1e-3, 1e-8
#: A run in a channel has less than this share of its loss to gain by a Newton step.
MOVING = 1e-5
#: Growth of the norm, and of the outputs of the closest opponents, that is a drift to infinity.
GROWTH = 1.5
#: Share of the growth of the closest opponents' outputs that lies in directions in which the
#: Hessian is zero to rounding and no symmetry says why: half, more along it than across. Ends of
#: channels have 0.9 and more, saturated units 0.
OUTWARD = 0.5


@dataclass(frozen=True)
class Standing:
    """Where a run stands: what its label rests on.

    Attributes:
        finite: whether loss and gradient are.
        measured: whether the Hessian was formed.
        loss: L.
        zero_loss: whether L cannot be told from 0.
        distance: d; gain: p.
        norm: ``|theta|``.
        index: eigenvalues below -eps_H; n_zero: within it; unexplained: of these, how many are
            neither symmetries of the network's function nor due to loss 0.
        min_eig, max_eig, eps_H: of the Hessian.
        closeness: ``1 - cos`` of the closest opponents (`edt.training.channels`); pair, layer:
            which; outward: share of the direction in which their outputs grow, each by the same
            factor, that is unexplained and flat.
        saturated: units with a slope on fewer samples than they have input weights.
        steps: Newton steps of the push.
        growth: of the norm during the push; reach_growth: of the opponents' output weights.
        fell: share of the loss that the push took away.
        moved: distance it moved, relative to the norm.
        separated: weight of the samples with a margin that grows for ever along a direction of the
            readout; NaN: unknown, or of a loss that has a minimum whatever the data.
    """

    finite: bool
    measured: bool
    loss: float
    zero_loss: bool
    distance: float
    gain: float
    norm: float
    index: int
    n_zero: int
    unexplained: int
    min_eig: float
    max_eig: float
    eps_H: float
    closeness: float
    pair: tuple[int, int]
    layer: int
    saturated: int
    outward: float = 0.0
    steps: int = 0
    growth: float = 1.0
    reach_growth: float = 1.0
    fell: float = 0.0
    moved: float = 0.0
    separated: float = float("nan")

    @property
    def settled(self) -> bool:
        """Whether a critical point is reached that nothing unexplained leads away from."""
        near = self.distance <= SETTLED and self.gain <= GAIN
        return self.measured and near and self.unexplained == 0


def label_of(at: Standing) -> str:
    """The label: one of `LABELS`, by the table at the top of this file."""
    if not at.finite:
        return "undecided"
    if at.separated > 0.0:
        return "separable"
    if at.measured and at.zero_loss:
        return "flat minimum" if at.n_zero + at.index else "minimum"
    if at.settled:
        if at.index:
            return "saddle"
        return "flat minimum" if at.n_zero else "minimum"
    quiet = at.measured and at.gain <= MOVING
    if quiet and at.closeness <= CLOSE:
        return "channel"
    if quiet and at.saturated:
        return "saturated"
    grew = at.growth >= GROWTH and at.reach_growth >= GROWTH
    if quiet and (grew or at.outward >= OUTWARD):
        return "channel"
    if at.steps and (at.fell > GAIN or at.moved > SETTLED):
        return "drifting"
    return "undecided"


def overturned_by(at: Standing) -> str:
    """What would overturn the label of a run that stands there, in words."""
    word = label_of(at)
    radius = f"{at.distance * max(1.0, at.norm):.1e}"
    if word == "undecided" and not at.measured:
        return "its Hessian: it was not formed"
    if at.zero_loss and word in CERTIFIED:
        return "a loss below 0; in more digits than double precision, a loss above it"
    return {
        "minimum": f"a lower loss within {radius} of it, or a Hessian that is off by more than "
        f"{at.min_eig:.1e} in norm",
        "flat minimum": f"a lower loss along one of its {at.n_zero} flat directions, or within "
        f"{radius} of it",
        "saddle": f"an error of its Hessian of more than {abs(at.min_eig):.1e} in norm",
        "separable": f"a bound on the norm, or data that contradict the {at.separated:.0%} of the "
        "weight whose margins grow along its readout",
        "channel": f"a minimum further along it: a Newton distance below {SETTLED:.0e} of the norm "
        f"(now {at.distance:.1e}, or unknown along {at.unexplained} directions that rounding "
        "flattens)",
        "saturated": f"more data where its {at.saturated} saturated units bend",
        "drifting": "more steps: it was still moving when the budget was spent",
        "undecided": "more precision: rounding stopped it before the bounds were met",
    }[word]
