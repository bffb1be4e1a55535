"""`vp download`: data sets from their owners, terms first, whole files only.

A file appears under its name when it is complete: it has the announced size, the published checksum where there is one, and reads to its
end as what its name says.  `checksums.txt` in the folder (the format of sha256sum) remembers what was fetched, and unpacked, first; a later
run keeps a file that still agrees and refuses one that differs.  Unpacking never overwrites a file with another one.
"""

import contextlib
import filecmp
import hashlib
import json
import lzma
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote, urlsplit

from vp.data.sources import COCO_MD5, SOURCES, File
from vp.errors import InputError

TRIES = 4  # per file
ARCHIVES = (".zip", ".tar")
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)  # what a damaged archive raises


def main(name, to, yes=False, base=None, sequences=None):
    """Show the terms, have them accepted, fetch what is missing into folder `to`; returns the exit code.

    base: another address than the owners' (a mirror, a test);  sequences: which parts (panoptic: sequences, coco: train2017, val2017).
    InputError: unknown name or sequence, terms not accepted, a file that the server does not have or that differs from its checksum.
    ConnectionError: the transfer broke off again and again.
    """
    if name not in SOURCES:
        raise InputError(f"unknown data set {name!r}", hint=f"one of {', '.join(SOURCES)}")
    source, to = SOURCES[name], Path(to)
    files = _files(name, source, sequences)
    if to.exists() and not to.is_dir():
        raise InputError("is not a folder", to)
    print(f"{source.title}\nTerms, in short: {source.terms}\nFull text: {source.full_text}")
    if files:
        _accept(yes)
        fetched = fetch(files, to, base or source.base)
        print(f"{name}: {len(files)} files in {to}, {fetched} of them new; checksums in {to / 'checksums.txt'}")
    if source.by_hand:
        print(source.by_hand.replace("{to}", str(to)))
    print(f"then: vp check-data {'bvh' if name in ('bandai', 'cmu') else name} --root {to}")
    return 0


def fetch(files, to, base):
    """Fetch and unpack the files that folder `to` does not have yet; returns how many were fetched."""
    from tqdm import tqdm

    fetched = 0
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, disable=None, dynamic_ncols=True) as bar:
        for number, file in enumerate(files, 1):
            bar.set_description(f"{number}/{len(files)} {Path(file.place).name}", refresh=False)
            place, sha, new = _one(file, to, base.rstrip("/"), bar)
            fetched += new
            name, (sums, unpacked) = place.relative_to(to).as_posix(), _known(to)
            if place.suffix in ARCHIVES and unpacked.get(name) != sha:
                _unpack(place, {place, to / "checksums.txt", *(to / x for x in sums)})
                _remember(to, f"# unpacked {sha}  {name}")
            if name not in sums:  # only now: an archive that cannot be unpacked is not what we want to see again
                _remember(to, f"{sha}  {name}")
    return fetched


def _files(name, source, sequences):
    if sequences and not source.parts:
        raise InputError(f"{name} has no sequences to choose from", "--sequences")
    out = []
    for part in sequences or source.parts or ("",):
        if part and not re.fullmatch(source.part_pattern, part):
            raise InputError(f"{part!r} is not a sequence of {name}", "--sequences", f"for example {source.parts[0]}")
        for f in source.files:
            fill = {"part": part, "md5": COCO_MD5.get(part, "")}
            out.append(File(*(None if x is None else x.format(**fill) for x in (f.address, f.place, f.checksum, f.otherwise))))
    return list(dict.fromkeys(out))


def _accept(yes):
    if yes:
        return
    try:
        answer = input("Do you accept these terms? Type yes to go on: ")
    except (EOFError, OSError):
        answer = ""
    if answer.strip().lower() != "yes":
        raise InputError("the terms were not accepted; nothing was fetched", hint="read them and answer yes, or give --yes")


# ---- one file ----------------------------------------------------------------------------------------------------------------------------


def _one(file, to, base, bar):
    """The file's place, its sha256, and whether it had to be fetched."""
    choices = [(f"{base}/{quote(file.address)}", to / file.place)]
    if file.otherwise:
        choices.append((f"{base}/{quote(file.otherwise)}", (to / file.place).with_name(Path(file.otherwise).name)))
    known = {place: _known(to)[0].get(place.relative_to(to).as_posix()) for _, place in choices}
    for url, place in choices:
        if sha := _is_here(place, known[place], url, file.checksum):
            return place, sha, False
    for url, place in choices:
        with contextlib.suppress(FileNotFoundError):
            _transfer(url, place, file.checksum or known[place], bar)
            return place, _sha256(place), True
    raise InputError("the server has no such file", choices[0][0], "check the name; owners do move or withdraw files")


def _is_here(place, known, url, checksum):
    """The sha256 if the folder has this file, whole: as remembered, else by the published checksum, else by the size announced; or ""."""
    import pooch

    if not place.exists():
        return ""
    sha = _sha256(place)
    if known:
        if known != f"sha256:{sha}":
            raise InputError("differs from what was fetched first (checksums.txt)", place, "delete the file to fetch it again")
        return sha
    if checksum:
        return sha if pooch.hashes.hash_matches(str(place), checksum) else ""
    return sha if _size(url) in (None, place.stat().st_size) and not _wrong(place) else ""


