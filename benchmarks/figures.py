"""What a run has measured: times by case and contender, other quantities, series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.timing import Timing

EDT = "edt"


@dataclass(frozen=True)
class Measurement:
    """One time.

    Attributes:
        case: what was done, for example "W softplus float32".
        contender: who did it.
        seconds, median: fastest round and median round, per unit of work.
        rounds: rounds timed.
        note: anything a reader must know to read it.
    """

    case: str
    contender: str
    seconds: float
    median: float
    rounds: int
    note: str = ""


@dataclass(frozen=True)
class Series:
    """Time against a size.

    Attributes:
        name: what grew.
        sizes: the sizes.
        seconds: time per step at each.
    """

    name: str
    sizes: list[int]
    seconds: list[float]


@dataclass
class Figures:
    """Everything measured so far.

    Attributes:
        measurements, series: in the order taken.
        quantities: name -> (value, unit).
        skipped: contender -> why.
        announce: called with one line per figure.
    """

    measurements: list[Measurement] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    quantities: dict[str, tuple[float, str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    announce: Callable[[str], None] = print

    def add(self, case: str, contender: str, timing: Timing, note: str = "") -> None:
        """Keep a time."""
        self.measurements.append(
            Measurement(case, contender, timing.best, timing.median, timing.rounds, note)
        )
        suffix = f"  ({note})" if note else ""
        self.announce(f"{case:<24} {contender:<34} {timing.best * 1e3:>12.3f} ms{suffix}")

    def add_quantity(self, name: str, value: float, unit: str) -> None:
        """Keep a number that is not a time."""
        self.quantities[name] = (value, unit)
        self.announce(f"{name:<59} {value:>12.4g} {unit}")

    def add_series(self, name: str, sizes: list[int], seconds: list[float]) -> None:
        """Keep times against a size."""
        self.series.append(Series(name, sizes, seconds))
        for size, took in zip(sizes, seconds, strict=True):
            self.announce(f"{name:<24} {size:<34,} {took * 1e3:>12.3f} ms")

    def cases(self) -> list[str]:
        """Cases in the order first measured."""
        return list(dict.fromkeys(m.case for m in self.measurements))

    def of(self, case: str) -> dict[str, Measurement]:
        """Contender -> measurement in a case."""
        return {m.contender: m for m in self.measurements if m.case == case}

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "measurements": [asdict(m) for m in self.measurements],
            "series": [asdict(s) for s in self.series],
            "quantities": {
                name: {"value": value, "unit": unit}
                for name, (value, unit) in self.quantities.items()
            },
            "skipped": self.skipped,
        }
