"""Reading files that others wrote: every defect becomes one clear line (`InputError`), and nothing in a file is ever executed."""

import io
import json
import pickle
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from vp.camera import Camera
from vp.errors import InputError

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar")
_MAGIC = {b"PK": "zip", b"\x1f\x8b": "gzip", b"7z": "7z", b"Ra": "rar"}


# ---- folders and files -----------------------------------------------------------------------------------------------------------


def folder(path, what="data set"):
    """The folder `path` as a Path; InputError if it is missing, empty, a file, or an archive that was not unpacked."""
    path = Path(path)
    if not path.exists():
        raise InputError("no such folder", path, f"give the folder that holds the {what}")
    if path.is_dir():
        if not any(path.iterdir()):
            raise InputError("the folder is empty", path, f"put the {what} there")
        return path
    with open(path, "rb") as f:
        kind = _MAGIC.get(f.read(2), "tar" if path.suffix in ARCHIVES else None)
    if kind:
        raise InputError(f"a {kind} archive was given as a folder", path, "unpack it and give the folder that comes out")
    raise InputError("a file was given where a folder is needed", path)


def nothing_found(path, wanted):
    """The InputError for a folder without what was looked for; names archives that still wait to be unpacked."""
    packed = sorted(p.name for p in Path(path).iterdir() if p.suffix in ARCHIVES)
    return InputError(f"found no {wanted}", path, f"unpack {', '.join(packed[:3])} first" if packed else "is this the right folder?")


def read_bytes(path):
    """Contents of a file; InputError if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise InputError(f"cannot be read ({e.strerror})", path) from None


def read_json(path):
    """A JSON file as Python objects; InputError if it is missing, truncated or not JSON."""
    data = read_bytes(path)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as e:  # a decoding error is a ValueError as well
        raise InputError(f"not valid JSON ({e})", path, "damaged or truncated: fetch it again") from None


def image_size(path):
    """(width, height) of a picture file; InputError if it is none."""
    import cv2

    image = cv2.imread(str(path))
    if image is None:
        raise InputError("not a readable picture", path)
    return image.shape[1], image.shape[0]


# ---- values ------------------------------------------------------------------------------------------------------------------------


def get(record, key, where, kind=None):
    """record[key], which must be of type `kind`; InputError names the key."""
    if not isinstance(record, dict) or key not in record:
        raise InputError(f'"{key}" is missing', where)
    value = record[key]
    if kind is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        raise InputError(f'"{key}" is of type {type(value).__name__}', where)
    return value


def numbers(value, shape, what, where, flat=False, kinds="iuf"):
    """Finite float64 array of `shape` (None: any length) from parsed JSON; InputError names the field, shape or NaN.

    flat: the source may nest the numbers in any way;  kinds: dtype kinds allowed (add "b" for flags).
    """
    try:
        a = np.asarray(value)
    except (ValueError, TypeError, OverflowError):  # ragged lists
        a = np.asarray("ragged")
    if flat:
        a = a.ravel()
    expected = " x ".join("n" if n is None else str(n) for n in shape)
    if a.shape == (0,) and shape[0] is None:  # an empty list: nobody
        return np.zeros([n or 0 for n in shape])
    if a.dtype.kind not in kinds:
        raise InputError(f'"{what}" does not hold numbers only ({expected} expected)', where)
    if a.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, a.shape)):
        raise InputError(f'"{what}" has shape {" x ".join(map(str, a.shape)) or "()"}, expected {expected}', where)
    a = a.astype(np.float64)
    if not np.isfinite(a).all():
        raise InputError(f'"{what}" holds NaN or infinite values', where)
    if a.size and np.abs(a).max() > 1e9:
        raise InputError(f'"{what}" holds the value {np.abs(a).max():.3g}, which cannot be right', where)
    return a


def whole(value, what, where):
    """An integer id or size; InputError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or abs(value) > 1 << 62:
        raise InputError(f'"{what}" must be a whole number', where)
    return int(value)


def make_camera(R, t, f, c, size, dist=None, where="camera"):
    """Camera out of numpy arrays in our convention (t in mm), with every field checked; InputError."""
    size = tuple(whole(int(s) if float(s).is_integer() else s, "image size", where) for s in numbers(size, (2,), "image size", where))
    f, c = numbers(f, (2,), "focal length", where), numbers(c, (2,), "principal point", where)
    if min(size) < 1 or max(size) > 100_000 or f.min() <= 1:
        raise InputError(f"focal length {f.tolist()} px with image size {size} cannot be right", where)
    camera = {"R": R, "t": t, "f": f, "c": c, "size": size}
    if dist is not None:
        dist = numbers(dist, (5,), "distCoef", where)
        camera["dist"] = dist
        if np.abs(dist).max() > 100:
            raise InputError(f"distortion coefficient {np.abs(dist).max():.3g} cannot be right", where)
    return Camera.from_dict(camera, where)


# a level camera at the origin: world X forward, Y left, Z up; used where the extrinsics are not known
LEVEL = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


def masked(points, valid):
    """Points (P, J, D) and mask (P, J) as tensors, NaN where the mask is False."""
    points, valid = torch.as_tensor(points, dtype=torch.float64), torch.as_tensor(valid, dtype=torch.bool)
    return points.masked_fill(~valid[..., None], float("nan")), valid


# ---- JSON larger than memory -------------------------------------------------------------------------------------------------------

_BLANK = re.compile(r"[ \t\r\n]*")


