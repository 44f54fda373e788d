"""What a study of failed ends is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.studies.common.spec_parts import Failed, StudentSpec


@dataclass(frozen=True)
class FailuresSpec(
    Failed, StudentSpec, widths=(2, 3, 4, 5, 6, 8), d_in=2, samples=256, each=3, escape_steps=150
):
    """Students of several widths, and what their failures do with one neuron more.

    Attributes:
        each: failed ends of each label, width and teacher that are given another neuron.
        escape_steps: Newton steps of a run that goes on; L-BFGS has ten times as many iterations.
    """
