"""The entropy-coded container of a file: smaller on disk, the very same file in memory.

A network whose weights take few distinct values, or are mostly zero, is no smaller as a plain ONNX file; it is once
the bytes are entropy-coded. The container is xz (LZMA with a range coder, from the standard library); it is restored
before a runtime reads the file, so speed and answers stay what they were.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

from automl.errors import input_error

SUFFIX = ".onnx.xz"
MAGIC = b"\xfd7zXZ\x00"
LARGEST_FILE = 2**31 - 1  # bytes: what a protocol buffer can hold
MEMORY_LIMIT = 2**28  # bytes that the decoder may take for its dictionary
# Neighbouring codes say little about each other, so a literal is coded without its predecessor (lc) or position.
FILTERS: list[dict[str, Any]] = [
    {"id": lzma.FILTER_LZMA2, "preset": 6 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}
]


def pack(content: bytes) -> bytes:
    """Return the container of a file's bytes; equal bytes give equal containers."""
    return lzma.compress(content, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=FILTERS)


def unpack(container: bytes, where: str = "the packed file", largest: int = LARGEST_FILE) -> bytes:
    """Return the bytes that `pack` was given.

    Args:
        container: whole.
        where: it came from, for the error.
        largest: number of bytes that are restored.

    Raises:
        InputError: where it is no container, cut short, damaged, followed by something else, or larger than
            `largest` when restored.
    """
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_LIMIT)
    remedy = "Write it again, or take it from where it was written."
    try:
        content = decoder.decompress(container, max_length=largest)
    except (lzma.LZMAError, EOFError) as error:
        raise input_error(where, "a whole xz container", f"damaged bytes ({error})", remedy) from error
    if not decoder.eof and len(content) >= largest:
        raise input_error(where, f"at most {largest} bytes when restored", "more", remedy)
    if not decoder.eof:
        raise input_error(where, "a whole xz container", "one that ends early", remedy)
    if decoder.unused_data:
        raise input_error(where, "one xz container", f"{len(decoder.unused_data)} more bytes behind it", remedy)
    return content


def read_model(path: Path) -> bytes:
    """Return the ONNX bytes of a plain or packed file, told apart by their first bytes.

    Raises:
        InputError: where a container is damaged.
        OSError: where the file cannot be read.
    """
    content = path.read_bytes()
    return unpack(content, str(path)) if content.startswith(MAGIC) else content
