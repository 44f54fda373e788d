"""A study of a million runs in 100,000 parts that compute nothing: what planning and keeping cost.

    python -m benchmarks.scale                              # 1k, 10k and 100k parts, here
    python -m benchmarks.scale --engine ray --workers 32    # on a Ray of this machine
    python -m benchmarks.scale --count 100                  # operations of a store of objects

Each size runs in a process of its own: it is planned, run, looked at as ``edt status`` does,
resumed whole and with a hundredth of its parts missing, and exported. Printed are seconds, those of
this process on a processor, and the growth of memory for each part. The exit code is 1 where
something costs more for each part of a larger study than `SLACK` times what it costs for each of a
smaller one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from edt.locations import Remote, place
from edt.runs.engines.base import Job
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.runs.store import PartFiles
from edt.runs.values import Count
from edt.studies.exports import export
from edt.studies.kinds import KINDS, resume, status

#: Parts of the sizes that are compared, and runs of a part.
SIZES, RUNS = (1_000, 10_000, 100_000), 10
#: Costs of a part may grow by so much from one size to the next: figures of small sizes are of
#: fractions of a second.
SLACK = 1.5
#: Seconds that looking at, or resuming, the whole of the largest study may take here.
PATIENCE = 60.0
STEPS = ("plan", "run", "status", "resume", "mend", "export")


@dataclass(frozen=True)
class ScaleSpec(Spec):
    """A study of parts that compute nothing.

    Attributes:
        parts: how many.
        runs: rows of each.
    """

    parts: Count = 100
    runs: Count = RUNS

    @property
    def networks(self) -> int:
        """Rows in all, which a plan bounds."""
        return self.parts * self.runs


@dataclass(repr=False)
class Scale(Experiment):
    """Its table has a number for each row."""

    kind: ClassVar[str] = "scale"
    spec_type: ClassVar[type[Spec]] = ScaleSpec
    names: ClassVar[tuple[str, ...]] = ("runs",)
    alike: ClassVar[bool] = True

    @staticmethod
    def plan(spec: ScaleSpec) -> list[Part]:
        """Rows in order."""
        columns = {"run": "int64", "loss": "float64"}
        return [
            Part(f"part-{k:06d}", "", 1e-3, "rows", (k,), rows=spec.runs, columns=columns)
            for k in range(spec.parts)
        ]

    @classmethod
    def measure(cls, spec: ScaleSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """One table."""
        return {"runs": parts.table(partial(rows, spec.runs))}

    @classmethod
    def job(cls, spec: ScaleSpec, part: Part) -> Job:
        """What a worker needs, which knows nothing of benchmarks."""
        arguments = {"first": part.key[0] * spec.runs, "rows": spec.runs}
        return Job(part.name, spec.digest, part.cost, "edt.bench:count_rows", arguments)


def rows(runs: int, part: int) -> pd.DataFrame:
    """The table of a part."""
    from edt.bench import count_rows

    return count_rows("", part * runs, runs)[0][""]


#: Calls of an fsspec file system to what a store of objects would be asked for.
REQUESTS = {
    "ls": "LIST", "cat_file": "GET", "info": "HEAD", "exists": "HEAD", "isfile": "HEAD",
    "isdir": "LIST", "pipe_file": "PUT", "rm_file": "DELETE", "makedirs": "none",
}  # fmt: skip


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count the requests that this process makes of what is behind URLs."""
    counts, lock, ask = Counter[str](), threading.Lock(), Remote._ask

    def counted(self: Remote, what: str, *words: Any, **options: Any) -> Any:
        with lock:  # many are under way at once
            counts[REQUESTS[what]] += 1
        return ask(self, what, *words, **options)

    Remote._ask = counted  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        Remote._ask = ask  # type: ignore[method-assign]


