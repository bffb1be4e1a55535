"""Files that are written whole or not at all."""

import os
import secrets
from pathlib import Path


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
    finally:
        temporary.unlink(missing_ok=True)
