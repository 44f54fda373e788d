"""Every reader of files as a function of bytes that may end in the documented errors only.

Two kinds of targets. "plain" ones hand the bytes to the reader as the file. "sealed" ones take a
good file apart, edit its contents as the bytes say, and write it with fresh checksums, since no
mutation of bytes gets past those: they ask what a reader does with a whole file whose contents make
no sense.
"""

from __future__ import annotations

import atexit
import gzip
import io
import json
import pickle
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import edt
from edt import files
from edt.files import CheckpointError
from edt.flow.result import FlowResult
from edt.footer import read_footer
from edt.landscape import connect
from edt.landscape.connect import Connection
from edt.landscape.views.line import LossLine, loss_line
from edt.landscape.views.loss_planes import LossPlane, loss_plane
from edt.runs.store import DirectoryError, PartFiles, Store, inside, read_table
from edt.runs.sweeps import SpecError, Sweep, SweepSpec, read_spec
from edt.studies import WidthSweep
from edt.studies.exports import export
from edt.studies.kinds import status
from edt.studies.reporting import report_on
from edt.tasks.cifar import CifarError, cifar10
from edt.tasks.data_file import ENDINGS, from_file
from edt.tasks.mnist import IdxError, mnist, read_idx
from edt.tasks.task_tables import KIND, data_file, forget_loaded, make_task, stored, task_table
from edt.training import ConvergeResult, TrainResult

#: EDT_MAX_GB of a process that reads inputs, less than the memory that one may add: what asks for
#: more must be refused, not followed.
MAX_GB = "0.2"
#: Where the files of one execution lie: memory, where there is a file system in it.
SHM = Path("/dev/shm")
FOLDER = Path(tempfile.mkdtemp(prefix="edt-fuzz-", dir=SHM if SHM.is_dir() else None))


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        run: takes the bytes; returns, or raises one of ``allowed``.
        allowed: what the reader's documentation names.
        seeds: makes good inputs to start from.
    """

    run: Callable[[bytes], Any]
    allowed: tuple[type[BaseException], ...]
    seeds: Callable[[], list[bytes]]

    def __call__(self, data: bytes) -> None:
        """Read, in bounded memory and time, whatever the bytes ask for."""
        held, clock = peak(), time.process_time()
        with suppress(*self.allowed):
            self.run(data)
        grown, took = peak() - held, time.process_time() - clock
        assert grown <= MEMORY, f"took {grown:,} bytes for {len(data):,}"
        assert took <= SECONDS, f"took {took:.1f} s"


#: What reading one small input may add to the process's peak, in bytes, and take, in seconds of
#: work (the clock runs on where the machine is busy): the first read imports what it needs.
MEMORY, SECONDS = 400 * 2**20, 5.0


def peak() -> int:
    """Most bytes of memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# Bytes as the file -----------------------------------------------------------------------------


def put(name: str, data: bytes, *, alone: bool = True) -> Path:
    """Write a file, where it is alone in an otherwise empty folder."""
    if alone:
        clear()
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    placed(path)
    return path


def placed(path: Path) -> None:
    """Called for every file that a reader is about to be given; tests put others in its place."""


def clear() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()


def read_ensemble(data: bytes) -> None:
    ens = edt.Ensemble.load(put("ensemble.safetensors", data))
    assert ens.to_pandas()["parameters"].sum() == ens.theta.numel()


def read_parquet(data: bytes) -> None:
    assert read_table(put("runs.parquet", data).parent, "runs.parquet") is not None


def read_parquet_footer(data: bytes) -> None:
    assert read_footer(data).rows >= 0


def export_parquet(data: bytes) -> None:
    put("edt.json", marker())
    put("runs.parquet", data, alone=False)
    export(FOLDER, "csv")


def read_toml(data: bytes) -> None:
    spec = read_spec(put("spec.toml", data))
    assert SweepSpec.from_dict(spec.to_dict()) == spec


def read_idx_file(data: bytes) -> None:
    found = read_idx(put("t10k-labels-idx1-ubyte", data))
    assert isinstance(found, np.ndarray)