def stream_json(path, keys, chunk=1 << 18, limit=1 << 24):
    """Yield (key, element) for the top-level lists named `keys` of one JSON object, in file order, in bounded memory.

    Only one element is held at a time, at most `limit` characters of text; other keys are passed over.
    InputError: not JSON, truncated, a list missing or not a list.
    """
    decode = json.JSONDecoder().raw_decode
    buffer, at, done, seen = "", 0, False, set()

    def more(file):
        nonlocal buffer, at, done
        new = file.read(max(chunk, len(buffer) - at))
        buffer, at, done = buffer[at:] + new, 0, not new

    def peek(file):  # next character that is not blank, "" at the end
        nonlocal at
        while True:
            at = _BLANK.match(buffer, at).end()
            if at < len(buffer) or done:
                return buffer[at : at + 1]
            more(file)

    def take(file, allowed):
        nonlocal at
        c = peek(file)
        if not c or c not in allowed:
            raise ValueError(f"expected {' or '.join(allowed)} but found {c or 'the end of the file'!r}")
        at += 1
        return c

    def value(file):
        nonlocal at
        peek(file)
        while True:
            try:
                v, end = decode(buffer, at)
                if done or end + 3 < len(buffer) or not isinstance(v, int | float):  # a number near the end of the buffer may go on
                    at = end
                    return v
            except json.JSONDecodeError:
                if done or len(buffer) - at > limit:
                    raise
            more(file)

    try:
        with open(path, encoding="utf-8") as file:
            take(file, "{")
            going = peek(file) != "}" or not take(file, "}")
            while going:
                key = value(file)
                if not isinstance(key, str):
                    raise ValueError("a key is not a string")
                take(file, ":")
                if peek(file) == "[":
                    take(file, "[")
                    if key in keys:
                        seen.add(key)
                    while peek(file) != "]":
                        element = value(file)
                        if key in keys:
                            yield key, element
                        del element
                        if peek(file) != "]":
                            take(file, ",")
                    take(file, "]")
                elif key in keys:
                    raise ValueError(f'"{key}" is not a list')
                else:
                    value(file)
                going = take(file, ",}") == ","
            if peek(file):
                raise ValueError("text after the end of the object")
    except OSError as e:
        raise InputError(f"cannot be read ({e.strerror})", path) from None
    except (ValueError, RecursionError) as e:
        raise InputError(f"not the JSON that was expected ({str(e)[:100]})", path, "damaged or truncated: fetch it again") from None
    if set(keys) - seen:
        raise InputError(f'no list "{sorted(set(keys) - seen)[0]}"', path)


# ---- pickles that carry arrays -----------------------------------------------------------------------------------------------------


class _Dtype:
    def __init__(self, code="", *_):
        self.code, self.order = code, "|"

    def __setstate__(self, state):
        self.order = state[1]

    def numpy(self):
        if not re.fullmatch(r"[biufUS]\d{1,4}", self.code) or self.order not in ("<", ">", "|", "="):
            raise ValueError(f"array of type {self.code!r}")
        return np.dtype(self.order + self.code)


class _Array:
    def __init__(self, *_):
        self.state = None

    def __setstate__(self, state):
        self.state = state

    def numpy(self):
        _, shape, dtype, fortran, raw = self.state
        if dtype.code == "O8" and isinstance(raw, list):
            return raw
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        return np.frombuffer(raw, dtype.numpy()).reshape(shape, order="F" if fortran else "C")


def _from_buffer(raw, dtype, shape, order="C"):
    out = _Array()
    out.state = (1, shape, dtype, order == "F", bytes(raw))
    return out


def _latin1(text, encoding):
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"encoding {encoding!r}")
    return text.encode("latin1")


_PERMITTED = {
    **{(f"numpy.{c}.multiarray", "_reconstruct"): _Array for c in ("core", "_core")},
    **{(f"numpy.{c}.multiarray", "scalar"): lambda d, raw: _from_buffer(raw, d, (1,)).numpy()[0].item() for c in ("core", "_core")},
    **{(f"numpy.{c}.numeric", "_frombuffer"): _from_buffer for c in ("core", "_core")},
    **{(b, t.__name__): t for b in ("builtins", "__builtin__") for t in (list, dict, tuple, set, frozenset)},
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
    ("collections", "OrderedDict"): OrderedDict,
}


class _Global:
    """A permitted name of a pickle; calling it builds data and nothing else."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name

    def __call__(self, *args):
        return _PERMITTED[self.name](*args)


class _Reader(pickle._Unpickler):  # the Python one: its memo cannot be blown up by one forged index
    def __init__(self, data, where):
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.where = where

    def find_class(self, module, name):
        if (module, name) not in _PERMITTED:
            raise InputError(f"refused: this pickle asks for {module}.{name}", self.where, "only arrays are read; nothing was run")
        return _Global((module, name))


def _plain(x, memo):
    """Stand-ins for arrays replaced by numpy arrays, in nested lists, tuples and dicts."""
    if id(x) in memo:
        return memo[id(x)][0]
    items = x.numpy() if isinstance(x, _Array) else x
    out = [] if isinstance(items, list | tuple) else {} if isinstance(items, dict) else items
    memo[id(x)] = out, x, items  # keeps all three alive, so that ids stay unique
    if isinstance(items, dict):
        out.update((_plain(k, memo), _plain(v, memo)) for k, v in items.items())
    elif isinstance(items, list | tuple):
        out.extend(_plain(v, memo) for v in items)
    return out


def load_pickle(path):
    """A pickle of numbers, strings and numpy arrays in lists, tuples and dicts (tuples come back as lists), without running it.

    Arrays are rebuilt by us from their bytes; every other name in the pickle is refused before anything happens.  InputError.
    """
    try:
        return _plain(_Reader(read_bytes(path), path).load(), {})
    except InputError:
        raise
    except Exception as e:  # hostile bytes may fail in any way, here and nowhere else
        raise InputError(f"not a pickle of arrays ({type(e).__name__}: {str(e)[:100]})", path, "damaged?") from None
