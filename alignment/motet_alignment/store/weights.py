"""safetensors files read without torch: headers with bounds, samples of the bytes, NaN and infinity found by bits."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from motet_alignment.errors import Refused

# Of the numbers an adapter may hold: bytes each, and the bits of the exponent, all set in NaN and infinity only.
FLOATS: Mapping[str, tuple[int, int]] = {
    "F64": (8, 0x7FF0_0000_0000_0000),
    "F32": (4, 0x7F80_0000),
    "F16": (2, 0x7C00),
    "BF16": (2, 0x7F80),
}
_WINDOW = 512
_WINDOWS = 8
_SCAN = 16 * 2**20


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in its file."""

    dtype: str  # as the format says it, such as BF16
    shape: tuple[int, ...]
    start: int  # in bytes from the file's beginning
    end: int


def read_header(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of the safetensors file ``path``.

    Raises Refused naming the file if it is no safetensors file, truncated, too long, or its header is not sane;
    FileNotFoundError if it isn't there.
    """
    import safetensors

    try:
        # The library bounds the header (100 MB) and checks types, that sizes and shapes agree, and that the tensors
        # fill the file without a gap.
        with safetensors.safe_open(path, framework="numpy"):
            pass
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        first = 8 + length
        return {
            name: Tensor(
                entry["dtype"],
                tuple(entry["shape"]),
                first + entry["data_offsets"][0],
                first + entry["data_offsets"][1],
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (
        safetensors.SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        struct.error,
        RecursionError,
    ) as error:
        raise Refused(f"{path} is not a whole safetensors file: {error}") from None


def sample(descriptor: int, tensor: Tensor) -> bytes:
    """Bytes that stand for the tensor: all of a short one, else evenly spaced pieces with both ends."""
    size = tensor.end - tensor.start
    if size <= _WINDOW * _WINDOWS:
        return os.pread(descriptor, size, tensor.start)
    gap = (size - _WINDOW) // (_WINDOWS - 1) // 64 * 64  # pieces that begin and end between two numbers
    starts = [*(gap * index for index in range(_WINDOWS - 1)), size - _WINDOW]
    return b"".join(os.pread(descriptor, _WINDOW, tensor.start + start) for start in starts)


def check_finite_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raises Refused naming the first tensor that holds NaN or infinity, or is not of floating point."""
    import numpy as np

    with path.open("rb") as file:
        for name, tensor in tensors.items():
            if tensor.dtype not in FLOATS:
                raise Refused(
                    f"{path}: {name} is of type {tensor.dtype}; an adapter's are {', '.join(FLOATS)}"
                )
            width, exponent = FLOATS[tensor.dtype]
            bits = np.dtype(f"<u{width}")
            for start in range(tensor.start, tensor.end, _SCAN):
                file.seek(start)
                values = np.frombuffer(file.read(min(_SCAN, tensor.end - start)), bits)
                mask = bits.type(exponent)
                if bool(((values & mask) == mask).any()):
                    raise Refused(f"{path}: {name} holds NaN or infinity; its training went wrong")


def write_tensors(entries: Iterable[tuple[str, str, tuple[int, ...], bytes]]) -> bytes:
    """A safetensors file of (name, dtype, shape, little-endian bytes), the same for the same tensors in any order."""
    # Wide types first keeps every tensor aligned to its own width.
    ordered = sorted(entries, key=lambda entry: (-FLOATS[entry[1]][0], entry[0]))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, dtype, shape, data in ordered:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *(data for *_, data in ordered)])
