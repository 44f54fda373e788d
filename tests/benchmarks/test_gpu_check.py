"""`benchmarks/gpu_check.sh` without a GPU: its steps over programs that only pretend to work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Answers for each step, by what its command holds; runs the script's own question for real.
PYTHON = f"""#!/bin/sh
case "$*" in
  -) exec {sys.executable} - ;;
  *setup.py*) exit "${{BUILD:-0}}" ;;
  *assert*usable*) exit "${{KERNELS:-0}}" ;;
  *tests/ops*) echo "FAILED tests/ops/test_x.py::test_y - no"; exit "${{TESTS:-0}}" ;;
  *benchmarks.gpu*) echo "$*"; sleep "${{SLOW:-0}}"; exit 0 ;;
esac
exit 0
"""


@pytest.fixture
def check(tmp_path):
    """Runs the script; returns (exit code, what it printed, its summary by step)."""
    tools = tmp_path / "tools"
    tools.mkdir()
    scripts = {
        "python3": PYTHON,
        "nvidia-smi": "#!/bin/sh\n[ -z \"$NO_GPU\" ] && echo 'A card, 580.1, 9.0'\n",
        "compute-sanitizer": '#!/bin/sh\nshift 4\nexec "$@"\n',
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    out = tmp_path / "out"

    def run(**settings):
        given = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "EDT_GPU_OUT": str(out)}
        given |= {"PYTHON": str(tools / "python3"), **settings}
        done = subprocess.run(
            ["bash", str(ROOT / "benchmarks" / "gpu_check.sh")],
            env=given,
            capture_output=True,
            text=True,
            timeout=60,
        )
        file = out / "summary.json"
        summary = json.loads(file.read_text()) if file.is_file() else {"steps": []}
        steps = {step["step"]: step for step in summary["steps"]}
        return done.returncode, done.stdout + done.stderr, steps, summary

    return run


def test_all_steps_in_order(check):
    code, text, steps, summary = check(EDT_COMMIT="abc")
    assert code == 0, text
    assert list(steps) == [
        "build", "kernels", "doctor", "tests", "memcheck", "racecheck", "initcheck", "synccheck",
        "benchmarks",
    ]  # fmt: skip
    assert all(step["exit_code"] == 0 for step in steps.values())
    assert summary["place"]["gpu"] == "A card, 580.1, 9.0"
    assert summary["place"]["commit"] == "abc"
    assert "logs.tar.gz" in text


def test_failures_are_counted_and_do_not_stop_the_others(check):
    code, text, steps, _ = check(TESTS="1", EDT_GPU_PREBUILT="1")
    assert code == 1
    assert steps["tests"]["exit_code"] == 1 and steps["benchmarks"]["exit_code"] == 0
    assert "FAILED tests/ops/test_x.py::test_y" in text
    assert steps["build"]["skipped"] == "EDT_GPU_PREBUILT=1"


def test_nothing_more_where_the_kernels_do_not_run(check):
    code, text, steps, _ = check(BUILD="3", KERNELS="1")
    assert code == 2
    assert list(steps) == ["build", "kernels", "doctor"]
    assert "the kernels do not run" in text


def test_time_is_kept(check):
    code, _, steps, _ = check(SLOW="40", EDT_GPU_SECONDS="7")
    assert code == 1
    assert steps["benchmarks"]["exit_code"] in (124, -1)
    assert steps["benchmarks"]["seconds"] < 15


def test_no_gpu(check):
    code, text, steps, _ = check(NO_GPU="1")
    assert code == 1
    assert "no GPU here" in text and not steps
