"""Files that are written whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path

from vp.errors import InputError


def write_atomic(path, content):
    """Write text (as UTF-8) or bytes to `path`: the file is the old or the new one, never half, whatever stops the writer.

    They go under another name in the same folder first, `.NAME.<8 hex digits>.tmp`, are brought to the disk, then renamed.  A failure
    leaves no such file behind, a killed process may.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        with temporary.open("r+b") as f:
            os.fsync(f.fileno())  # or a power cut could leave the new name with nothing in it
        os.replace(temporary, path)
    except OSError as e:
        if e.errno is not None:
            e.filename, e.filename2 = str(path), None  # the name that was asked for
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_outputs(outputs, inputs=()):
    """InputError unless each file of {option: path or None} can be written: its folder is there and takes files, and no other output nor
    one of the `inputs` (paths or None) is the same file."""
    taken = {os.path.abspath(p): f"the input {p}" for p in inputs if p is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        path, folder, what = Path(path), Path(path).parent, ""
        if "\0" in str(path):
            what = "not a name of a file"
        elif len(os.fsencode(path.name)) > 255 - len("..01234567.tmp"):
            what = f"a name of {len(path.name)} characters is too long"
        elif path.is_dir():
            what = "a folder, not a file"
        elif not folder.is_dir():
            what = f"there is no folder {str(folder)[:200]}"
        elif not os.access(folder, os.W_OK):
            what = f"the folder {folder} cannot be written to"
        elif os.path.abspath(path) in taken:
            what = f"the same file as {taken[os.path.abspath(path)]}"
        if what:
            raise InputError(what, f"{option} {str(path)[:200]}")
        taken[os.path.abspath(path)] = option
