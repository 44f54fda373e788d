"""`benchmarks/gpu_check.sh` with a GPU, a Python and a sanitizer that only pretend."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_check.sh"
#: Answers what the script asks of its interpreter; $FAIL and $HANG name what goes wrong.
PYTHON = """#!/bin/sh
case "$*" in
  -) cat >/dev/null; echo '{"gpu": "a card", "xdist": false}'; exit 0 ;;
esac
echo "$*" >>"$CALLS"
case "$*" in *"$HANG"*) exec sleep 600 ;; esac
case "$*" in *"$FAIL"*) echo "FAILED on purpose"; exit 3 ;; esac
case "$*" in *benchmarks.gpu*) echo '{}' >"$EDT_GPU_OUT/2026-01-01-card.json" ;; esac
"""


@pytest.fixture
def check(tmp_path):
    """Runs the script in so many seconds; returns (exit code, steps by name, calls, folder)."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (
        ("nvidia-smi", "#!/bin/sh\necho a card\n"),
        ("fake-python", PYTHON),
        ("compute-sanitizer", '#!/bin/sh\necho "sanitizer $*" >>"$CALLS"\n'),
    ):
        (tools / name).write_text(text)
        (tools / name).chmod(stat.S_IRWXU)
    out, calls = tmp_path / "out", tmp_path / "calls"

    def run(seconds, fail="never", hang="never"):
        calls.write_text("")
        more = {"EDT_GPU_OUT": out, "EDT_GPU_SECONDS": seconds, "CALLS": calls}
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, **{k: str(v) for k, v in more.items()}, "PATH": path}
        env |= {"PYTHON": "fake-python", "FAIL": fail, "HANG": hang}
        done = subprocess.run(["bash", SCRIPT], env=env, capture_output=True, text=True)
        summary = json.loads((out / "summary.json").read_text())
        steps = {row["step"]: row for row in summary["steps"]}
        return done.returncode, steps, calls.read_text().splitlines(), out

    return run


def test_all_goes_well(check):
    """In the order of what is worth most, each step a process; few files come back."""
    code, steps, calls, out = check(520)
    assert code == 0
    assert list(steps)[:5] == ["build", "kernels", "doctor", "figures-edt", "figures-fast"]
    assert list(steps)[-4:] == ["memcheck", "racecheck", "initcheck", "synccheck"]
    assert list(steps).index("figures-slow") > list(steps).index("tests-ops")
    assert all("kernel_substring=edt" in c for c in calls if c.startswith("sanitizer"))
    files = [p for p in out.rglob("*") if p.is_file()]
    assert len(files) <= 8
    with tarfile.open(out / "logs.tar.gz") as archive:
        assert "./kernels.log" in archive.getnames()


def test_a_failure_stops_nothing(check):
    code, steps, _, _ = check(520, fail="tests/ops")
    assert code == 1 and steps["tests-ops"]["exit_code"] == 3
    assert steps["tests-training"]["exit_code"] == steps["figures-slow"]["exit_code"] == 0


def test_kernels_that_do_not_run_end_it(check):
    code, steps, _, _ = check(520, fail="cuda.usable")
    assert code == 1 and list(steps) == ["build", "kernels", "doctor"]


def test_what_hangs_is_stopped_in_its_time(check):
    """And all of it within its limit, with everything before in the archive."""
    began = time.monotonic()
    code, steps, _, out = check(52, hang="--turn fast")
    assert time.monotonic() - began < 52 + 6  # 8 of them for what hangs
    assert code >= 1 and steps["figures-fast"]["exit_code"] == 124
    assert steps["figures-edt"]["exit_code"] == steps["tests-ops"]["exit_code"] == 0
    with tarfile.open(out / "logs.tar.gz") as archive:
        names = archive.getnames()
    assert "./figures-fast.log" in names and "./tests-flow.log" in names


def test_budget():
    """The steps' times add up to the whole."""
    text = SCRIPT.read_text()
    parts = [120, 40, 15, 75, 85, 95, 70]
    assert all(f"{part}" in text for part in parts)
    assert sum(parts) <= 520 - 4 * 5  # the sanitizers keep some
