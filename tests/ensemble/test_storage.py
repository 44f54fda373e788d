"""Ensembles in files: round trips, and every way a file can be bad."""

from __future__ import annotations

import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from edt.ensemble import Ensemble
from edt.errors import EdtError
from edt.files import CheckpointError, digest, read, replace_file, write


@pytest.fixture
def ens():
    made = Ensemble.init(
        [(2, 3), (4, 1)], [0, 1], d_in=3, d_out=2, activation="erf", sparsity=0.3, bias=False
    )
    frozen = torch.arange(made.total) % 7 == 0
    return made.with_frozen(frozen)


def same(a, b):
    assert torch.equal(a.theta.nan_to_num(0.5), b.theta.nan_to_num(0.5))
    for name in ("state", "layer_widths", "network_ids", "offsets", "coords"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert repr(a) == repr(b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip(ens, tmp_path, dtype):
    ens.to(dtype).save(tmp_path / "deep" / "networks.safetensors")
    same(Ensemble.load(tmp_path / "deep" / "networks.safetensors"), ens.to(dtype))
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == [
        "networks.safetensors",
        "networks.safetensors.json",
    ]


def test_diverged_networks_can_be_stored(ens, tmp_path):
    theta = ens.theta.clone()
    theta[1], theta[4] = float("nan"), float("inf")
    ens.with_theta(theta).save(tmp_path / "n.safetensors")
    same(Ensemble.load(tmp_path / "n.safetensors"), ens.with_theta(theta))


def test_equal_ensembles_give_equal_files(ens, tmp_path):
    ens.save(tmp_path / "a.safetensors")
    ens.select(range(4)).save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_every_flipped_byte_is_noticed(ens, tmp_path):
    """One bit in every 37th byte: lengths, header and tensors alike."""
    path = tmp_path / "n.safetensors"
    ens.save(path)
    good = path.read_bytes()
    for at in range(0, len(good), 37):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        try:
            loaded = Ensemble.load(path)
        except CheckpointError as error:
            assert "n.safetensors" in str(error)  # noqa: PT017
        else:
            # White space between the header's entries carries nothing.
            same(loaded, ens)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated(ens, tmp_path, keep):
    path = tmp_path / "n.safetensors"
    ens.save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"n\.safetensors"):
        Ensemble.load(path)


def test_missing_foreign_and_other_kinds(ens, tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        Ensemble.load(tmp_path / "none.safetensors")
    save_file({"theta": ens.theta}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="not an edt file") as refused:
        Ensemble.load(tmp_path / "foreign.safetensors")
    assert "delete" not in str(refused.value)  # advice for checkpoints: this is a person's file
    with pytest.raises(CheckpointError, match="is a folder, not a file"):
        Ensemble.load(tmp_path)
    write(tmp_path / "other.safetensors", "train-checkpoint", {"theta": ens.theta}, {})
    with pytest.raises(CheckpointError, match="holds 'train-checkpoint', expected 'ensemble'"):
        Ensemble.load(tmp_path / "other.safetensors")
    write(tmp_path / "part.safetensors", "ensemble", {"theta": ens.theta}, {})
    with pytest.raises(CheckpointError, match="no tensor 'state'"):
        Ensemble.load(tmp_path / "part.safetensors")


def test_checked_file_with_impossible_content(ens, tmp_path):
    path = tmp_path / "n.safetensors"
    ens.save(path)
    tensors, header = read(path, "ensemble")
    write(path, "ensemble", {**tensors, "state": tensors["state"][1:]}, header)
    with pytest.raises(CheckpointError, match="make no sense"):
        Ensemble.load(path)
    write(path, "ensemble", tensors, {**header, "activation": "tan"})
    with pytest.raises(CheckpointError, match="activation"):
        Ensemble.load(path)
    write(path, "ensemble", tensors, {"activation": "tanh"})
    with pytest.raises(CheckpointError, match="no entry 'bias'"):
        Ensemble.load(path)


def test_failed_writes_leave_nothing(ens, tmp_path):
    with pytest.raises(ValueError, match=r"\.json"):
        ens.save(tmp_path / "n.json")
    (tmp_path / "taken.safetensors").mkdir()
    with pytest.raises(OSError):
        ens.save(tmp_path / "taken.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.safetensors"]


def test_errors_have_a_common_base():
    assert issubclass(CheckpointError, EdtError)
    assert issubclass(CheckpointError, ValueError)


def test_digests_do_not_depend_on_strides():
    one, none = torch.ones(1, dtype=torch.float64), torch.ones(0, dtype=torch.float64)
    assert digest({"a": torch.tensor(1.0).double().expand(1)}) == digest({"a": one})
    assert digest({"a": torch.tensor(1.0).double().expand(0)}) == digest({"a": none})
    square = torch.arange(4.0).reshape(2, 2)
    assert digest({"a": square.T}) == digest({"a": square.T.clone()}) != digest({"a": square})


def test_neighbours_are_left_alone(ens, tmp_path):
    """The readable copy took a person's own run.json, and lr0.1 and lr0.2 shared lr0.json."""
    (tmp_path / "run.json").write_text("mine")
    for name in ("run.safetensors", "lr0.1", "lr0.2"):
        ens.save(tmp_path / name)
    assert (tmp_path / "run.json").read_text() == "mine"
    assert {p.name for p in tmp_path.glob("lr*")} == {"lr0.1", "lr0.1.json", "lr0.2", "lr0.2.json"}


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_modes_follow_the_umask(ens, tmp_path, umask):
    before = os.umask(umask)
    try:
        ens.save(tmp_path / "n.safetensors")
    finally:
        os.umask(before)
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_replaced_file_keeps_its_mode(ens, tmp_path):
    """What a person has closed to others stays closed."""
    path = tmp_path / "n.safetensors"
    ens.save(path)
    path.chmod(0o600)
    ens.save(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_saving_through_a_link_keeps_the_link(ens, tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "n.safetensors"
    for target in ("disk/there", "disk/not-yet"):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        ens.save(link)
        assert link.is_symlink() and not (tmp_path / target).is_symlink()
        same(Ensemble.load(tmp_path / target), ens)


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_never_replaced(ens, tmp_path, kind, linked):
    """A rename over a device would take it from the whole machine."""
    there = tmp_path / "there"
    if kind == "pipe":
        os.mkfifo(there)
    elif kind == "folder":
        there.mkdir()
    else:
        try:
            os.mknod(there, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("devices are made by root alone")
    given = there
    if linked:
        given = tmp_path / "link.safetensors"
        given.symlink_to(there)
    before = os.lstat(there)
    with pytest.raises(OSError, match="not a plain file"):
        replace_file(given, b"data")
    if linked:
        with pytest.raises(OSError, match=r"plain file|folder"):
            ens.save(given)
    after = os.lstat(there)
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {"there"} | ({"link.safetensors"} if linked else set())
    )
