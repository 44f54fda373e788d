"""What a study of wide winners cut down is."""

from __future__ import annotations

from dataclasses import dataclass

from edt.studies.common.spec_parts import Bottom, WideSpec


@dataclass(frozen=True)
class PruneSpec(Bottom, WideSpec, widths=(5, 6, 8, 12), certify_steps=300):
    """Wide students, and how their remains are taken to the bottom.

    Attributes:
        widths: hidden widths of the wide students, above r = teacher_width.
        seeds: students per width and teacher.
        newton_steps, certify_steps: of `edt.converge` and `edt.certify` for what is left.
    """

    def check(self) -> None:
        super().check()
        if min(self.widths) == self.teacher_width:
            raise ValueError(
                f"widths must be above teacher_width ({self.teacher_width}), got {min(self.widths)}"
            )