def read_mnist(data: bytes) -> None:
    """The first two bytes say how much of the rest is labels."""
    cut = int.from_bytes(data[:2], "big")
    put("t10k-labels-idx1-ubyte", data[2 : 2 + cut])
    put("t10k-images-idx3-ubyte", data[2 + cut :], alone=False)
    task = mnist(FOLDER, "test", standardise=False)
    assert task.N > 0


def read_cifar(version: str) -> Callable[[bytes], None]:
    """A batch of CIFAR-10's test images, pickled or as records."""

    def read(data: bytes) -> None:
        put("test_batch.bin" if version == "binary" else "test_batch", data)
        task = cifar10(FOLDER, "test", standardise=False)
        assert task.N > 0 and task.d_out == 10

    return read


def cifar_seeds(version: str) -> list[bytes]:
    images = (np.arange(2 * 3072) % 256).astype(np.uint8).reshape(2, 3072)
    if version == "binary":
        return [b"".join(bytes([k]) + images[k].tobytes() for k in range(2))]
    batch = {b"batch_label": b"testing", b"labels": [3, 9], b"data": images}
    return [pickle.dumps(batch, protocol=2), pickle.dumps({"labels": [0, 1], "data": images})]


def read_data(ending: str) -> Callable[[bytes], None]:
    """A task of one's own."""

    def read(data: bytes) -> None:
        task = from_file(put(f"data{ending}", data))
        assert task.x.shape[0] == task.N

    return read


def data_seeds(ending: str) -> list[bytes]:
    made = io.BytesIO()
    table = pd.DataFrame({"a": [0.5, 1.5, -2.0], "y": [1.0, 0.0, 3.0]})
    if ending == ".npz":
        np.savez(made, x=table[["a"]].to_numpy(), y=table["y"].to_numpy())
        packed = io.BytesIO()
        np.savez_compressed(packed, x=np.zeros((3, 2)), y=np.arange(3))
        return [made.getvalue(), packed.getvalue()]
    if ending == ".pt":
        torch.save({"x": torch.ones(3, 2), "y": torch.arange(3.0)}, made)
    elif ending == ".csv":
        table.to_csv(made, index=False)
    else:
        table.to_parquet(made, index=False)
    return [made.getvalue()]


def read_marker_file(data: bytes) -> None:
    """Everything that asks ``edt.json`` what a directory holds."""
    put("edt.json", data)
    calls: list[Callable[[], Any]] = [
        lambda: WidthSweep.load(FOLDER),
        lambda: Sweep.load(FOLDER),
        lambda: report_on(FOLDER),
        lambda: status(FOLDER),
        lambda: Store(FOLDER, "width-sweep", {"spec": {}}).close(),
    ]
    for call in calls:
        try:
            call()
        except (DirectoryError, CheckpointError):
            continue


def read_progress(data: bytes) -> None:
    """What `status` and `export` read beside tables: manifests, failures, the session."""
    put("edt.json", marker())
    put("runs.parquet", parquet_seeds()[0], alone=False)
    names = (
        "parts/shard-000000.manifest.json",
        "parts/shard-000000.failed.json",
        "session.json",
        "manifest.json",
    )
    for name, part in zip(names, (data + b"\0\0\0").split(b"\0"), strict=False):
        put(name, part, alone=False)
    status(FOLDER).to_dict()
    PartFiles(FOLDER).intact("shard-000000")
    with suppress(CheckpointError):
        export(FOLDER, "csv")


@lru_cache
def marker() -> bytes:
    spec = SweepSpec(task="xor", grid={"width": [2], "seed": "0..3"}, shard_seconds=1.0)
    identity = {"spec": spec.to_dict(), "edt": edt.__version__}
    return json.dumps({"kind": "sweep", "format": 1, "identity": identity}).encode()


