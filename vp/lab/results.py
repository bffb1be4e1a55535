"""Tidy rows: what a run measured, one JSON object per line, written atomically and only once per measurement.

A row is one number with all that is needed to trust or to repeat it (`COLUMNS`).  Everything shown in tables, figures and claims is
rebuilt from rows alone.  A missing number is NaN (null in the file); an unknown column is an error.
"""

import contextlib
import csv
import dataclasses
import fcntl
import functools
import hashlib
import json
import math
import os
import reprlib
import resource
import subprocess
import sys
import time
from pathlib import Path

from vp.atomic import write_atomic
from vp.errors import InputError

ROOT = Path(__file__).resolve().parents[2]  # of the repository

COLUMNS = (
    "experiment", "notebook", "method", "train", "test", "metric", "unit",  # what was measured, how, trained and tested on what
    "value", "n", "lo", "hi",  # the number, how many people (or points) it averages, its 95 % interval
    "seed", "profile", "config",  # of the run; config: a hash of all else that could change the number, and a grid's values in words
    "poses", "cameras", "images",  # where each came from: a data set's name, "twin", "computed"
    "steps", "samples_seen",  # of training
    "per_scene", "clusters",  # optional: values behind the mean, and the scene (cluster) of each, for paired bootstrap
    "note", "device", "seconds", "git", "time",
)  # fmt: skip
BUDGETS = {"-half": 0.5, "-double": 2.0}  # ends of a profile's name: of a run in which every training makes so many times its steps
PROVENANCE_COLUMNS = ("seconds", "git", "time", "device")  # may differ between two runs with the same results
KEY = ("experiment", "notebook", "profile", "seed", "config")  # one run's share of a file
_MEASURED = ("value", "n", "lo", "hi", "per_scene", "clusters", "note", *PROVENANCE_COLUMNS)
IDENTITY = tuple(c for c in COLUMNS if c not in _MEASURED)  # two rows with the same identity are the same measurement
_NUMBERS = ("value", "n", "lo", "hi", "steps", "samples_seen", "seconds")
_TEXTS = tuple(c for c in COLUMNS if c not in (*_NUMBERS, "seed", "per_scene", "clusters", "note"))

_written = set()  # (process, file, key): what this process has already replaced


def name_and_budget(profile):
    """("quick", 1.0) of the profile "quick", ("quick", 0.5) of "quick-half": its name, and how many times its steps trainings make."""
    name = profile or ""
    return next(((name.removesuffix(end), times) for end, times in BUDGETS.items() if name.endswith(end)), (name, 1.0))


class Row(dict):
    """A row read from a file, which knows where it stands (where: "file:line")."""

    where = None


def row(experiment, metric, value, unit="", interval=None, sources=None, **columns):
    """A row with provenance (git, device, time) filled in.

    interval: (lo, hi) or None;  sources: {"poses": ..., "cameras": ..., "images": ...} or None;  columns: any other of COLUMNS.
    """
    lo, hi = interval if interval is not None else (None, None)
    made_by = {k: v for k, v in provenance().items() if k in COLUMNS}
    base = {"experiment": experiment, "metric": metric, "value": value, "unit": unit, "lo": lo, "hi": hi}
    return _checked({**made_by, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **base, **(sources or {}), **columns}, "row")


def target(name):
    """Path of the file for the rows of notebook `name`: $VP_ROWS if set, else runs/interactive/NAME.jsonl of the repository."""
    return Path(os.environ.get("VP_ROWS") or ROOT / "runs" / "interactive" / f"{name}.jsonl")


def append(path, rows):
    """Add rows to a JSON-lines file, all of them or none, whatever kills the process; returns the path.

    The first rows that a process writes for a KEY replace all that the file had for it (an earlier run); further ones are added, and
    replace those of the same IDENTITY (a cell executed again).  Safe with several processes on one file.
    """
    path = Path(path)
    fresh = [_checked(r, "row") for r in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = {(os.getpid(), str(path.resolve()), _part(r, KEY)) for r in fresh}
    with locked(path):
        replaced = {key for _, _, key in mine - _written}
        again = {_part(r, IDENTITY) for r in fresh}
        old = [r for r in _read(path) if _part(r, KEY) not in replaced and _part(r, IDENTITY) not in again] if path.exists() else []
        lines = {_part(r, IDENTITY): _line(r) for r in [*old, *fresh]}  # the last of equals
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):  # of a killed writer: we hold the lock
            leftover.unlink(missing_ok=True)
        write_atomic(path, "".join(lines.values()))
    _written.update(mine)
    return path


def load(*paths):
    """All rows of the given files and folders (every *.jsonl below), as dicts with all COLUMNS; of two with the same IDENTITY the newer.

    InputError for a path that does not exist and, as file:line, for a broken row.
    """
    newest = {}
    for path in _flat(paths):
        path = Path(path)
        if not path.exists():
            raise InputError("no such file or folder", path, "--rows takes files or folders of *.jsonl")
        for file in files(path) if path.is_dir() else [path]:
            for r in _read(file):
                i = _part(r, IDENTITY)
                if i not in newest or _age(r) >= _age(newest[i]):
                    newest[i] = r
    return list(newest.values())


def files(folder):
    """The files of rows below a folder, sorted: not those in its hidden folders, where unfinished work is."""
    found = (p for p in sorted(Path(folder).rglob("*.jsonl")) if p.is_file())
    return [p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)]


