"""What attacks did, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Verdict:
    """What attacks did.

    Attributes:
        kills: main processes that SIGKILL met at work, by the state they were in.
        workers: worker processes that it met.
        attacks: of every other kind.
        skipped: attacks that this machine has no means for.
        lost, doubled: rows of the tables in the end.
        undone: parts that were done before an attack and not after it.
        slowest: seconds from Ctrl-C until the last worker was gone, at the most.
        orphans: processes that outlived what had started them.
        differ: directories whose tables have other bytes in the end.
        compared: directories that were resumed to the end.
        trouble: what else went wrong, in words.
    """

    kills: Counter[str] = field(default_factory=Counter)
    workers: int = 0
    attacks: Counter[str] = field(default_factory=Counter)
    skipped: set[str] = field(default_factory=set)
    lost: int = 0
    doubled: int = 0
    undone: int = 0
    slowest: float = 0.0
    orphans: int = 0
    differ: int = 0
    compared: int = 0
    trouble: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing went wrong."""
        wrong = (self.lost, self.doubled, self.undone, self.orphans, self.differ)
        return not (any(wrong) or self.trouble)

    def __iadd__(self, other: Verdict) -> Verdict:
        self.kills += other.kills
        self.attacks += other.attacks
        self.skipped |= other.skipped
        self.trouble += other.trouble
        self.slowest = max(self.slowest, other.slowest)
        for name in ("workers", "lost", "doubled", "undone", "orphans", "differ", "compared"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def __str__(self) -> str:
        def listed(counts: Counter[str]) -> str:
            return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))

        return "\n".join(
            [
                f"{self.kills.total()} kills: {listed(self.kills)}",
                f"{self.workers} workers killed; other attacks: {listed(self.attacks)}",
                f"workers gone after Ctrl-C in {self.slowest:.1f} s at the most",
                f"{self.compared} directories resumed: rows lost {self.lost}, doubled "
                f"{self.doubled}; parts undone {self.undone}; orphans {self.orphans}; with other "
                f"bits {self.differ}",
                *[f"skipped: {words}" for words in sorted(self.skipped)],
                *self.trouble,
            ]
        )