def ensemble_seeds() -> list[bytes]:
    clear()
    path, found = FOLDER / "ensemble.safetensors", []
    for ens in (networks(), edt.Ensemble([(1, 2)], 1, 1, bias=False, dtype=torch.float32)):
        ens.save(path)
        found.append(path.read_bytes())
    return found


@lru_cache
def parquet_seeds() -> list[bytes]:
    frames = [
        pd.DataFrame({"run": [0, 1], "loss": [0.5, np.nan], "status": ["ok", "bad"]}),
        pd.DataFrame({"run": pd.Series([1, None], dtype="Int64"), "good": [True, False]}),
    ]
    found = []
    for frame in frames:
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        found.append(buffer.getvalue())
    return found


def toml_seeds() -> list[bytes]:
    return [
        b'task = "xor"\n[grid]\nwidth = [2, 4]\nseed = "0..9"\nlr = 0.01\n',
        b'analysis = ["spectrum"]\ngood = 1e-8\nmus = [0.5]\n[task]\n'
        b'name = "teacher_student"\nn = 256\n[grid]\nwidth = "2..16:2"\ntol = 1e-10\n'
        b"[[points]]\nlr = 0.1\n[[points]]\nlr = 0.2\nwidth = [[4, 4]]\n",
    ]


def idx_seeds() -> list[bytes]:
    labels = b"\0\0\x08\1" + (3).to_bytes(4, "big") + bytes([1, 0, 9])
    floats = b"\0\0\x0d\2" + (2).to_bytes(4, "big") * 2 + np.arange(4, dtype=">f4").tobytes()
    return [labels, floats, gzip.compress(labels, mtime=0)]


def mnist_seeds() -> list[bytes]:
    labels = idx_seeds()[0]
    shape = b"".join(n.to_bytes(4, "big") for n in (3, 28, 28))
    images = b"\0\0\x08\3" + shape + bytes(k % 256 for k in range(3 * 28 * 28))
    return [len(labels).to_bytes(2, "big") + labels + images]


def progress_seeds() -> list[bytes]:
    manifest = {
        "name": "shard-000000", "files": {"shard-000000.runs.parquet": "00"}, "runs": 4,
        "cost": 0.5, "seconds": 1.0, "threads": 1, "finished": 2.0,
    }  # fmt: skip
    note = {"name": "shard-000000", "error": "disk full", "traceback": None, "time": 1.0}
    session = {"started": 1.0, "engine": "local", "workers": 2, "pid": 3}
    whole = {"sha256": {"runs.parquet": "00"}, "runs": 4}
    return [b"\0".join(json.dumps(entry).encode() for entry in (manifest, note, session, whole))]


# Good files with edited contents and fresh checksums ---------------------------------------------