def _transfer(url, place, checksum, bar):
    """Bring one file whole, or leave nothing, no empty folder either; FileNotFoundError where the server does not have it."""
    import pooch
    import requests

    def downloader(url, output, _):
        bar.reset()
        with requests.get(url, stream=True, timeout=30, headers={"Accept-Encoding": "identity"}) as answer:
            if answer.status_code in (403, 404, 410):
                raise FileNotFoundError(url)
            answer.raise_for_status()
            bar.total = size = _announced(answer)
            with open(output, "wb") as f:
                for chunk in answer.iter_content(1 << 16):
                    f.write(chunk)
                    bar.update(len(chunk))
        got = os.path.getsize(output)
        if size is not None and got != size:
            raise requests.ConnectionError(f"{got} of {size} bytes came")
        if wrong := _wrong(output, place.suffix):
            raise requests.ConnectionError(wrong)

    made = [p for p in place.parents if not p.exists()]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)  # not whole, says _is_here
    pooch.get_logger().setLevel("ERROR")
    names = {"registry": {place.name: checksum}, "urls": {place.name: url}}
    try:
        pooch.create(place.parent, base_url="", **names, retry_if_failed=TRIES - 1).fetch(place.name, downloader=downloader)
    except requests.RequestException as e:
        raise ConnectionError(f"{url}: no whole file in {TRIES} tries: {_why(e, url)}") from None
    except ValueError as e:
        if checksum is None:
            raise ConnectionError(f"{url}: no whole file in {TRIES} tries: {' '.join(str(e).split())[:150]}") from None
        published = checksum.startswith("md5")
        hint = f"published: {checksum}" if published else "checksums.txt has that of the first time; delete its line to accept the new file"
        raise InputError("what the server sends has another checksum", url, hint) from None
    finally:
        for folder in made:  # innermost first; those with something in them stay
            with contextlib.suppress(OSError):
                folder.rmdir()


def _announced(answer):
    """The size in bytes that the server announces, None if it does not."""
    import requests

    size = answer.headers.get("Content-Length")
    if size is not None and not re.fullmatch(r"\s*[0-9]{1,18}\s*", size):
        raise requests.ConnectionError(f"the server announces {size[:40]!r} bytes")
    return int(size or 0) or None


def _why(e, url):
    """A failed transfer in plain words."""
    import requests

    if isinstance(e, requests.HTTPError):
        return f"the server answers {e.response.status_code} {e.response.reason}; try again later"
    if e.args and isinstance(e.args[0], str):  # our own words
        return f"{e}; try again later"
    if isinstance(e, requests.exceptions.ChunkedEncodingError):
        return "the transfer broke off; try again later"
    return f"the server {urlsplit(url).hostname} was not reached; check the connection and the name, or try again later"


def _wrong(path, suffix=None):
    """Why the file is not, to its end, what its name says, or ""; an error page or half an archive are the usual cases."""
    suffix = suffix or Path(path).suffix
    try:
        if suffix == ".json":
            json.loads(Path(path).read_bytes())
        elif suffix == ".zip":
            with zipfile.ZipFile(path) as z:
                if damaged := z.testzip():
                    return f"a damaged zip archive ({damaged})"
        elif suffix == ".tar":
            with tarfile.open(path) as t:
                for _ in t:
                    pass
                t.fileobj.seek(t.offset)
                if t.fileobj.read(512) != bytes(512):  # the mark at the end; tarfile takes its absence for the end
                    return "half a tar archive"
                while t.fileobj.read(1 << 20):  # a compressed one has a checksum there
                    pass
    except (*_BROKEN, ValueError, OSError):
        return "not JSON" if suffix == ".json" else f"not a whole {suffix[1:]} archive"
    return ""


def _size(url):
    import requests

    try:
        answer = requests.head(url, timeout=30, allow_redirects=True, headers={"Accept-Encoding": "identity"})
        return _announced(answer) if answer.ok else None
    except requests.RequestException:
        return None  # the server does not say


def _sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _unpack(archive, kept=()):
    """Unpack beside the archive; a file appears when it is whole, and nothing leaves the folder.

    InputError, and nothing is unpacked, if a file would replace one of `kept` (paths) or another one that differs.
    """
    for leftover in archive.parent.glob(".unpack.*"):  # of a killed run
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=".unpack.", dir=archive.parent))
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as z:
                z.extractall(work)
        else:
            with tarfile.open(archive) as t:
                t.extractall(work, filter="data")
        moves = [(f, archive.parent / f.relative_to(work)) for f in sorted(work.rglob("*")) if f.is_symlink() or not f.is_dir()]
        for file, place in moves:
            if place in kept or (os.path.lexists(place) and not (place.is_file() and filecmp.cmp(file, place, shallow=False))):
                raise InputError(f"would overwrite {place}, which differs", archive, "nothing was unpacked; move that file away or keep it")
        for file, place in moves:
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)
    except _BROKEN as e:
        raise InputError(f"cannot be unpacked ({e})", archive, "delete it to fetch it again") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


# ---- what was fetched --------------------------------------------------------------------------------------------------------------------


def _known(to):
    """checksums.txt: {place: "sha256:..."} and {place: sha256} of the archives when they were unpacked; a later line wins."""
    sums, unpacked = {}, {}
    for line in (to / "checksums.txt").read_text().splitlines() if (to / "checksums.txt").exists() else []:
        if m := re.fullmatch(r"# unpacked ([0-9a-f]{64})  (.+)", line):
            unpacked[m[2]] = m[1]
        elif m := re.fullmatch(r"([0-9a-f]{64})  (.+)", line):
            sums[m[2]] = f"sha256:{m[1]}"
    return sums, unpacked


def _remember(to, line):
    """Add a line to checksums.txt, in place of an earlier one of its kind on the same file."""
    file, (kind, name) = to / "checksums.txt", (line[:1] == "#", line.split("  ", 1)[-1])
    old = file.read_text().splitlines() if file.exists() else []
    kept = [x for x in old if (x[:1] == "#", x.split("  ", 1)[-1]) != (kind, name)]
    temporary = file.with_name(".checksums.txt.tmp")
    temporary.write_text("".join(f"{x}\n" for x in [*kept, line]))
    os.replace(temporary, file)
