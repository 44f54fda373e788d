"""The benchmark suite runs, its contenders agree, and it writes what it should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.sparse_resnet import check

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG"


def test_a_small_run_writes_table_record_and_plot(tmp_path: Path) -> None:
    # One case of every kind; compiled peers are left out, they take seconds to compile.
    done = subprocess.run(
        [
            sys.executable,
            *("-m", "pytest", "benchmarks", "-p", "no:cacheprovider"),
            *("-k", "not JAX and not jax and not compile and not test_torch and not memory"),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "EDT_BENCH_SMOKE": "1",
            "EDT_BENCH_RESULTS": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SMOKE RUN" in done.stdout
    (record,) = tmp_path.glob("*.json")
    content = json.loads(record.read_text())
    cases = {(m["case"], m["contender"]) for m in content["measurements"]}
    assert ("W softplus float32", "edt") in cases
    assert ("W softplus float32", "baddbmm per width") in cases
    assert all(m["seconds"] > 0 for m in content["measurements"])
    assert {t["name"] for t in content["targets"]} >= {"Sparsity float64: 90% pruned"}
    assert content["machine"]["threads"] >= 1
    assert record.with_suffix(".png").read_bytes().startswith(PNG)


def test_a_small_resnet_trains_sparse_and_dense(tmp_path: Path) -> None:
    """Losses of both agree, or the script ends with an error."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sparse_resnet", "--sparsity", "0.9"],
        cwd=ROOT,
        env={**os.environ, "EDT_BENCH_SMOKE": "1", "EDT_BENCH_RESULTS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = tmp_path.glob("*-sparse-resnet.json")
    (row,) = json.loads(record.read_text())["rows"]
    assert row["sparsity"] == 0.9 and row["optimizer"] == "sgd"
    assert all(row[name] > 0 for name in ("edt", "PyTorch, dense", "without convolutions"))


def test_a_resnet_with_wrong_gradients_is_not_timed() -> None:
    """Same loss, one gradient doubled."""

    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, 2 * self.weight - self.weight.detach(), self.bias)

    net, wrong = nn.Linear(4, 3), Doubled(4, 3)
    wrong.load_state_dict(net.state_dict())
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    check(net, net, {}, x, y)
    with pytest.raises(RuntimeError, match=r"^weight differs by 1\.0e"):
        check(wrong, net, {}, x, y)
