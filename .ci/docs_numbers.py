"""Every number that the docs state of a study is read from where it comes from.

    python .ci/docs_numbers.py          what stands in no source, or differs from it
    python .ci/docs_numbers.py --write  the same, and put the sources' numbers into the pages

A page is cut into blocks: paragraphs, items, rows of tables. A block with digits has an entry in
`docs_sources.SOURCES`: where its numbers come from, one after another; or the test that holds
them; or `SETTING` if it states no result. Sources are the published reports (docs/gallery), tables
of runs that are not published (docs/numbers, written by ``--keep NAME RUN``) and
benchmarks/results. A reference is one of

- ``=4 40``: settings and labels, as they stand;
- ``report|table|row;row|column;column``: cells, row by row; a row is named by its first cells,
  joined by commas or ``¦``, ``*`` is every row;
- ``report~words``: the shortest sentence of the report that holds these words;
- a function without arguments that returns text.

``[0,2]`` behind the second and third kind takes some of the numbers.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import unescape
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
#: A source, and what an entry has: first words, and sources, or a test, or nothing.
Reference = str | Callable[[], str]
Entry = tuple[str, Sequence[Reference] | str | None]

#: A number, with what is said of its size.
NUMBER = re.compile(
    r"(?:(?<!-)[<>])?(?:(?<![\w.)%])-)?(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?!\w)"
)
#: Digits of names: no numbers.
NAMES = re.compile(
    r"\b(?:LeNet-\d+(?:-\d+)?|LeNet-5s?|Conv-\d|ResNet-\d+|VGG-\d+|MNIST-1D|CIFAR-\d+|AVX-?\d+|"
    r"float\d+|Zen \d|L-BFGS|PyTorch \d)\b"
)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def plain(text: str) -> str:
    """HTML as one line of text, with signs and powers of ten in ASCII."""
    text = unescape(re.sub(r"<[^>]+>", "", text)).replace("\u2060", "").replace("\u2212", "-")
    text = re.sub("·10([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", lambda found: "e" + found[1].translate(SUPERSCRIPTS), text)
    return " ".join(text.split())


def numbers(text: str) -> list[str]:
    """The numbers of a text, in order, without separators of thousands."""
    text = re.sub(r"([<>]) (?=\d)", r"\1", text)
    return [found.rstrip(",").replace(",", "") for found in NUMBER.findall(NAMES.sub("", text))]


def same(one: str, other: str) -> bool:
    """Whether two numbers are the same, however many zeros end them."""
    head = "<>"
    return one == other or (
        one[0] not in head and other[0] not in head and float(one) == float(other)
    )


@dataclass
class Report:
    """What a report says: its sentences, and its tables as they are printed."""

    said: list[str] = field(default_factory=list)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)

    @classmethod
    def read(cls, page: str) -> Report:
        """Of the HTML of a report."""
        # A tile is its number and what that is of.
        page = re.sub(r"<b>([^<]*)</b><span>(.*?)</span>", r"<li>\1 \2</li>", page)
        said = re.findall(
            r"<(p|li|dd)(?: class=\"\w+\")?>(.*?)</\1>", page.split("References")[0], re.DOTALL
        )
        tables = {}
        named = re.findall(r"<summary>([^<]*)</summary>(.*?)</details>", page, re.DOTALL)
        named += re.findall(r"<caption>([^<]*)</caption>(.*?)</table>", page, re.DOTALL)
        for title, body in named:
            rows = [
                [plain(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
                for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
            ]
            if rows:
                tables[plain(title)] = rows
        return cls([text for _, words in said if re.search(r"\d", text := plain(words))], tables)

    def cells(self, table: str, rows: str, columns: str) -> str:
        """Cells, one after another."""
        (head, *body), *_ = [
            found for title, found in self.tables.items() if title.startswith(table)
        ]
        wanted = [head.index(name) for name in columns.split(";")]
        texts = []
        for row in rows.split(";"):
            split = "¦" if "¦" in row else ","
            key = [row] if any(line[0] == row for line in body) else row.split(split)
            hits = [line for line in body if row == "*" or line[: len(key)] == key]
            if not hits or (len(hits) > 1 and row != "*"):
                raise LookupError(f"{len(hits)} rows of {table!r} begin with {row!r}")
            texts += [line[at] for line in hits for at in wanted]
        return " ; ".join(texts)

    def sentence(self, words: str) -> str:
        """The shortest text that holds these words."""
        found = sorted((text for text in self.said if words in text), key=len)
        if not found:
            raise LookupError(f"no sentence holds {words!r}")
        return found[0]


@cache
def report(name: str) -> Report:
    """A published report, or the tables kept of a run."""
    page = DOCS / "gallery" / f"{name}.html"
    if page.is_file():
        return Report.read(page.read_text(encoding="utf-8"))
    kept = json.loads((DOCS / "numbers" / f"{name}.json").read_text(encoding="utf-8"))
    return Report(kept["said"], kept["tables"])


def resolve(reference: Reference) -> list[str]:
    """The numbers that a reference stands for."""
    if not isinstance(reference, str):
        return numbers(plain(reference()))
    if reference.startswith("="):
        return reference[1:].split()
    reference, _, taken = reference.partition("[")
    if "~" in reference:
        name, _, words = reference.partition("~")
        found = numbers(report(name).sentence(words))
    else:
        name, table, rows, columns = reference.split("|")
        found = numbers(report(name).cells(table, rows, columns))
    return [found[int(at)] for at in taken.rstrip("]").split(",")] if taken else found


@dataclass
class Block:
    """A paragraph, an item or a row: its text, and where that stands in the page."""

    text: str
    start: int

    @property
    def bare(self) -> str:
        """The text with what is no prose blanked out, in place."""

        def blank(found: re.Match[str]) -> str:
            return " " * len(found[0])

        text = self.text.replace("\u2212", "-")
        text = re.sub(r"`[^`]*`|\\\(.*?\\\)|\]\([^)]*\)|<[^>]*>", blank, text, flags=re.DOTALL)
        return NAMES.sub(blank, text)

    @property
    def key(self) -> str:
        """Its words in one line."""
        return " ".join(re.sub(r"^[-*>|#!\s\[]+|\*", "", self.text).split())


def blocks(page: str) -> Iterator[Block]:
    """Those that hold digits, without code, pictures and heads."""
    text = re.sub(
        r"^(```|~~~).*?^\1[^\n]*$|^ {4}\S.*?$(?<!\n)|^!\[.*?\]\(.*?\)$|<!--.*?-->|\$\$.*?\$\$",
        lambda found: re.sub(r"[^\n]", " ", found[0]),
        page,
        flags=re.DOTALL | re.MULTILINE,
    )
    for found in re.finditer(r"(?:^[^\n]*\S[^\n]*(?:\n|\Z))+", text, re.MULTILINE):
        start = found.start()
        cuts = [m.start() for m in re.finditer(r"^(?:\||\s*[-*] |\d+\. )", found[0], re.MULTILINE)]
        edges = [0, *(cut for cut in cuts if cut), len(found[0])]
        for low, high in pairwise(edges):
            block = Block(found[0][low:high], start + low)
            if NUMBER.search(block.bare):
                yield block


def found_in(block: Block) -> list[tuple[int, str]]:
    """Places and texts of the numbers of a block."""
    text = re.sub(r"([<>])\s(?=\d)", r" \1", block.bare)
    return [(m.start(), m[0].rstrip(",")) for m in NUMBER.finditer(text)]


def check(page: str, entries: Sequence[Entry], write: bool = False) -> list[str]:
    """What is wrong with the numbers of a page.

    Args:
        page: its path from the root.
        entries: of its blocks, in order.
        write: put the numbers of the sources into the page where their count fits.
    """
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    wrong, changes, left = [], [], list(entries)
    for block in blocks(text):
        fits = [place for place, (key, _) in enumerate(left) if block.key.startswith(key)]
        if not fits:
            wrong.append(f"{page}: no source of: {block.key[:90]}")
            continue
        wrong += [f"{page}: no block begins with: {key}" for key, _ in left[: fits[0]]]
        key, references = left[fits[0]]
        left = left[fits[0] + 1 :]
        if references is None:
            continue
        if isinstance(references, str):
            if not (ROOT / references).is_file():
                wrong.append(f"{page}: {key}: no test {references}")
            continue
        stated = found_in(block)
        have = [number.replace(",", "") for _, number in stated]
        try:
            want = [number for reference in references for number in resolve(reference)]
        except (LookupError, ValueError) as error:
            wrong.append(f"{page}: {key}: {error!r}")
            continue
        if len(have) != len(want):
            wrong.append(f"{page}: {key}: says {have}, sources have {want}")
            continue
        for (at, number), new in zip(stated, want, strict=True):
            if not same(number.replace(",", ""), new):
                wrong.append(f"{page}: {key}: says {number}, its source {new}")
                changes.append((block.start + at, number, new))
    wrong += [f"{page}: no block begins with: {key}" for key, _ in left]
    if write:
        for at, number, new in sorted(changes, reverse=True):
            thousands = f"{int(new):,}" if new.isdigit() and len(new) > 3 else new
            text = text[:at] + thousands + text[at + len(number) :]
        path.write_text(text, encoding="utf-8")
    return wrong


def keep(name: str, run: Path) -> None:
    """Keep what the report of a run says, without its figures."""
    from edt.studies.reporting import report_on

    found = Report.read(Path(str(report_on(run))).read_text(encoding="utf-8"))
    told = json.loads((run / "edt.json").read_text(encoding="utf-8"))["identity"]["spec"]
    kept = {"spec": told, "said": found.said, "tables": found.tables}
    (DOCS / "numbers").mkdir(exist_ok=True)
    text = json.dumps(kept, indent=1, ensure_ascii=False)
    (DOCS / "numbers" / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--keep"]:
        keep(arguments[1], Path(arguments[2]))
        return 0
    sys.path.insert(0, str(Path(__file__).parent))
    from docs_sources import SOURCES

    write = "--write" in arguments
    wrong = [said for page, entries in SOURCES.items() for said in check(page, entries, write)]
    print("\n".join(wrong) or "every number stands in its source")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