class Bytes:
    """Decisions read from bytes; 0 when they are used up."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def left(self) -> bool:
        return self.at < len(self.data)

    def number(self, below: int) -> int:
        """In 0..below-1."""
        value = self.data[self.at] if self.left else 0
        self.at += 1
        return value % below

    def one_of(self, choices: Any) -> Any:
        choices = list(choices)
        return choices[self.number(len(choices))]


DTYPES = (
    torch.float64, torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool,
    torch.float16, torch.bfloat16,
)  # fmt: skip
JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1e308, float("nan"), "", "tanh", "\u0000", [], [[1]], {}, {"a": 1},
    "x" * 300, ["max_steps"], [1.5, None],
)  # fmt: skip
SHAPES: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    lambda t: t.reshape(-1),
    lambda t: t[None],
    lambda t: t[..., None],
    lambda t: t.reshape(-1)[:-1],
    lambda t: t.reshape(-1)[:0],
    lambda t: torch.cat([t.reshape(-1), t.reshape(-1)[:1]]),
    lambda t: t.reshape(-1)[0] if t.numel() else t,
)
VALUES: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    torch.zeros_like,
    lambda t: torch.full_like(t, 1 if t.dtype == torch.bool else 127),
    lambda t: t if t.dtype in (torch.bool, torch.uint8) else -t,
    lambda t: t if t.dtype != torch.int64 else torch.full_like(t, 2**62),
    lambda t: t if not t.is_floating_point() else torch.full_like(t, float("nan")),
    lambda t: t.flip(0) if t.dim() else t,
)


def edit(
    tensors: dict[str, torch.Tensor], header: dict[str, Any], data: bytes, values: bool
) -> None:
    """Change the contents of a file in place, as the bytes say."""
    source = Bytes(data)
    while source.left:
        what = source.number(7)
        name = source.one_of(sorted(tensors)) if tensors else ""
        table = header
        inner = [
            key for key in ("structure", "first", "second") if isinstance(header.get(key), dict)
        ]
        if what >= 5 and inner and source.number(2):
            table = header[source.one_of(inner)]
        key = source.one_of(sorted(table)) if table else ""
        if what == 0 and tensors:
            del tensors[name]
        elif what == 1 and tensors:
            tensors[name] = tensors[name].to(source.one_of(DTYPES))
        elif what == 2 and tensors:
            tensors[name] = source.one_of(SHAPES)(tensors[name]).clone()
        elif what == 3 and tensors and values:
            tensors[name] = source.one_of(VALUES)(tensors[name]).clone()
        elif what == 4 and tensors:
            tensors[f"{name}x"] = tensors.pop(name)
        elif what == 5 and table:
            del table[key]
        elif what == 6 and table:
            table[key] = source.one_of(JUNK)


Contents = tuple[str, dict[str, torch.Tensor], dict[str, Any]]


def sealed(
    contents: Callable[[], Contents], read: Callable[[Path], Any], *, values: bool = True
) -> Target:
    """A target over edits of a good file.

    Args:
        contents: (kind, tensors, header) of the good file.
        read: takes the path of the edited one.
        values: also edit the numbers in tensors, not only what there is.
    """

    def run(data: bytes) -> None:
        kind, tensors, header = contents()
        tensors, header = dict(tensors), json.loads(json.dumps(header))
        edit(tensors, header, data, values)
        clear()
        path = FOLDER / "file.safetensors"
        files.write(path, kind, tensors, header)
        placed(path)
        read(path)

    return Target(run, (CheckpointError,), lambda: [b"", *(bytes([n, 1, 2, 3]) for n in range(7))])


def taken_apart(save: Callable[[Path], Any]) -> Contents:
    """(kind, tensors, header) of the one safetensors file that ``save`` writes into a folder."""
    clear()
    save(FOLDER)
    (path,) = FOLDER.glob("*.safetensors")
    kind = json.loads(path.with_name(f"{path.name}.json").read_text())["kind"]
    tensors, header = files.read(path, kind)
    own = ("format", "kind", "sha256", "header_sha256")
    return kind, tensors, {name: header[name] for name in header if name not in own}


@lru_cache
def task() -> edt.Task:
    return edt.tasks.teacher_student(teacher_width=1, d_in=1, n=6)


@lru_cache
def networks() -> edt.Ensemble:
    return edt.Ensemble.init([1, 2], [0], d_in=1, d_out=1, sparsity=0.3)


def train(folder: Path, **more: Any) -> TrainResult:
    return edt.masked_train(
        task(), networks(), steps=3, record_params=True, progress=False, checkpoint=folder, **more
    )


def flow(folder: Path, **more: Any) -> FlowResult:
    return edt.gradient_flow(
        task(), networks(), max_time=0.1, record_params=True, progress=False, checkpoint=folder,
        **more,
    )  # fmt: skip


def descend(folder: Path) -> ConvergeResult:
    return edt.converge(
        task(), networks(), lbfgs_steps=2, newton_steps=1, progress=False, checkpoint=folder
    )


def moved_to(folder_name: str, run: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Reads a file as the checkpoint of a run: puts it where the run looks for it."""

    def read(path: Path) -> None:
        path.rename(path.with_name(folder_name))
        run(path.parent)

    return read


@lru_cache
def saved(make: Callable[[], Any]) -> Contents:
    return taken_apart(lambda folder: make().save(folder / "file.safetensors"))


