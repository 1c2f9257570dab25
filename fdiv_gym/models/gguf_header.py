"""The header of a GGUF file, read within limits before a library trusts its counts.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fdiv_gym.errors import MissingExtraError, TrainerError
from fdiv_gym.files import open_for_reading

MOST_ENTRIES = 100_000
"""Tensors, and entries of the table of metadata."""
MOST_ELEMENTS = 8_000_000
"""Elements of all arrays of the metadata; a vocabulary of 262 144 tokens has about 1.5 million."""
LONGEST_TEXT = 1 << 20
"""Bytes of one text, such as a chat template."""
MOST_DIMENSIONS = 8

BLOCK = re.compile(r"blk\.([0-9]{1,6})\.")

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself.

    Args:
        metadata: its entries, without arrays.
        parameters: number of weights.
        quantization: the most frequent type of its matrices, such as ``Q4_1``.
    """

    metadata: Mapping[str, Any]
    parameters: int
    quantization: str


def read_gguf_header(path: Path) -> GgufHeader:
    """The header of a GGUF file; every tensor must lie inside the file, apart from the others.

    Raises:
        TrainerError: it is no GGUF file, it is truncated, its header exceeds a limit, or its tensors overlap or are not
            those of the layers that it announces.
        MissingExtraError: the package ``gguf`` is not installed.
        OSError: the file cannot be read.
    """
    with open_for_reading(path) as file:
        return _Reader(path, file).header()


class _Reader:
    """Reads numbers and texts, and refuses to go beyond the end of the file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._size = file.seek(0, 2)
        file.seek(0)
        self._elements = 0

    def header(self) -> GgufHeader:
        if self._size < 4 or self._take(4) != b"GGUF":
            raise TrainerError(f"{self._path} is not a GGUF file: it does not start with GGUF")
        version = self._number("I")
        if version not in (2, 3):
            raise self._refused(f"is of GGUF version {version}; 2 and 3 can be read, in little-endian order")
        tensors, entries = self._count("tensors"), self._count("entries of metadata")
        metadata: dict[str, Any] = {}
        for _ in range(entries):
            key = self._text()
            value = self._value(self._number("I"))
            if value is not None:
                metadata[key] = value
        return self._with_tensors(metadata, [self._tensor() for _ in range(tensors)])

    def _with_tensors(self, metadata: dict[str, Any], tensors: list[tuple[str, int, int, int]]) -> GgufHeader:
        sizes = _quant_sizes()
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= LONGEST_TEXT:
            raise self._refused(f"has the alignment {alignment!r}")
        start = -(-self._file.tell() // alignment) * alignment
        types: Counter[str] = Counter()
        taken = 0
        for name, elements, kind, offset in tensors:
            if kind not in sizes:
                raise self._refused(f"has the tensor {name!r} of an unknown type, {kind}")
            type_name, block, size = sizes[kind]
            if start + offset + elements // block * size > self._size:
                raise self._refused(f"is truncated: the tensor {name!r} ends beyond the file's {self._size} bytes")
            types[type_name] += elements
            taken += elements // block * size
        if taken > self._size - start:  # a small file would become a huge model
            raise self._refused(f"has tensors that overlap: together they have {taken} bytes, the file {self._size}")
        self._refuse_other_layers(metadata, [name for name, *_ in tensors])
        return GgufHeader(metadata, sum(types.values()), types.most_common(1)[0][0] if types else "none")

    def _refuse_other_layers(self, metadata: dict[str, Any], names: list[str]) -> None:
        """Refuse a number of layers that the tensors do not have.

        transformers leaves out layers beyond the number without a word, and builds missing ones before it notices.
        """
        announced = metadata.get(f"{metadata.get('general.architecture')}.block_count")
        found = {int(match[1]) for name in names if (match := BLOCK.match(name))}
        if found and announced != max(found) + 1:
            raise self._refused(f"announces {announced} layers and has the tensors of {max(found) + 1}")

    def _tensor(self) -> tuple[str, int, int, int]:
        name = self._text()
        dimensions = self._number("I")
        if dimensions > MOST_DIMENSIONS:
            raise self._refused(f"has the tensor {name!r} of {dimensions} dimensions")
        shape = [self._number("Q") for _ in range(dimensions)]
        return name, math.prod(shape), int(self._number("I")), int(self._number("Q"))

    def _value(self, kind: int) -> Any:
        """A number or a text; None for an array, which is skipped."""
        if kind == _STRING:
            return self._text()
        if kind in _SCALARS:
            number = self._number(_SCALARS[kind])
            if not math.isfinite(number):
                raise self._refused(f"has the value {number} in its header")
            return number
        if kind != _ARRAY:
            raise self._refused(f"has a value of an unknown type, {kind}")
        element, count = self._number("I"), self._number("Q")
        self._elements += count
        if self._elements > MOST_ELEMENTS:
            raise self._refused(f"has arrays of more than {MOST_ELEMENTS} elements in its header")
        if element == _STRING:
            for _ in range(count):
                self._text()
        elif element in _SCALARS:
            self._take(count * struct.calcsize(_SCALARS[element]))
        else:
            raise self._refused(f"has an array of elements of type {element}")
        return None

    def _text(self) -> str:
        length = self._number("Q")
        if length > LONGEST_TEXT:
            raise self._refused(f"has a text of {length} bytes in its header, more than {LONGEST_TEXT}")
        return self._take(length).decode("utf-8", "replace")

    def _count(self, what: str) -> int:
        count = int(self._number("Q"))
        if count > MOST_ENTRIES:
            raise self._refused(f"announces {count} {what}, more than {MOST_ENTRIES}")
        return count

    def _number(self, code: str) -> Any:
        found = struct.unpack(f"<{code}", self._take(struct.calcsize(code)))
        return found[0]

    def _take(self, count: int) -> bytes:
        found = self._file.read(count)
        if len(found) < count:
            raise self._refused(f"is truncated: its header ends after {self._size} bytes")
        return found

    def _refused(self, what: str) -> TrainerError:
        return TrainerError(f"the GGUF file {self._path} {what}; fetch it again, or use another file")


def _quant_sizes() -> dict[int, tuple[str, int, int]]:
    """For each type of tensors: its name, weights in a block, and bytes of a block."""
    try:
        from gguf import GGML_QUANT_SIZES
    except ImportError:
        raise MissingExtraError("GGUF files need the package gguf: pip install 'fdiv-gym[train]'") from None
    return {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
