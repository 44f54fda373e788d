"""How the students of the landscape experiments came about, in words."""

from __future__ import annotations

from edt.show.words import count, exact, option, percent, ranges
from edt.studies.common.spec_parts import StudentSpec
from edt.studies.common.targets import target_text


def student_protocol(spec: StudentSpec) -> list[tuple[str, str]]:
    """Target, students and training, as name and value."""
    kind = "biases" if spec.bias else "no biases"
    return [
        ("Target", target_text(spec)),
        (
            "Students",
            f"one hidden layer, widths {ranges(spec.widths)}, {option(spec.activation)}, {kind}, "
            f"{count(spec.seeds, 'seed')} per width and target, float64, {option(spec.init)} "
            f"initialisation at the scale of width {spec.teacher_width}",
        ),
        (
            "Training",
            f"full-batch Adam, {spec.steps:,} steps, learning rate {exact(spec.lr)}, "
            f"{spec.schedule} schedule; "
            f"then up to {count(spec.lbfgs_rounds, 'round')} of "
            f"{spec.lbfgs_steps:,} L-BFGS iterations, or, in sight of loss 0, Levenberg-Marquardt; "
            f"then trust-region Newton on the exact Hessian (up to {spec.newton_steps}, saddles "
            f"are left) to max|∂L| ≤ {exact(spec.tol)}. A student is let go once it is good",
        ),
    ]


def good_text(spec: StudentSpec) -> str:
    """What counts as good."""
    if spec.realisable:
        return f"loss ≤ {exact(spec.good)} × variance of the target"
    return f"loss within {percent(spec.good)} of the lowest at width ≤ {spec.teacher_width}"
