"""What a Parquet file says of itself, read without trust and without making anything it names.

The footer is a structure of Thrift's compact protocol. pyarrow reads it too, but ends the process
where some parts of it contradict each other, and its readers make what the footer asks for.

Reference: https://github.com/apache/parquet-format (parquet.thrift).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Footer", "read_footer"]

MAGIC = b"PAR1"
#: Bytes of a footer: a row group of forty columns takes about 8,000, and holds a million rows.
MOST = 2**20
#: How deep its structures may be; Parquet's own go five deep.
DEEPEST = 12
CODECS = {0: "none", 1: "snappy", 2: "gzip", 3: "lzo", 4: "brotli", 5: "lz4", 6: "zstd", 7: "lz4"}
#: Physical types of plain columns: flags, integers, floats, texts.
TEXT = 6
PLAIN = (0, 1, 2, 4, 5, TEXT)
REPEATED = 2
#: Types of Thrift that are integers in zigzag.
SIGNED = (5, 6, 4)


@dataclass(frozen=True)
class Footer:
    """What a table is made of.

    Attributes:
        rows: as many as any part of the footer claims.
        columns: their names.
        texts: those of columns whose values have no fixed size.
        codecs: names of what pages are compressed with.
    """

    rows: int
    columns: list[str]
    texts: list[str]
    codecs: set[str]


def read_footer(data: bytes) -> Footer:
    """Read the footer of a file.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: not Parquet, or not a flat table of
            numbers, flags and texts.
    """
    length = int.from_bytes(data[-8:-4], "little")
    if data[:4] != MAGIC or data[-4:] != MAGIC or length > min(MOST, len(data) - 12):
        raise ValueError("no Parquet footer")
    found = _Thrift(data[-8 - length : -8]).struct()
    _root, *elements = found[2]
    columns, texts = [], []
    for element in elements:
        # Groups have no type of their own.
        if element.get(1) not in PLAIN or element.get(3) == REPEATED:
            raise ValueError("columns that are no numbers, flags or texts")
        columns.append(element[4].decode())
        if element[1] == TEXT:
            texts.append(columns[-1])
    if len(set(columns)) != len(columns):
        raise ValueError("two columns of one name")
    groups = found.get(4, [])
    chunks = [chunk for group in groups for chunk in group[1]]
    if any(1 in chunk for chunk in chunks):
        raise ValueError("columns in another file")
    kept = [chunk[3] for chunk in chunks]
    counts = [found[3], sum(group[3] for group in groups), *(meta[5] for meta in kept)]
    codecs = {CODECS.get(meta[4], str(meta[4])) for meta in kept}
    return Footer(max(counts), columns, texts, codecs)


class _Thrift:
    """Thrift's compact protocol: structures as dictionaries from the numbers of fields."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.at = data, len(data), 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The structure that begins here."""
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            if kind in SIGNED:
                fields[number] = self._signed()
            elif kind == 8:
                fields[number] = self._take(self._unsigned())
            else:
                fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind == 12:
            return self.struct(depth + 1)
        if kind in SIGNED:
            return self._signed()
        if kind == 8:
            return self._take(self._unsigned())
        if kind in (1, 2):  # an element of a list
            return self._byte() == 1
        if kind == 3:
            return self._byte()
        if kind == 7:
            return self._take(8)
        if kind in (9, 10):
            head = self._byte()
            count = self._unsigned() if head >> 4 == 15 else head >> 4
            if count > self.size - self.at:  # each takes a byte at least
                raise ValueError("a list longer than its file")
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        raise ValueError(f"no type {kind} in Parquet")

    def _byte(self) -> int:
        at = self.at
        if at >= self.size:
            raise ValueError("cut off")
        self.at = at + 1
        return self.data[at]

    def _take(self, count: int) -> bytes:
        if count > self.size - self.at:
            raise ValueError("cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def _unsigned(self) -> int:
        value = self._byte()
        if value < 128:  # most are
            return value
        value, shift = value & 127, 7
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("an integer of more than 64 bits")

    def _signed(self) -> int:
        at = self.at
        if at < self.size and self.data[at] < 128:  # most are
            self.at = at + 1
            value = self.data[at]
        else:
            value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