def memory() -> int:
    """Most bytes that this process has had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextmanager
def noted(
    into: dict[str, dict[str, float]], name: str, count: Callable[[], Counter[str]]
) -> Iterator[None]:
    """Write down what the block took."""
    before, clock, work, had = count(), time.monotonic(), time.process_time(), memory()
    yield
    into[name] = {
        "seconds": time.monotonic() - clock,
        "processor": time.process_time() - work,
        "bytes": float(memory() - had),
        **{word: float(n) for word, n in (count() - before).items()},
    }


def steps(
    parts: int, folder: Any, engine: str, workers: int | None, count: Callable[[], Counter[str]]
) -> dict[str, dict[str, float]]:
    """Everything that is done with a study, and what each took."""
    spec, out = ScaleSpec(parts), dict[str, dict[str, float]]()
    how: dict[str, Any] = {"engine": engine, "workers": workers, "progress": False}
    with noted(out, "plan", count):
        Scale.planned(spec)
    with noted(out, "run", count):
        done = Scale.run(spec, folder, **how)
    assert done.tables["runs"]["run"].equals(pd.Series(np.arange(spec.networks)))
    with noted(out, "status", count):
        assert status(folder).finished
    with noted(out, "resume", count):
        again = resume(folder, **how)
    assert again.tables["runs"].equals(done.tables["runs"])
    missing = range(0, parts, 100)
    for k in missing:
        PartFiles(folder).discard(f"part-{k:06d}")
    assert status(folder).parts_done == parts - len(missing)
    with noted(out, "mend", count):
        mended = resume(folder, **how)
    assert mended.tables["runs"].equals(done.tables["runs"])
    with noted(out, "export", count):
        export(folder, "csv")
    return out


def count_operations(parts: int) -> dict[str, dict[str, float]]:
    """The same in a store of objects in memory, with its requests counted; one process."""
    folder = place(f"memory://scale-{parts}-{time.monotonic_ns()}")
    with counting() as counts:
        return steps(parts, folder, "local", 0, lambda: Counter(counts))


def table(found: dict[int, dict[str, dict[str, float]]]) -> pd.DataFrame:
    """One row for each size and step, all figures for each part."""
    return pd.DataFrame(
        [
            {"parts": parts, "step": step, "seconds": values["seconds"],
             "us_a_part": 1e6 * values["seconds"] / parts,
             "processor_us": 1e6 * values["processor"] / parts,
             "bytes_a_part": values["bytes"] / parts}
            for parts, taken in found.items()
            for step, values in taken.items()
        ]
    )  # fmt: skip


def worse(found: dict[int, dict[str, dict[str, float]]]) -> list[str]:
    """What costs more for each part of a larger study, in words; from a second on.

    Costs are seconds of this process on a processor, which other work beside it changes least.
    """
    out, sizes = [], sorted(found)
    for small, large in pairwise(sizes):
        for step in STEPS:
            took = found[large][step]["processor"]
            a, b = 1e6 * found[small][step]["processor"] / small, 1e6 * took / large
            if b > SLACK * a and took > 1.0:
                out.append(f"{step}: {a:.0f} us a part of {small:,}, {b:.0f} of {large:,}")
    for step in ("status", "resume"):
        took = found[sizes[-1]][step]["seconds"]
        if took > PATIENCE:
            out.append(f"{step} of {sizes[-1]:,} parts takes {took:.0f} s")
    return out


def main() -> int:
    """The command."""
    KINDS[Scale.kind] = Scale
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--parts", type=int, nargs="+", default=list(SIZES), metavar="N")
    words.add_argument("--engine", choices=("local", "ray"), default="local")
    words.add_argument("--workers", type=int, default=None, help="as many as fit, by default")
    words.add_argument("--count", type=int, metavar="N", help="count requests for N parts instead")
    words.add_argument("--one", type=int, help=argparse.SUPPRESS)
    words.add_argument("--out", type=place, default=None, help="folder to work in")
    given = words.parse_args()
    if given.count:
        counted = count_operations(given.count)
        frame = (
            pd.DataFrame(counted).T.drop(columns=["seconds", "processor", "bytes"]).fillna(0)
            / given.count
        )
        print(f"requests for each of {given.count:,} parts\n{frame.to_string(float_format='%.3g')}")
        return 0
    if given.engine == "ray":
        try:
            import ray  # noqa: F401
        except ImportError:
            print("skipped: Ray is not installed")
            return 0
    workers = given.workers if given.engine == "ray" else (given.workers or 0)
    if given.one:
        with tempfile.TemporaryDirectory(dir=given.out, prefix="edt-scale-") as folder:
            taken = steps(given.one, Path(folder) / "run", given.engine, workers, Counter)
        print(json.dumps(taken))
        return 0
    found = {}
    for parts in given.parts:
        order = [sys.executable, "-m", "benchmarks.scale", "--one", str(parts),
                 "--engine", given.engine]  # fmt: skip
        order += [] if given.workers is None else ["--workers", str(given.workers)]
        order += [] if given.out is None else ["--out", str(given.out)]
        done = subprocess.run(order, check=True, stdout=subprocess.PIPE, text=True)
        found[parts] = json.loads(done.stdout.splitlines()[-1])
        print(table({parts: found[parts]}).to_string(index=False, float_format="%.3g"), flush=True)
    wrong = worse(found)
    print("\n".join(wrong) or "every step is linear in the number of parts, or better")
    return bool(wrong)


if __name__ == "__main__":
    # Under its real name, by which the marker of a run finds it again.
    from benchmarks.scale import main as command

    sys.exit(command())
