"""What an experiment on dimension against neurons is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from edt.runs.values import FewWidths, Listed, OneOf, Whole
from edt.studies.common.spec_parts import Students, TeacherSpec

#: Ways to train, in the order of tables and pictures, and what each is.
CONTROLS: dict[str, str] = {
    "width": "ordinary networks of m neurons",
    "features": "r neurons train; the other m − r keep random input weights, their outputs train",
    "frozen": "r neurons train; the other m − r stay as they started",
    "factored": "r neurons, every weight matrix a product of two with inner dimension k",
    "rotated": "m neurons, as many random orthogonal directions as parameters",
    "subspace": "m neurons, trained in a random subspace through the start",
}


@dataclass(frozen=True)
class ControlsSpec(Students, TeacherSpec, teachers=8, widths=(4, 6, 8, 12)):
    """Dimensions without tickets, and tickets without dimensions.

    Students learn teachers of width r = ``teacher_width``. Every control starts from the very
    networks that are also trained in the ordinary way, so rates are compared pair by pair.

    Attributes:
        widths: hidden widths m, r among them.
        seeds: networks per width and teacher.
        controls: of `CONTROLS`.
        inners: k of "factored", at least 1 (fewer than the inputs restrict the network).
        margins: a random affine subspace of d dimensions meets the zero-loss set in general only
            if ``d >= P(r) + (m - r) d_out``: what is left of the P(m) dimensions when the m - r
            extra neurons have output weight 0 and arbitrary input weights. "subspace" uses
            that number plus each margin, where it is below P(m).
    """

    controls: Annotated[tuple[str, ...], Listed(OneOf(CONTROLS))] = tuple(CONTROLS)
    inners: FewWidths = (2, 4, 8)
    margins: Annotated[tuple[int, ...], Listed(Whole(0), 0)] = (0, 4, 12)

    def check(self) -> None:
        super().check()
        r = self.teacher_width
        if r not in self.widths or min(self.widths) < r:
            raise ValueError(
                f"widths must hold teacher_width ({r}) and nothing below, got {list(self.widths)}"
            )
        if "width" not in self.controls:
            raise ValueError("controls must hold 'width', with which the others are compared")

    def parameters(self, width: int) -> int:
        """P(m), trainable parameters of an ordinary network."""
        return width * (self.d_in + int(self.bias) + 1) + int(self.bias)

    def dimensions(self, width: int) -> tuple[int, ...]:
        """Dimensions of the random subspaces of one width."""
        r = self.teacher_width
        need = self.parameters(r) + width - r
        found = {need + margin for margin in self.margins}
        return tuple(sorted(d for d in found if d < self.parameters(width)))

    @property
    def cells(self) -> list[tuple[str, int, int]]:
        """(control, width, setting) of every part; the setting is k or d, else 0."""
        r, out = self.teacher_width, []
        for control in self.controls:
            if control == "factored":
                out += [(control, r, inner) for inner in self.inners]
                continue
            for width in self.widths:
                if control == "subspace":
                    out += [(control, width, d) for d in self.dimensions(width)]
                elif width > r or control in ("width", "rotated"):
                    out.append((control, width, 0))
        return out

    @property
    def networks(self) -> int:
        """Networks trained in all."""
        return len(self.cells) * self.teachers * self.seeds