@lru_cache
def checkpointed(run: Callable[[Path], Any]) -> Contents:
    return taken_apart(run)


def no_checkpoint(run: Callable[..., Any]) -> Callable[[], Any]:
    return lambda: run(None)


def load(kind: Any) -> Callable[[Path], Any]:
    """Reads a result and uses it a little: what `load` lets through must work."""

    def read(path: Path) -> None:
        found = kind.load(path)
        found.to_pandas()
        found.to_xarray()
        assert repr(found)

    return read


@lru_cache
def module_networks() -> edt.ModuleEnsemble:
    return edt.ModuleEnsemble([torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)])


def load_modules(path: Path) -> None:
    found = edt.ModuleEnsemble.load(path, [torch.nn.Linear(2, 1)])
    assert found.B == 2 and repr(found)


@lru_cache
def saved_task() -> Contents:
    def save(folder: Path) -> None:
        name, data = data_file(task_table(task()))
        file = folder / Path(name).name
        file.write_bytes(data)
        tensors, header = files.read(file, KIND)
        files.write(file, KIND, tensors, header)

    return taken_apart(save)


def load_task(path: Path) -> None:
    """As the data of a run."""
    given = task_table(task())
    with stored(lambda name: inside.read(path.parent, path.name)):
        found = task_table(json.loads(json.dumps(given)))
    forget_loaded()
    assert make_task(found).N == 6


MAKERS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "ensemble": (edt.Ensemble, networks),
    "train-result": (TrainResult, no_checkpoint(train)),
    "converge-result": (ConvergeResult, no_checkpoint(descend)),
    "flow-result": (FlowResult, no_checkpoint(flow)),
    "loss-line": (
        LossLine,
        lambda: loss_line(task(), networks(), at=[-1.0, 0.0, 1.0], progress=False),
    ),
    "loss-plane": (LossPlane, lambda: loss_plane(task(), networks(), points=3, progress=False)),
    "connection": (
        Connection,
        lambda: connect(
            task(), networks(), networks(), align=False, curve=None, points=3, progress=False
        ),
    ),
}

PLAIN: dict[str, Target] = {
    "safetensors": Target(read_ensemble, (CheckpointError,), ensemble_seeds),
    "parquet": Target(read_parquet, (CheckpointError,), parquet_seeds),
    "footer": Target(
        read_parquet_footer, (ValueError, LookupError, TypeError, AttributeError), parquet_seeds
    ),
    "export": Target(export_parquet, (CheckpointError,), parquet_seeds),
    "toml": Target(read_toml, (SpecError,), toml_seeds),
    "idx": Target(read_idx_file, (IdxError,), idx_seeds),
    "mnist": Target(read_mnist, (IdxError,), mnist_seeds),
    **{
        f"cifar-{version}": Target(
            read_cifar(version), (CifarError,), partial(cifar_seeds, version)
        )
        for version in ("python", "binary")
    },
    **{
        f"data{ending.replace('.', '-')}": Target(
            read_data(ending), (TypeError, ValueError), partial(data_seeds, ending)
        )
        for ending in ENDINGS
    },
    "marker": Target(read_marker_file, (), lambda: [marker()]),
    "progress": Target(read_progress, (), progress_seeds),
}
SEALED: dict[str, Target] = {
    **{
        f"sealed-{name}": sealed(lambda make=make: saved(make), load(kind))
        for name, (kind, make) in MAKERS.items()
    },
    "sealed-module-ensemble": sealed(lambda: saved(module_networks), load_modules),
    "sealed-task": sealed(saved_task, load_task),
    "sealed-training": sealed(
        lambda: checkpointed(train), moved_to("train.safetensors", train), values=False
    ),
    "sealed-flow": sealed(
        lambda: checkpointed(flow), moved_to("flow.safetensors", flow), values=False
    ),
    "sealed-converge": sealed(
        lambda: checkpointed(descend),
        moved_to("converge-000000-000001.safetensors", descend),
        values=False,
    ),
}
TARGETS = PLAIN | SEALED

atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
