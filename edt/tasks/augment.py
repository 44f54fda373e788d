"""Random changes of images while networks are trained on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from edt.errors import ShapeError
from edt.scalars import integer

__all__ = ["CropFlip"]


@dataclass(frozen=True)
class CropFlip:
    """Random crops of images with a margin of zeros, and half of them mirrored.

    Give it to ``edt.ModuleTask(..., augment=CropFlip())``; losses of the whole data are those of
    the images as they are.

    Attributes:
        pad: width of the margin in pixels; an image moves by up to as many.
        flip: mirror every other image, by the toss of a coin, left to right.

    Raises:
        ValueError: pad is no integer >= 0.

    Reference: K. He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.
    """

    pad: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        integer("pad", self.pad, 0)

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Changed images.

        Args:
            images: ``[n, channels, height, width]``.
            generator: of the CPU; where the draws come from.

        Returns:
            The same shape.

        Raises:
            ShapeError: no images.
        """
        if images.dim() != 4:
            raise ShapeError(
                "crops need images [n, channels, height, width], got "
                f"{list(images.shape)}; give the networks their input_shape"
            )
        n, channels, high, wide = images.shape
        moves = torch.randint(2 * self.pad + 1, (2, n), generator=generator).to(images.device)
        coin = torch.randint(2, (n,), generator=generator).to(images.device)
        there = torch.arange(max(n, channels, high, wide), device=images.device)
        padded = F.pad(images, (self.pad,) * 4)
        out = padded[
            there[:n, None, None, None],
            there[None, :channels, None, None],
            (moves[0][:, None] + there[:high])[:, None, :, None],
            (moves[1][:, None] + there[:wide])[:, None, None, :],
        ]
        if not self.flip:
            return out
        return torch.where(coin[:, None, None, None] == 1, out.flip(3), out)
