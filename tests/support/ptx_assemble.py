"""nvcc's PTX as programs of the PTX machine: registers numbered, calls and labels resolved.

    python ptx_assemble.py in.ptx out.program

Functions that a kernel calls follow its code; their registers are apart from the kernel's, and
their parameters are registers too, so that a call copies registers and jumps. Forms that nvcc does
not make of these kernels are refused, not guessed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ptx_rules import PRODUCTS, charge

SPECIAL = {"%tid.x": 0, "%ntid.x": 1, "%ctaid.x": 2, "%nctaid.x": 3, "%cluster_ctarank": 4}
SHARED_BASE = 1024
#: Most registers that an instruction reads (machine.h).
OPERANDS = 16
BYTES = {"8": 1, "16": 2, "32": 4, "64": 8}
#: Modifiers that change nothing where results are IEEE's and flushing is off.
IGNORED = {"rn", "uni", "sync", "aligned", "to", "nc", "ftz", "volatile"}
FUNCTION = re.compile(
    r"(?:\.visible\s+|\.weak\s+)?\.(entry|func)\s+(?:\(([^)]*)\)\s*)?(\w+)\s*\(([^)]*)\)([^;{]*)([;{])"
)


class Unknown(ValueError):
    """PTX that the machine has no meaning for."""


@dataclass
class Function:
    """A kernel or device function as text."""

    name: str
    results: list[str]
    parameters: list[str]
    most_threads: int
    body: list[tuple[int, str]]  # (line, statement), braces left out


@dataclass
class Line:
    """An instruction of a program; see program.cpp."""

    name: str
    kind: str
    line: int
    predicate: int = -1
    negated: int = 0
    bytes: int = 0
    vector: int = 1
    signed: int = 0
    space: str = "global"
    offset: int | str = 0  # a label until it is resolved
    dst: list[int] = field(default_factory=list)
    src: list[int] = field(default_factory=list)

    def text(self, labels: dict[str, int], charges: dict[tuple[int, ...], int]) -> str:
        charged = charges.setdefault(charge(self.name, self.kind), len(charges))
        offset = labels[self.offset] if isinstance(self.offset, str) else self.offset
        d = self.dst + [0] * (4 - len(self.dst))
        s = self.src + [0] * (OPERANDS - len(self.src))
        parts = (self.name, self.kind, charged, self.line, self.predicate, self.negated)
        more = (self.bytes, self.vector, self.signed, self.space, offset)
        return " ".join(map(str, (*parts, *more, *d, *s)))


def functions(text: str) -> dict[str, tuple[Function, bool]]:
    """{name: (function, whether it is a kernel)}."""
    text = re.sub(r"//[^\n]*", "", text)
    out = {}
    for match in FUNCTION.finditer(text):
        if match[6] == ";":
            continue
        end, depth = match.end(), 1
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        results, names = (
            re.findall(r"(\w+)(?:\[\d+\])?\s*(?:,|$)", (match[k] or "").strip()) for k in (2, 4)
        )
        most = re.search(r"\.maxntid\s+(\d+)", match[5])
        first = text.count("\n", 0, match.end()) + 1
        body = list(statements(text[match.end() : end - 1], first))
        made = Function(match[3], results, names, int(most[1]) if most else 1024, body)
        out[made.name] = made, match[1] == "entry"
    return out


def statements(text: str, line: int) -> Iterator[tuple[int, str]]:
    """(line, statement or "label:") one by one."""
    label = re.compile(r"(\$?[A-Za-z_][\w$]*)\s*:(?!:)")
    at = 0
    while at < len(text):
        c = text[at]
        if c == "\n":
            line += 1
        if c.isspace() or c == "}" or (c == "{" and text[at + 1].isspace()):
            at += 1
            continue
        if match := label.match(text, at):
            yield line, match[1] + ":"
            at = match.end()
            continue
        end = text.index(";", at)
        yield line, " ".join(text[at:end].split())
        line += text.count("\n", at, end)
        at = end + 1


def split(text: str) -> list[str]:
    """At commas outside brackets."""
    return [
        p.strip() for p in re.findall(r"(?:[^,{}\[\]()]|\{[^}]*\}|\[[^\]]*\]|\([^)]*\))+", text)
    ]


class Program:
    """One kernel with the functions it calls."""

    def __init__(self, kernel: Function, others: dict[str, tuple[Function, bool]]) -> None:
        self.kernel, self.others = kernel, others
        self.numbers: dict[str, int] = {}
        self.constants: dict[int, int] = {}
        self.lines: list[Line] = []
        self.labels: dict[str, int] = {}
        self.next = len(SPECIAL)
        waiting, done = [kernel.name], []
        while waiting:
            name = waiting.pop(0)
            done.append(name)
            found = others[name][0]
            self.labels[f"{name}/"] = len(self.lines)
            self.scope, self.parameters = found, found.parameters
            for line, statement in found.body:
                self.line = line
                for callee in self._statement(statement):
                    if callee not in done and callee not in waiting:
                        waiting.append(callee)

    def text(self) -> str:
        head = f"kernel {self.kernel.name} {self.kernel.most_threads} {self.next}"
        constants = [f"constant {at} {bits}" for bits, at in self.constants.items()]
        for i, name in enumerate(self.kernel.parameters):
            if (at := self.numbers.get(f"{self.kernel.name}/{name}")) is not None:
                constants.append(f"argument {at} {i}")
        charges: dict[tuple[int, ...], int] = {}
        lines = [line.text(self.labels, charges) for line in self.lines]
        costs = [f"charge {' '.join(map(str, cost))}" for cost in charges]
        return "\n".join([head, *constants, *costs, *lines])

    # Operands.

    def _number(self, key: str) -> int:
        if key not in self.numbers:
            self.numbers[key] = self.next
            self.next += 1
        return self.numbers[key]

    def _constant(self, bits: int) -> int:
        if bits not in self.constants:
            self.constants[bits] = self.next
            self.next += 1
        return self.constants[bits]

    def _operand(self, text: str, kind: str) -> int:
        if text in SPECIAL:
            return SPECIAL[text]
        if text.startswith("%"):
            return self._number(f"{self.scope.name}/{text}")
        if match := re.fullmatch(r"0[fF]([0-9A-Fa-f]{8})", text):
            return self._constant(int(match[1], 16))
        if match := re.fullmatch(r"0[dD]([0-9A-Fa-f]{16})", text):
            return self._constant(int(match[1], 16))
        if re.fullmatch(r"-?\d+|0x[0-9a-fA-F]+", text):
            size = 8 * BYTES.get(re.sub(r"\D", "", kind), 4)
            return self._constant(int(text, 0) & ((1 << size) - 1))
        if text in self.parameters:
            return self._number(f"{self.scope.name}/{text}")
        if text in shared_symbols:
            return self._constant(SHARED_BASE)
        raise Unknown(f"operand {text}, line {self.line}")

    def _address(self, text: str) -> tuple[str, int]:
        match = re.fullmatch(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\d+))?\s*\]", text)
        if match is None:
            raise Unknown(f"address {text}, line {self.line}")
        return match[1], int(match[2] or 0)

    def _emit(self, name: str, kind: str, **more: object) -> None:
        self.lines.append(Line(name, kind, self.line, *self.predicate, **more))  # type: ignore[arg-type]

    # Statements; returns the functions called.

    def _statement(self, text: str) -> list[str]:
        if text.endswith(":"):
            self.labels[f"{self.scope.name}/{text[:-1]}"] = len(self.lines)
            return []
        if text.startswith("."):
            if text.split()[0] in (".reg", ".param", ".pragma"):
                return []
            raise Unknown(f"{text}, line {self.line}")
        self.predicate: tuple[int, int] = (-1, 0)
        if match := re.match(r"@(!?)(%\w+)\s+(.*)", text):
            self.predicate = (self._operand(match[2], "pred"), int(bool(match[1])))
            text = match[3]
        mnemonic, _, rest = text.partition(" ")
        parts = mnemonic.split(".")
        call = getattr(self, f"_do_{parts[0]}", None)
        operands = split(rest)
        return (call(parts, operands) if call else self._compute(parts, operands)) or []

    def _compute(self, parts: list[str], operands: list[str]) -> None:
        kind = parts[-1]
        name = ".".join(p for p in parts if p not in IGNORED)
        if parts[0] == "cvt" and len([p for p in parts if p not in IGNORED]) != 3:
            raise Unknown(f"{'.'.join(parts)}, line {self.line}")
        kinds = [kind] * 4
        if parts[0] in ("shl", "shr"):
            kinds[1] = "u32"
        elif parts[0] == "bfi":
            kinds[2:] = ["u32", "u32"]
        elif parts[0] == "selp":
            kinds[2] = "pred"
        elif "wide" in parts:
            kinds[2] = kind[0] + str(2 * int(kind[1:]))
        src = [self._operand(o, k) for o, k in zip(operands[1:], kinds, strict=False)]
        self._emit(name, "compute", dst=[self._operand(operands[0], kind)], src=src)

    def _do_mov(self, parts: list[str], operands: list[str]) -> None:
        target, source = operands
        if target.startswith("{"):
            halves = split(target[1:-1])
            for half, name in zip(halves, ("low.b64", "high.b64"), strict=True):
                if half != "_":
                    dst = [self._operand(half, "b32")]
                    self._emit(name, "compute", dst=dst, src=[self._operand(source, "b64")])
        elif source.startswith("{"):
            src = [self._operand(o, "b32") for o in split(source[1:-1])]
            self._emit("pack.b64", "compute", dst=[self._operand(target, "b64")], src=src)
        else:
            self._compute(parts, operands)

    def _do_cvta(self, parts: list[str], operands: list[str]) -> None:
        name = "cvta.shared.u64" if parts[1] == "shared" else "mov.u64"
        dst, src = (self._operand(o, "u64") for o in operands)
        self._emit(name, "compute", dst=[dst], src=[src])

    def _do_bra(self, parts: list[str], operands: list[str]) -> None:
        self._emit("bra", "branch", offset=f"{self.scope.name}/{operands[0]}")

    def _do_ret(self, parts: list[str], operands: list[str]) -> None:
        self._emit("ret", "ret")

    def _do_bar(self, parts: list[str], operands: list[str]) -> None:
        if parts[1] == "warp":
            self._emit("bar.warp.sync", "warp_barrier")
        elif parts[1:] == ["sync"] and operands == ["0"]:
            self._emit("bar.sync", "barrier")
        else:
            raise Unknown(f"{'.'.join(parts)}, line {self.line}")

    def _do_barrier(self, parts: list[str], operands: list[str]) -> None:
        if parts[1:] == ["cluster", "arrive", "release", "aligned"]:
            self._emit("barrier.cluster.arrive", "arrive")
        elif parts[1:] == ["cluster", "wait", "acquire", "aligned"]:
            self._emit("barrier.cluster.wait", "wait")
        else:
            raise Unknown(f"{'.'.join(parts)}, line {self.line}")

    def _do_shfl(self, parts: list[str], operands: list[str]) -> None:
        if parts[1:] != ["sync", "bfly", "b32"]:
            raise Unknown(f"{'.'.join(parts)}, line {self.line}")
        dst = operands[0].partition("|")[0]
        src = [self._operand(o, "b32") for o in operands[1:]]
        self._emit("shfl", "shuffle", dst=[self._operand(dst, "b32")], src=src)

    def _do_mma(self, parts: list[str], operands: list[str]) -> None:
        if parts[3] not in PRODUCTS or parts[-4:] != ["f64"] * 4:
            raise Unknown(f"{'.'.join(parts)}, line {self.line}")
        halves, fours = PRODUCTS[parts[3]]
        d, a, b, c = ([self._operand(o, "f64") for o in split(p[1:-1])] for p in operands)
        if [len(d), len(a), len(b)] != [2 * halves, halves * fours, fours] or len(c) != len(d):
            raise Unknown(f"operands of {'.'.join(parts)}, line {self.line}")
        name = f"mma.{parts[3]}.f64"
        self._emit(name, "product", dst=d, src=[*a, *b, *c], vector=halves, bytes=fours)

    def _do_cp(self, parts: list[str], operands: list[str]) -> None:
        if parts[2] == "wait_all":
            self._emit("cp.async.wait_all", "await")
            return
        to, from_, size, real = operands
        if parts[2:] != ["cg", "shared", "global"] or size != "16":
            raise Unknown(f"{'.'.join(parts)}, line {self.line}")
        places = []
        for text in (to, from_):
            base, offset = self._address(text)
            place = self._operand(base, "u64")
            if offset:
                moved = self._number(f"{self.scope.name}/moved{len(self.lines)}")
                src = [place, self._constant(offset & (2**64 - 1))]
                self._emit("add.s64", "compute", dst=[moved], src=src)
                place = moved
            places.append(place)
        src = [places[1], self._operand(real, "u32")]
        self._emit("cp.async", "copy", dst=[places[0]], src=src, bytes=16)

    def _do_call(self, parts: list[str], operands: list[str]) -> list[str]:
        returned = split(operands.pop(0)[1:-1]) if operands[0].startswith("(") else []
        name, given = operands[0], split(operands[1][1:-1]) if len(operands) > 1 else []
        callee = self.others[name][0]
        for here, there in zip(given, callee.parameters, strict=True):
            dst = [self._number(f"{name}/{there}")]
            self._emit(
                "mov.u64", "compute", dst=dst, src=[self._number(f"{self.scope.name}/{here}")]
            )
        self._emit("call", "call", offset=f"{name}/")
        for here, there in zip(returned, callee.results, strict=True):
            dst = [self._number(f"{self.scope.name}/{here}")]
            self._emit("mov.u64", "compute", dst=dst, src=[self._number(f"{name}/{there}")])
        return [name]

    def _access(self, parts: list[str], register: str, memory: str, *, store: bool) -> None:
        kind = parts[-1]
        base, offset = self._address(memory)
        vector = next((int(p[1]) for p in parts if p in ("v2", "v4")), 1)
        names = split(register[1:-1]) if vector > 1 else [register]
        registers = [self._operand(n, kind) for n in names]
        size = BYTES[re.sub(r"\D", "", kind)]
        if "param" in parts:
            self._parameter(base, offset, registers, size, kind, store=store)
            return
        spaces = [s for s in ("global", "shared") if s in parts]
        if "shared::cluster" in parts:
            spaces = ["cluster"]
        more = {
            "bytes": size,
            "vector": vector,
            "signed": int(kind[0] == "s" and not store),
            "space": spaces[0] if spaces else "generic",
            "offset": offset,
        }
        place = self._operand(base, "u64")
        name = ".".join(p for p in parts if p not in IGNORED)
        if store:
            self._emit(name, "store", dst=[place], src=registers, **more)
        else:
            self._emit(name, "load", dst=registers, src=[place], **more)

    def _parameter(
        self, base: str, offset: int, registers: list[int], size: int, kind: str, *, store: bool
    ) -> None:
        """A kernel's own lie in memory, those of functions are registers."""
        if base.startswith("%") or (self.scope is self.kernel and base in self.parameters):
            more = {"bytes": size, "vector": len(registers), "signed": int(kind[0] == "s")}
            place = self._operand(base, "u64")
            self._emit("ld.param", "parameter", dst=registers, src=[place], offset=offset, **more)
            return
        if offset or len(registers) > 1:
            raise Unknown(f"a parameter in pieces, line {self.line}")
        own = self._number(f"{self.scope.name}/{base}")
        dst, src = (own, registers[0]) if store else (registers[0], own)
        self._emit("mov.u64", "compute", dst=[dst], src=[src])

    def _do_ld(self, parts: list[str], operands: list[str]) -> None:
        self._access(parts, operands[0], operands[1], store=False)

    def _do_st(self, parts: list[str], operands: list[str]) -> None:
        self._access(parts, operands[1], operands[0], store=True)


shared_symbols: set[str] = set()


def assemble(ptx: str) -> str:
    """All kernels of a file."""
    shared_symbols.clear()
    shared_symbols.update(re.findall(r"\.extern \.shared \.align \d+ \.b8 (\w+)\[\];", ptx))
    found = functions(ptx)
    return "\n".join(Program(f, found).text() for f, kernel in found.values() if kernel) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(assemble(Path(sys.argv[1]).read_text()))
