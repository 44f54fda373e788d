"""Imports point down only, and no files import each other in a circle.

A file may import from its own part of edt and from layers below. Imports inside functions count,
those for type checkers alone do not.

Usage: python .ci/layers.py [ROOT]
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

#: From the top; parts of one line stand side by side and do not know each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("plots", "estimators", "bench"),
    ("studies",),
    ("show",),
    ("runs",),
    ("lottery",),
    ("landscape",),
    ("success", "nets", "nn"),
    ("flow",),
    ("training",),
    ("curvature",),
    ("functional",),
    ("infinite",),
    ("tasks",),
    ("objectives",),
    ("ops",),
    ("ensemble",),
    ("stats", "frames", "files"),
    ("locations", "limits", "arguments", "array_checks", "scalars", "footer"),
    ("errors", "_core"),
)
#: The table of contents: it imports everything, when asked for it.
ROOT_FILE = "__init__"


def imports(tree: ast.AST, module: str) -> Iterator[str]:
    """Modules of edt that a file imports, ``if TYPE_CHECKING`` left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for rest in node.orelse:
                yield from imports(rest, module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "edt")
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module.split(".")[0] == "edt":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, module)


def graph(root: Path) -> dict[str, set[str]]:
    """File (dotted module) -> files it imports."""
    files = {}
    for path in sorted((root / "edt").rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        files[name.removesuffix(".__init__")] = path
    known: dict[str, set[str]] = {}
    for name, path in files.items():
        found = set()
        for target in imports(ast.parse(path.read_text()), name):
            while target not in files and "." in target:
                target = target.rpartition(".")[0]
            if target not in ("edt", name):
                found.add(target)
        known[name] = found
    return known


def part(module: str) -> str:
    """``edt.training.run`` -> ``training``."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else ROOT_FILE


def upward(known: dict[str, set[str]]) -> list[str]:
    """Imports that do not point down."""
    height = {name: len(LAYERS) - k for k, row in enumerate(LAYERS) for name in row}
    wrong = []
    for name, targets in sorted(known.items()):
        mine = part(name)
        if mine == ROOT_FILE:
            continue
        if mine not in height:
            wrong.append(f"{name}: '{mine}' has no layer; give it one in .ci/layers.py")
            continue
        for target in sorted(targets):
            other = part(target)
            if other != mine and height.get(other, 0) >= height[mine]:
                wrong.append(f"{name} imports {target}: '{other}' is not below '{mine}'")
    return wrong


def circles(known: dict[str, set[str]]) -> list[list[str]]:
    """Files that import each other in a circle (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in sorted(known.get(name, ())):
            if target not in order:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], order[target])
        if low[name] == order[name]:
            group = []
            while True:
                group.append(stack.pop())
                if group[-1] == name:
                    break
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(known):
        if name not in order:
            visit(name)
    return found


def main(root: Path) -> int:
    """Print what is wrong; 1 if anything is."""
    known = graph(root)
    wrong = upward(known)
    wrong += [f"circle: {' <-> '.join(group)}" for group in circles(known)]
    print("\n".join(wrong) or f"{len(known)} files, every import points down")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1])))
