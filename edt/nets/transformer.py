"""A small transformer over sequences of tokens."""

from __future__ import annotations

import torch
from torch import nn

from edt.nets.common import scaled, seeded

__all__ = ["transformer"]


class _Block(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.mix = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.up, self.down = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)
        self.heads = heads

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        batch, length, size = h.shape
        parts = self.mix(self.norm1(h)).view(batch, length, 3, self.heads, size // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / (size // self.heads) ** 0.5
        future = torch.ones(length, length, dtype=torch.bool, device=h.device).triu(1)
        mixed = torch.softmax(scores.masked_fill(future, float("-inf")), -1) @ v
        h = h + self.out(mixed.transpose(1, 2).reshape(batch, length, size))
        moved: torch.Tensor = self.down(nn.functional.gelu(self.up(self.norm2(h))))
        return h + moved


class _Transformer(nn.Module):
    def __init__(self, tokens: int, length: int, size: int, heads: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, size)
        self.place = nn.Embedding(length, size)
        self.blocks = nn.Sequential(*(_Block(size, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(size)
        self.readout = nn.Linear(size, tokens, bias=False)
        self.readout.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        h = self.norm(self.blocks(self.embed(tokens) + self.place(places)))
        logits: torch.Tensor = self.readout(h)
        return logits.transpose(1, 2)


def transformer(
    width: float = 1.0,
    seed: int | None = None,
    *,
    tokens: int = 16,
    length: int = 16,
    heads: int = 2,
    layers: int = 2,
    size: int = 32,
) -> nn.Module:
    """A causal transformer with pre-norm blocks and tied embeddings; logits ``[N, tokens, L]``.

    Classes lie on axis 1, as ``loss="cross_entropy"`` wants them.

    Args:
        width: factor on ``size``; rounded to a multiple of ``heads``.
        seed: see `edt.nets`.
        tokens: vocabulary.
        length: most positions L.
        heads, layers: attention heads, blocks.
        size: of the stream at width 1.

    Reference: A. Radford et al., "Language models are unsupervised multitask learners", 2019
    (normal weights of 0.02, those into the stream divided by sqrt(2 layers)).
    """
    (wide,) = scaled((size,), width)
    wide = max(1, round(wide / heads)) * heads
    with seeded(seed):
        module = _Transformer(tokens, length, wide, heads, layers)
        for name, value in module.named_parameters():
            if value.dim() > 1:
                into = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(value, std=0.02 / ((2 * layers) ** 0.5 if into else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(value)
        return module
