"""MATLAB level 5 files (`save` without -v7.3): cells, structs, numbers and text, in plain Python with every length checked.

Written because the usual reader can end the whole process on a damaged file.  Format: MathWorks, "MAT-File Level 5 File Format".
"""

import struct
import zlib

import numpy as np

from vp.data.files import read_bytes
from vp.errors import InputError

_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8", 16: "u1", 17: "u2", 18: "u4"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)
_LARGEST = 1 << 30  # bytes of one variable once unpacked


def read_mat(path, name):
    """The variable `name` of a MATLAB file: cells are object arrays, structs dicts (lists of dicts if several), numbers float64 arrays.

    InputError: not such a file, damaged, truncated, a kind of variable that is not read, or no variable of that name.
    """
    data = memoryview(read_bytes(path))
    if bytes(data[:8]) == b"\x89HDF\r\n\x1a\n":
        raise InputError("a MATLAB 7.3 file (HDF5)", path, "save it again in MATLAB with save(..., '-v7')")
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[126:128]))
    if order is None:
        raise InputError("not a MATLAB level 5 file", path, "damaged?")
    at, names = 128, []
    try:
        while at < len(data):
            kind, body, at = _element(data, at, order)
            if kind == _COMPRESSED:
                kind, body, _ = _element(memoryview(zlib.decompressobj().decompress(body, _LARGEST)), 0, order)
            found, value = _matrix(body, order, 0, only=name)
            names.append(found)
            if found == name:
                return value
    except (ValueError, LookupError, OverflowError, MemoryError, struct.error, zlib.error) as e:
        raise InputError(f"not a readable MATLAB file ({type(e).__name__}: {str(e)[:100]})", path, "damaged?") from None
    raise InputError(f"no variable {name!r}", path, f"it holds {', '.join(names)[:80] or 'none'}")


def _element(data, at, order):
    """One data element: (type, body, where the next one begins).  Small ones keep up to four bytes in their tag."""
    word, size = struct.unpack_from(order + "II", data, at)
    if word >> 16:
        kind, size, start, end = word & 0xFFFF, word >> 16, at + 4, at + 8
        if size > 4:
            raise ValueError("a small element of more than four bytes")
    else:
        kind, start = word, at + 8
        end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
    if start + size > len(data):
        raise ValueError("the file ends within an element")
    return kind, data[start : start + size], end


def _values(data, at, order):
    """A numeric element as an array, and where the next one begins."""
    kind, body, at = _element(data, at, order)
    return np.frombuffer(body, order + _STORED[kind]), at


def _matrix(data, order, depth, only=None):
    """Body of a miMATRIX element -> (name, value); value is None where the name is not `only`."""
    if depth > 20:
        raise ValueError("nested too deeply")
    if not len(data):
        return "", np.zeros((0, 0))
    flags, at = _values(data, 0, order)
    shape, at = _values(data, at, order)
    letters, at = _values(data, at, order)
    name, shape, kind = letters.astype(np.uint8).tobytes().decode("latin1"), [int(n) for n in shape], int(flags[0]) & 0xFF
    if only is not None and name != only:
        return name, None
    count = int(np.prod(shape, dtype=object))
    if not 2 <= len(shape) <= 8 or min(shape) < 0 or count > len(data):
        raise ValueError(f"size {shape}")

    def child():
        nonlocal at
        kind, body, at = _element(data, at, order)
        if kind != _MATRIX:
            raise ValueError(f"element of type {kind} in a cell or struct")
        return _matrix(body, order, depth + 1)[1]

    if kind == _CELL:
        cells = np.empty(count, object)
        for i in range(count):
            cells[i] = child()
        return name, cells.reshape(shape, order="F")
    if kind == _STRUCT:
        length, at = _values(data, at, order)
        fields, at = _values(data, at, order)
        width = int(length[0])
        if width < 1 or len(fields) % width:
            raise ValueError("field names")
        rows = fields.astype(np.uint8).tobytes()
        keys = [rows[i : i + width].split(b"\0")[0].decode("latin1") for i in range(0, len(rows), width)]
        items = [{k: child() for k in keys} for _ in range(count)]
        return name, items[0] if count == 1 else items
    if kind == _CHAR:
        return name, "".join(map(chr, _values(data, at, order)[0].tolist()))
    if kind in _NUMERIC:
        return name, _values(data, at, order)[0].astype(np.float64).reshape(shape, order="F")
    raise ValueError(f"array class {kind}")
