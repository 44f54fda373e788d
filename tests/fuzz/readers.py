"""Every function of the package that takes bytes of a file apart, and what is thrown at it.

`found` looks for them in the source, so that a new one is missed here and not by nobody.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "edt"
#: Calls that read a file, or make something of its bytes.
CALLS = {
    "read_bytes", "read_text", "read_plain", "read_bounded", "read_note", "read_table", "load",
    "loads", "open", "open_plain", "fdopen", "fromfile", "memmap", "safe_open", "ParquetFile",
    "read_parquet", "read_csv", "genfromtxt", "loadtxt", "read_array", "read_footer", "GzipFile",
    "ZipFile", "cat_file", "open_dataset",
}  # fmt: skip


def found(root: Path = ROOT) -> set[str]:
    """``module:function`` of every function that calls one of these."""
    names = set()
    for file in sorted(root.rglob("*.py")):
        module = ".".join(("edt", *file.relative_to(root).with_suffix("").parts))
        text = file.read_text()
        if not any(name in text for name in CALLS):
            continue  # most files
        for function, call in calls(ast.parse(text)):
            if call in CALLS or call is None:
                names.add(f"{module.removesuffix('.__init__')}:{function}")
    return names


def calls(tree: ast.AST, within: str = "") -> Iterator[tuple[str, str | None]]:
    """(function or class, what it calls) for every call below; None where it is a ``load``."""
    for node in ast.iter_child_nodes(tree):
        inside = within
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            inside = f"{within}.{node.name}" if within else node.name
            if node.name == "load":
                yield inside, None
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            yield within, name
        yield from calls(node, inside)


#: What each does: the targets that reach it, or why it needs none.
READERS: dict[str, tuple[str, ...] | str] = {
    "edt.files:_open": ("safetensors",),
    "edt.files:read": ("safetensors",),
    "edt.runs.store.directory:read_marker": ("marker",),
    "edt.runs.store.inside:_read_at": ("marker", "progress", "parquet"),
    "edt.runs.store.inside:read": ("marker", "progress", "parquet"),
    "edt.runs.store.notes:read_note": ("progress",),
    "edt.runs.store.parts:PartFiles.failure": ("progress",),
    "edt.runs.store.parts:PartFiles.manifest": ("progress",),
    "edt.runs.store.parts:PartFiles.networks": ("safetensors",),
    "edt.runs.store.parts:PartFiles.table": ("parquet",),
    "edt.runs.store.session:last_session": ("progress",),
    "edt.runs.store.tables:_decode": ("parquet", "footer"),
    "edt.runs.store.finished:_sums": ("progress",),
    "edt.runs.store.finished:read_finished": ("export",),
    "edt.runs.store.finished:read_finished_table": ("parquet", "export"),
    "edt.runs.sweeps.spec:_text": ("toml",),
    "edt.runs.sweeps.spec:read_spec": ("toml",),
    "edt.studies.reporting:report_on": ("marker",),
    "edt.tasks.cifar:_binary": ("cifar-binary",),
    "edt.tasks.cifar:_pickled": ("cifar-python",),
    "edt.tasks.data_file:_array": ("data-npz",),
    "edt.tasks.data_file:_arrays": ("data-npz", "data-pt"),
    "edt.tasks.data_file:_bytes": ("data-csv",),
    "edt.tasks.data_file:_table": ("data-csv", "data-parquet"),
    "edt.tasks.mnist:_opened": ("idx", "mnist"),
    "edt.limits:open_plain": ("toml", "data-npz", "marker"),
    "edt.limits:read_bounded": ("toml",),
    "edt.limits:read_plain": ("data-npz", "cifar-python"),
    # What their `load` gives is used, too.
    "edt.ensemble.container:Ensemble.load": ("sealed-ensemble",),
    "edt.ensemble.module_ensemble:ModuleEnsemble.load": ("sealed-module-ensemble",),
    "edt.training.result:TrainResult.load": ("sealed-train-result",),
    "edt.training.converge_result:ConvergeResult.load": ("sealed-converge-result",),
    "edt.flow.result:FlowResult.load": ("sealed-flow-result",),
    "edt.landscape.connect:Connection.load": ("sealed-connection",),
    "edt.landscape.views.line:LossLine.load": ("sealed-loss-line",),
    "edt.landscape.views.loss_planes:LossPlane.load": ("sealed-loss-plane",),
    "edt.runs.experiment:Experiment.load": ("marker",),
    # No file of others.
    "edt.cli.outcome:tell": "JSON made here",
    "edt.cli.streams:Lasting._lose": "/dev/null",
    "edt.cli.streams:_watch": "a pipe of this process",
    "edt.files:_header_digest": "what `read` has read",
    "edt.files:replace_at": "writes",
    "edt.files:replace_file": "writes",
    "edt.limits:_address_space": "/proc",
    "edt.limits:_available": "/proc",
    "edt.limits:_group": "/sys",
    "edt.nn.team:runtime": "/proc",
    "edt.ops.memory:free_bytes": "/proc",
    "edt.locations:Remote.read_text": "bytes as text",
    "edt.runs.engines.local:_Worker.ask": "a pipe from a worker of this process",
    "edt.runs.engines.worker:_listen": "a pipe from the parent",
    "edt.runs.engines.worker:main": "a pipe to the parent",
    "edt.runs.store.directory:Store.__init__": "JSON made here",
    "edt.runs.store.directory:Store._open_lock": "the lock, which is never read",
    "edt.runs.store.directory:in_use": "the lock, which is never read",
    "edt.runs.store.inside:opened": "folders",
    "edt.runs.sweeps.spec:SweepSpec.to_dict": "JSON made here",
    "edt.tasks.task_tables:_call": "JSON made here",
    "edt.tasks.task_tables:_make": "JSON made here",
    "edt.tasks.task_tables:_module": "code that its owner has confirmed",
    "edt.tasks.task_tables:_plain": "JSON made here",
    "edt.runs.trust:_key": "this user's key: 32 bytes that are compared",
    "edt.show.explore.page:section": "a file of the package",
    "edt.show.html:page": "a file of the package",
    "edt.show.interactive:plotly_source": "a file of plotly",
    "edt.show.interactive:engine": "a file of the package",
    "edt.studies.common.net_spec:NetData.of": "calls `edt.tasks`",
    "edt.studies.common.nets:load": "calls `edt.tasks`",
    "edt.studies.lottery.data:load_splits": "calls `edt.tasks`",
    "edt.studies.width.explore:write": "JSON made here",
}
