"""How setup.py finds nvcc and chooses architectures, and the record of registers and spills."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def build(monkeypatch):
    """The functions of setup.py, without running it; no nvcc but what a test offers."""
    for name in ("EDT_CUDA", "EDT_CUDA_ARCHS", "EDT_NVCC", "CUDACXX", "EDT_SANITIZE"):
        monkeypatch.delenv(name, raising=False)
    scope = {"__file__": str(ROOT / "setup.py"), "__name__": "edt_setup"}
    text = (ROOT / "setup.py").read_text().split("\nsetup(")[0]
    exec(compile(text, "setup.py", "exec"), scope)
    return scope


def fake_nvcc(folder, codes):
    """A compiler that knows these architectures."""
    path = folder / "nvcc"
    path.write_text("#!/bin/sh\n" + "".join(f"echo {code}\n" for code in codes))
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


def test_no_nvcc_gives_a_plain_build(build, capsys):
    build["find_nvcc"] = build["cuda_options"].__globals__["find_nvcc"] = lambda: None
    assert build["cuda_options"](False) == []
    assert capsys.readouterr().err.count("\n") == 1


def test_insisting_without_nvcc(build, monkeypatch):
    monkeypatch.setenv("EDT_CUDA", "1")
    build["cuda_options"].__globals__["find_nvcc"] = lambda: None
    with pytest.raises(RuntimeError, match="EDT_CUDA=1, but no nvcc"):
        build["cuda_options"](False)


def test_refusing(build, monkeypatch):
    monkeypatch.setenv("EDT_CUDA", "0")
    assert build["cuda_options"](False) == []
    monkeypatch.setenv("EDT_CUDA", "yes")
    with pytest.raises(RuntimeError, match="EDT_CUDA must be 0, 1 or auto"):
        build["cuda_options"](False)


def test_a_core_for_a_machine_without_a_gpu(build, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("EDT_NVCC", fake_nvcc(tmp_path, ["sm_80"]))
    build["cuda_options"].__globals__["native_archs"] = list
    assert build["cuda_options"](True, True) == []
    assert "EDT_CUDA=1 builds it" in capsys.readouterr().err
    # All instruction sets, as in a wheel, are for other machines: theirs may have one.
    assert "-DEDT_CUDA=ON" in build["cuda_options"](True, False)
    monkeypatch.setenv("EDT_CUDA", "1")
    assert "-DEDT_CUDA=ON" in build["cuda_options"](True, True)


def test_broken_nvcc(build, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("EDT_NVCC", fake_nvcc(tmp_path, []))
    assert build["cuda_options"](False) == []
    assert "does not run" in capsys.readouterr().err


def test_architectures(build, monkeypatch, tmp_path):
    monkeypatch.setenv("EDT_NVCC", fake_nvcc(tmp_path, ["sm_80", "sm_90", "sm_100"]))
    code = "-DEDT_CUDA_CODE="
    assert f"{code}sm_80,sm_90,sm_100,compute_80" in build["cuda_options"](False)
    build["cuda_options"].__globals__["native_archs"] = list
    assert f"{code}compute_80" in build["cuda_options"](True)
    build["cuda_options"].__globals__["native_archs"] = lambda: ["90"]
    assert f"{code}sm_90,compute_80" in build["cuda_options"](True)
    monkeypatch.setenv("EDT_CUDA_ARCHS", "100")
    assert f"{code}sm_100,compute_80" in build["cuda_options"](True)


def test_architectures_of_one_chip(build, monkeypatch, tmp_path):
    monkeypatch.setenv("EDT_NVCC", fake_nvcc(tmp_path, ["sm_80", "sm_90"]))
    monkeypatch.setenv("EDT_CUDA_ARCHS", "80;90a;200")
    assert "-DEDT_CUDA_CODE=sm_80,sm_90a,compute_80" in build["cuda_options"](True)


@pytest.mark.parametrize("asked", ["75", "80;70", "sm_90", "90b", "hopper"])
def test_architectures_that_cannot_be(build, monkeypatch, tmp_path, asked):
    """Said before CMake and nvcc say it in their way."""
    monkeypatch.setenv("EDT_NVCC", fake_nvcc(tmp_path, ["sm_70", "sm_75", "sm_80", "sm_90"]))
    monkeypatch.setenv("EDT_CUDA_ARCHS", asked)
    with pytest.raises(RuntimeError, match="EDT_CUDA_ARCHS must be native, ptx or architectures"):
        build["cuda_options"](True)


def test_an_old_card_here(build, monkeypatch, tmp_path):
    """PTX alone: the build may be for another machine."""
    monkeypatch.setenv("EDT_NVCC", fake_nvcc(tmp_path, ["sm_75", "sm_80"]))
    build["cuda_options"].__globals__["native_archs"] = lambda: ["75"]
    assert "-DEDT_CUDA_CODE=compute_80" in build["cuda_options"](True)


def test_record_of_registers_and_spills():
    """Every architecture, no spills."""
    record = json.loads((ROOT / "csrc" / "cuda" / "resources.json").read_text())
    kernels = record["kernels"]
    for name in (
        "evaluate",
        "train",
        "hvp",
        "hessian",
        "step",
        "merge",
        "wide_forward",
        "wide_pull",
        "chain_dense",
        "chain_taps",
        "chain_gradient",
    ):
        assert any(kernel.startswith(f"{name}_kernel") for kernel in kernels)
    for kernel, row in kernels.items():
        pairs = kernel.startswith("train_kernel") and kernel.endswith(", 3>")  # of clusters
        known = ["sm_100", "sm_120", *([] if pairs else ["sm_80"]), "sm_90"]
        assert sorted(row) == known, kernel
        for registers, stores, loads, _ in row.values():
            # Squares, and tiles of a gradient, whose blocks have 128 threads.
            tall = kernel.startswith(("train_kernel<float, 2>", "chain_gradient_kernel"))
            assert registers <= (255 if tall else 168), kernel
            assert stores == loads == 0, kernel


def test_what_the_core_was_built_of_serves_while_its_sources_are_the_same(monkeypatch, tmp_path):
    import ptx_build

    ninja = ptx_build.of_setup("find_tool")("ninja")
    monkeypatch.setattr(ptx_build, "CORE", tmp_path)
    target = tmp_path / "CMakeFiles" / "edt_cuda.dir" / "csrc" / "cuda" / "train.cu.o"
    source, kept = tmp_path / "train.cu", tmp_path / "ptx" / "train" / "train.ptx"
    source.write_text("one")
    kept.parent.mkdir(parents=True)
    where = target.relative_to(tmp_path)
    (tmp_path / "build.ninja").write_text(
        f"rule cc\n  command = cp $in $out\nbuild {where}: cc train.cu\n"
    )
    subprocess.run([ninja, "-C", tmp_path], check=True, capture_output=True)
    assert ptx_build.of_core("train") is None  # its PTX was not kept
    kept.write_text("ptx")
    assert ptx_build.of_core("train") == (target, {80: kept})
    assert ptx_build.of_core("wide") is None
    changed = target.stat().st_mtime + 10
    os.utime(source, (changed, changed))
    assert ptx_build.of_core("train") is None
