"""How the numbers came about: protocol, definitions, caveats, references."""

from __future__ import annotations

from typing import Any

from edt.show.words import count, exact, option, percent, ranges
from edt.studies.common.targets import learnable, target_text
from edt.studies.width.story import Story


def protocol(story: Story) -> list[tuple[str, str]]:
    """Name and value of each part of the protocol."""
    spec = story.spec
    kind = "biases" if spec.bias else "no biases"
    scale = (
        f", at the scale of width {spec.reference_width} whatever the width"
        if spec.fixed_scale
        else ""
    )
    return [
        ("Target", target_text(spec)),
        (
            "Students",
            f"one hidden layer, widths {ranges(spec.widths)}, {option(spec.activation)}, {kind}, "
            f"{count(spec.seeds, 'seed')} per width and {story.target_name}, float64",
        ),
        ("Start", f"{option(spec.init)} initialisation{scale}"),
        (
            "Training",
            f"full-batch Adam, {spec.steps:,} steps, learning rate {exact(spec.lr)}, "
            f"{spec.schedule} "
            f"schedule; then up to {count(spec.lbfgs_rounds, 'round')} of "
            f"{spec.lbfgs_steps:,} L-BFGS "
            f"iterations; then trust-region Newton on the exact Hessian (up to {spec.newton_steps} "
            f"iterations, saddles are left) to max|∂L| ≤ {exact(spec.tol)}",
        ),
        (
            "Splitting",
            f"bad minima of widths {ranges(spec.split_widths)}, up to {spec.split_levels} "
            f"loss levels each, commonest first; shares (μ, 1 − μ) with μ = "
            f"{', '.join(f'{exact(mu)}' for mu in spec.mus)}",
        ),
    ]


def glossary(story: Story) -> list[tuple[str, str]]:
    """What the words mean."""
    r = story.spec.reference_width
    good = (
        f"loss ≤ {exact(story.spec.good)} × variance of the target"
        if story.spec.realisable
        else f"loss within {percent(story.spec.good)} of the lowest reached at width ≤ {r}"
    )
    return [
        ("Good", good),
        (
            "Bad minimum",
            "not good, gradient at the tolerance, and no Hessian eigenvalue below −ε, "
            "ε = 10 u P ‖H‖ (u: machine epsilon, P: parameters)",
        ),
        (
            "Channel",
            "not converged, and two neurons whose input weights nearly agree (1 − cos ≤ 0.001) "
            "pull in opposite directions: the loss falls towards infinity, there is no minimum",
        ),
        ("Loss level", "losses of bad minima that agree to one part in a million"),
        (
            "Ticket",
            f"one network of width r = {r}; its price is the chance that it wins, the measured "
            f"rate of width {r}. Disjoint: 1 − (1 − price)<sup>⌊m/r⌋</sup>; "
            "overlapping: 1 − (1 − price)<sup>C(m, r)</sup>",
        ),
        (
            "Effective tickets",
            "n with (1 − price)<sup>n</sup> = P<sub>fail</sub>(m); for several targets, "
            "mean (1 − price)<sup>n</sup> = "
            "mean P<sub>fail</sub>(m)",
        ),
        (
            "Escape dimensions",
            "Hessian eigenvalues below −ε after the split; a strict saddle has at least one",
        ),
        (
            "Intervals",
            "95%: Wilson's for rates of one target, over the targets (Student's at the effective "
            "number of runs) where several are pooled, over minima for splits; for effective "
            "tickets, quantiles under Beta posteriors of the rates (Jeffreys prior, fixed seed): "
            "of these targets, not of others; predictions: from the price's Wilson bounds. "
            "Pooled rates count all targets' runs together",
        ),
    ]


def caveats(story: Story) -> list[str]:
    """What the numbers do not say."""
    spec = story.spec
    out = [
        "Success is that of this protocol. Runs without a verdict count as failures; more steps "
        "could turn some into successes.",
        "A lottery presumes that the narrow networks inside a wide one learn as if alone. They do "
        "not: they share the residual. Effective tickets describe the rates; they do not explain "
        "them.",
        "Different minima can share a loss level, so levels are a lower bound on distinct minima; "
        "their number grows with the number of runs.",
        "The channel rule reads the neurons, it does not follow the run to infinity.",
        "Only minima with a positive definite Hessian are split. Signs of eigenvalues close to ε "
        "can differ between the closed form and the count.",
        "From a split, only the most negative direction is followed.",
    ]
    if spec.realisable:
        out.insert(
            2,
            f"{count(spec.targets, 'teacher')} of one kind, one activation and {spec.d_in} inputs: "
            "rates differ widely between teachers already here, and more so elsewhere.",
        )
    elif unseen := learnable(spec.task).measured:
        out.insert(
            2,
            "The loss is that on the training data, without regularisation: a wide network also "
            "wins by fitting more, which no count of tickets describes. It says nothing about "
            f"unseen {unseen}.",
        )
    if not spec.realisable:
        out.insert(
            2,
            "The goal is the best loss known, so it moves when more runs are added.",
        )
    return out


REFERENCES = [
    "K. Fukumizu, S. Amari, Local minima and plateaus in hierarchical structures of multilayer "
    "perceptrons, Neural Networks 13 (2000) 317.",
    "J. Frankle, M. Carbin, The lottery ticket hypothesis, ICLR 2019, arXiv 1803.03635.",
    "B. Şimşek et al., Geometry of the loss landscape in overparameterized neural networks, ICML "
    "2021, arXiv 2105.12221.",
    "F. Martinelli et al., Flat channels to infinity in neural loss landscapes, NeurIPS 2025, "
    "arXiv 2506.14951.",
    "E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 "
    "(1927) 209.",
]


def software(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Versions and machine, from `edt.show.provenance`."""
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in facts["seconds"].items())
    versions = ", ".join(f"{name} {facts[name]}" for name in ("torch", "numpy", "scipy", "pandas"))
    return [
        ("Software", f"edt {facts['edt']}, Python {facts['python']}, {versions}"),
        (
            "Machine",
            f"{facts['platform']}, {facts['machine']}, {facts['instruction_set']}, "
            f"{count(facts['threads'], 'thread')}",
        ),
        ("Time", f"{seconds or 'read from finished parts'}; written {facts['written']}"),
        (
            "Repeat",
            f"spec {facts['spec_digest']} in <code>edt.json</code>; the same spec gives the same "
            "tables, bit for bit",
        ),
    ]
