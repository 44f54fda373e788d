"""Runs the steps of continuous integration, three at a time, and says where the time went.

    python .ci/steps.py            all of them
    python .ci/steps.py lint docs  those named, and what they need

Each step's output goes to build/ci/STEP.log and is shown when the step ends. The table at the end,
and build/ci/steps.csv, has each step's seconds on the clock and of the processors; the latter mean
the same on a machine that is busy with something else. After a failure nothing new is started.
Compilers run through ccache where there is one: what has been compiled before, in whatever folder,
is not compiled again.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "ci"
PYTHON = os.environ.get("VENV", ".venv") + "/bin/python"
#: One more than cores: what starts processes and opens pages waits for a fifth of its time.
LANES = 3
#: Steps share the cores, and threads of PyTorch that wait for their turn by spinning take it from
#: those that work: some tests took five times as long.
#: What nvcc makes of the kernels for the core also serves `cuda-resources`.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "EDT_KEEP_PTX": "1"}
#: Folders of tests, by step, so that no step is much longer than the others: those that start
#: processes, and those that open pages, compile or train for long. `tests-light` has all others.
FOLDERS = {
    "tests-processes": ("cli", "processes", "runs"),
    "tests-pages": ("cuda", "docs", "examples", "show", "studies"),
}


@dataclass(frozen=True)
class Step:
    """A command, and the steps that must have ended before it."""

    name: str
    command: str
    after: tuple[str, ...] = ()


def steps() -> list[Step]:
    """All steps: what soon shows a fault and what others wait for, then the longest first."""

    def test(step: str) -> str:
        """The README's test command on a part of the tests."""
        return f"make test ARGS='{' '.join(f'tests/{name}' for name in FOLDERS[step])}'"

    rest = " ".join(f"--ignore=tests/{name}" for names in FOLDERS.values() for name in names)
    built = ("setup",)
    return [
        # The second is what `make test` asks for: done here, since two of those run at once.
        Step("setup", "bash .ci/setup.sh test,lint,docs && bash .ci/setup.sh test"),
        Step("lint", "make lint", built),
        Step("docs", "make docs", built),
        Step("browser", "bash .ci/browser.sh", built),
        Step("peers", "bash .ci/peers.sh", built),
        Step("syntax", "bash .ci/pythons.sh --syntax", built),
        Step("tests-processes", test("tests-processes"), built),
        Step("tests-pages", test("tests-pages"), ("docs", "browser", "peers")),
        Step("tests-light", f"make test ARGS='{rest}'", ("peers",)),
        # After the tests: it compiles on all cores, so that none is idle while the last steps end.
        Step("sanitize", "bash .ci/sanitize.sh 6", built),
        Step("cuda-resources", f"{PYTHON} .ci/cuda_resources.py", built),
        Step("ptx", "bash .ci/ptx.sh", ("cuda-resources",)),
        Step("wheel", "bash .ci/wheel.sh", built),
        Step("demo", 'make demo ARGS="--quick --no-progress --out build/ci-demo"', built),
        Step("objects", "bash .ci/objects.sh", built),
    ]


@dataclass
class Running:
    """A step under way."""

    step: Step
    process: subprocess.Popen[bytes]
    started: float


@dataclass(frozen=True)
class Ended:
    """What a step took: seconds on the clock, of all processors, and its exit status."""

    name: str
    clock: float
    processor: float
    status: int


def chosen(names: list[str]) -> list[Step]:
    """The steps named and all that they need, in order; all of them where none is named.

    Raises:
        SystemExit: no such step.
    """
    every = {step.name: step for step in steps()}
    unknown = [name for name in names if name not in every]
    if unknown:
        raise SystemExit(f"no step {unknown[0]}; there are {', '.join(every)}")
    wanted: set[str] = set()
    ahead = list(names or every)
    while ahead:
        name = ahead.pop()
        wanted.add(name)
        ahead += every[name].after
    return [step for step in every.values() if step.name in wanted]


def start(step: Step) -> Running:
    """Begin a step in a process group of its own."""
    with open(OUT / f"{step.name}.log", "wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", step.command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(step),
            start_new_session=True,
        )
    return Running(step, process, time.monotonic())


def environment(step: Step) -> dict[str, str]:
    """What a step sees; Python keeps what it compiles, since some hundred processes start."""
    given = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**ENVIRONMENT, **cached(), **given, "EDT_DURATIONS": str(OUT / step.name)}


def cached() -> dict[str, str]:
    """What sends compilers through ccache, for a checkout in any folder; nothing without it."""
    if shutil.which("ccache") is None:
        return {}
    launchers = {f"CMAKE_{language}_COMPILER_LAUNCHER": "ccache" for language in ("CXX", "CUDA")}
    return {**launchers, "CCACHE_BASEDIR": str(ROOT), "CCACHE_NOHASHDIR": "1"}


def ended(running: list[Running]) -> Ended:
    """Wait for the next step that ends, and take it out."""
    while True:
        for one in running:
            pid, status, spent = os.wait4(one.process.pid, os.WNOHANG)
            if pid:
                running.remove(one)
                clock = time.monotonic() - one.started
                code = os.waitstatus_to_exitcode(status)
                return Ended(one.step.name, clock, spent.ru_utime + spent.ru_stime, code)
        time.sleep(0.2)


def run(todo: list[Step]) -> list[Ended]:
    """Run the steps, `LANES` at a time; nothing new after a failure."""
    done: list[Ended] = []
    running: list[Running] = []
    left = list(todo)
    try:
        while left or running:
            over = {one.name for one in done}
            failed = any(one.status for one in done)
            ready = [] if failed else [step for step in left if over.issuperset(step.after)]
            for step in ready[: LANES - len(running)]:
                left.remove(step)
                running.append(start(step))
                print(f"== {step.name}: {step.command}", flush=True)
            if not running:
                break
            one = ended(running)
            done.append(one)
            show(one)
    finally:
        end(running)
    return done


def end(running: list[Running]) -> None:
    """End steps and all that they started."""
    for one in running:
        os.killpg(one.process.pid, signal.SIGTERM)


def show(one: Ended) -> None:
    """The output of a step that has ended."""
    word = "done" if one.status == 0 else f"FAILED ({one.status})"
    print(f"\n== {one.name}: {word} after {one.clock:.0f} s", flush=True)
    sys.stdout.write((OUT / f"{one.name}.log").read_text(errors="replace"))
    sys.stdout.flush()


def table(done: list[Ended], whole: float) -> str:
    """Where the time went, the dearest step first."""
    spent = sum(one.processor for one in done)
    rows = [f"{'step':16}{'clock s':>9}{'processor s':>13}{'share':>7}"]
    for one in sorted(done, key=lambda one: -one.processor):
        share = f"{100 * one.processor / spent:.0f}%" if spent else "-"
        mark = "" if one.status == 0 else "  FAILED"
        rows.append(f"{one.name:16}{one.clock:9.0f}{one.processor:13.0f}{share:>7}{mark}")
    rows.append(f"{'all':16}{whole:9.0f}{spent:13.0f}")
    return "\n".join(rows)


def main(names: list[str]) -> int:
    todo = chosen(names)
    OUT.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    done = run(todo)
    with open(OUT / "steps.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["step", "clock", "processor", "status"])
        rows.writerows(
            [one.name, f"{one.clock:.1f}", f"{one.processor:.1f}", one.status] for one in done
        )
    print("\n== where the time went\n" + table(done, time.monotonic() - began))
    missing = len(todo) - len(done)
    if missing:
        print(f"{missing} steps were not started")
    return 1 if missing or any(one.status for one in done) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise SystemExit(main(sys.argv[1:]))