def ordered(rows):
    """The rows in an order that does not depend on the files they came from."""
    return sorted(rows, key=lambda r: [str(x) for x in _part(r, IDENTITY)])


def frame(rows):
    """The rows as a pandas DataFrame."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(COLUMNS))


def paper(table=None):
    """The paper's numbers, results/paper.csv: dicts table, row, column, metric, unit, value (float, NaN where not printed), note."""
    file = ROOT / "results" / "paper.csv"
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as f:
        rows = [{**r, "value": float(r["value"] or "nan")} for r in csv.DictReader(f)]
    return [r for r in rows if table in (None, r["table"])]


def config_hash(config):
    """Hash (10 hex digits) of a configuration: a dataclass or anything JSON can hold; the order of keys does not matter."""
    if dataclasses.is_dataclass(config):
        config = dataclasses.asdict(config)
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:10]


@functools.cache
def provenance():
    """Who computes: {"git": short hash, "+" if the tree is dirty, or None, "device": name, "versions": {...}}."""
    import numpy
    import torch

    import vp

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    python = ".".join(map(str, sys.version_info[:3]))
    versions = {"python": python, "numpy": numpy.__version__, "torch": torch.__version__, "vp": vp.__version__}
    return {"git": _git(), "device": device, "versions": versions}


def peak_mb(whose):
    """Peak memory in MiB of this process (resource.RUSAGE_SELF) or of the largest child it ever had (RUSAGE_CHILDREN)."""
    return round(resource.getrusage(whose).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2))


def _git():
    def ask(*command):
        return subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True, timeout=20, check=True).stdout.strip()

    try:
        if Path(ask("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return None
        return ask("rev-parse", "--short=10", "HEAD") + ("+" if ask("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


# ---- files -----------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(path):
    """Alone with a file, among processes: the second waits, and a dead one holds nothing."""
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel when the process dies
        yield


def _read(file):
    rows = []
    for number, line in enumerate(Path(file).read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            r = json.loads(line)
            if b"\\ud" in line.lower():
                json.dumps(r, ensure_ascii=False).encode()  # half a character cannot be written again
        except (ValueError, RecursionError) as e:
            raise InputError(f"not a row of results ({str(e)[:150]})", where, "each line is one JSON object") from None
        if not isinstance(r, dict):
            raise InputError("not a row of results", where, "each line is one JSON object")
        rows.append(Row(_checked(r, where)))
        rows[-1].where = where
    return rows


def _checked(r, where):
    """The row with every column: numbers as numbers (NaN where null), None where absent; InputError for what does not belong."""
    unknown = sorted(set(r) - set(COLUMNS))
    if unknown:
        raise InputError(f"unknown column {', '.join(map(repr, unknown))}", where, f"known: {', '.join(COLUMNS)}")
    out = {c: r.get(c) for c in COLUMNS}
    if not out["experiment"] or not out["metric"] or "value" not in r:
        raise InputError("a row needs experiment, metric and value", where)
    for c in _TEXTS:
        if out[c] is not None and not isinstance(out[c], str):
            raise InputError(f"{c!r} must be text, not {reprlib.repr(out[c])}", where)
    for c in _NUMBERS:
        out[c] = _number(out[c], c, where)
    out["value"] = math.nan if out["value"] is None else out["value"]
    if (out["lo"] is None) != (out["hi"] is None):
        raise InputError("an interval needs both 'lo' and 'hi'", where)
    seed = _number(out["seed"], "seed", where)
    if seed is not None and (seed != seed // 1 or abs(seed) >= 2**63):
        raise InputError(f"'seed' must be a whole number of 64 bits or null, not {seed!r}", where)
    out["seed"] = None if seed is None else int(seed)
    for c in ("per_scene", "clusters"):
        if out[c] is not None and (isinstance(out[c], (str, dict)) or not hasattr(out[c], "__iter__")):
            raise InputError(f"{c!r} must be a list", where)
    if out["per_scene"] is not None:
        out["per_scene"] = [math.nan if x is None else float(f"{_number(x, 'per_scene', where):.7g}") for x in out["per_scene"]]
    if out["clusters"] is not None:
        out["clusters"] = [str(x) for x in out["clusters"]]
        if len(out["clusters"]) != len(out["per_scene"] or ()):
            raise InputError("'clusters' must name the scene of each of 'per_scene'", where)
    return out


def _number(x, column, where):
    if x is None:
        return None
    try:
        if isinstance(x, (str, bool)):
            raise TypeError
        x = x.item() if hasattr(x, "item") else x
        if math.isinf(x):
            raise TypeError
        return x if isinstance(x, int) else float(x)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise InputError(f"{column!r} must be a finite number, NaN or null, not {reprlib.repr(x)}", where) from None


def _line(r):
    def strict(x):
        return None if isinstance(x, float) and math.isnan(x) else [strict(y) for y in x] if isinstance(x, list) else x

    kept = {c: strict(v) for c, v in r.items() if v is not None}
    return json.dumps(kept, ensure_ascii=False, allow_nan=False) + "\n"


def _age(r):
    return r["time"] or "", _line(r)  # of the same second: always the same one of two


def _part(r, columns):
    return tuple(r[c] for c in columns)


def _flat(paths):
    for p in paths:
        if isinstance(p, (list, tuple)):
            yield from _flat(p)
        else:
            yield p
