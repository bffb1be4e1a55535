"""`vp download`: data sets from their owners, terms first, whole files only.

A file appears under its name when it is complete: it has the announced size, the published checksum where there is one, and opens as what
its name says.  `checksums.txt` in the folder (the format of sha256sum) remembers what was fetched first; a later run keeps a file that
still agrees and refuses one that differs.  The addresses are those on the owners' own pages and in their scripts.
"""

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from vp.errors import InputError

TRIES = 4  # per file


@dataclass(frozen=True)
class File:
    """One file of a data set; "{part}" stands for the sequence.  address: below the base;  place: below the folder."""

    address: str
    place: str
    checksum: str | None = None  # "md5:..." or "sha256:..."; None: the owner publishes none
    otherwise: str | None = None  # another address to try if the server does not have this one; goes into the same folder


@dataclass(frozen=True)
class Source:
    """A data set: its terms in our words, where the full text is, and either files to fetch or what to do by hand."""

    title: str
    terms: str
    full_text: str
    base: str = ""
    files: tuple = ()  # archives are unpacked where they lie
    parts: tuple = ()  # default sequences
    part_pattern: str = ""
    by_hand: str = ""


_PANOPTIC_PARTS = (  # the paper's four activities (§3.1), from the owners' list of sequences
    "160224_haggling1", "160226_haggling1", "160422_haggling1", "160224_mafia1", "160224_mafia2", "160226_mafia1", "160226_mafia2",
    "160422_mafia2", "160224_ultimatum1", "160224_ultimatum2", "160226_ultimatum1", "160422_ultimatum1", "160906_pizza1",
)  # fmt: skip

_COCO_MD5 = {"train2017": "cced6f7f71b7629ddf16f17bbcfab6b2", "val2017": "442b8da7639aecaf257c1dceb8ba8c80"}

SOURCES = {
    "panoptic": Source(
        "CMU Panoptic Studio",
        "Free for non-commercial use and research only. Whoever uses it cites one of the owners' papers (such as Joo et al., ICCV 2015).",
        "https://github.com/CMU-Perceptual-Computing-Lab/panoptic-toolbox (License) and http://domedb.perception.cs.cmu.edu",
        "http://domedb.perception.cs.cmu.edu/webdata/dataset",
        (
            File("{part}/calibration_{part}.json", "{part}/calibration_{part}.json"),
            File("{part}/hdPose3d_stage1_coco19.tar", "{part}/hdPose3d_stage1_coco19.tar", otherwise="{part}/hdPose3d_stage1.tar"),
        ),
        _PANOPTIC_PARTS,
        r"\d{6}_[A-Za-z0-9_]+",
        "Images, if you need them: the owners give videos, one per camera and gigabytes each. For sequence SEQ and camera 16:\n"
        "  http://domedb.perception.cs.cmu.edu/webdata/dataset/SEQ/videos/hd_shared_crf20/hd_00_16.mp4\n"
        "  mkdir -p {to}/SEQ/hdImgs/00_16\n"
        "  ffmpeg -i hd_00_16.mp4 -q:v 1 -start_number 0 {to}/SEQ/hdImgs/00_16/00_16_%08d.jpg",
    ),
    "coco": Source(
        "COCO 2017",
        "Annotations: Creative Commons Attribution 4.0. Images: they belong to their Flickr authors and stay under Flickr's terms and the\n"
        "licence named in each image's record; you answer for your use of them.",
        "https://cocodataset.org/#termsofuse",
        "http://images.cocodataset.org",
        (
            File("annotations/annotations_trainval2017.zip", "annotations_trainval2017.zip", "md5:f4bbac642086de4f52a3fdda2de5fa2c"),
            File("zips/{part}.zip", "{part}.zip", "md5:{md5}"),
        ),
        ("val2017",),
        "train2017|val2017",
        "The training images (19 GB) come with --sequences train2017 val2017.",
    ),
    "mupots": Source(
        "MuPoTS-3D",
        "For research. Whoever uses it cites Mehta et al., 3DV 2018. What the owners write on their page and in the archive decides.",
        "http://gvv.mpi-inf.mpg.de/projects/SingleShotMultiPerson/",
        "http://gvv.mpi-inf.mpg.de/projects/SingleShotMultiPerson",
        (File("MultiPersonTestSet.zip", "MultiPersonTestSet.zip"),),
        by_hand="Not in the archive (about 6 GB): camera extrinsics. Put a cameras.json with the 20 sequences' R and t into {to}.\n"
        'Optional: MuPoTS-3D.json of https://github.com/mks0601/3DMPPE_ROOTNET_RELEASE ("MuPoTS parsed data"), into {to}.',
    ),
    "muco": Source(
        "MuCo-3DHP, composited by the authors of RootNet",
        "For research. It is made from MPI-INF-3DHP, whose licence applies as well. Cite Mehta et al., 3DV 2018 and 3DV 2017, and Moon\n"
        "et al., ICCV 2019. What the owners write on their pages decides.",
        "http://gvv.mpi-inf.mpg.de/projects/SingleShotMultiPerson/ and http://gvv.mpi-inf.mpg.de/3dhp-dataset/",
        by_hand="To fetch by hand:\n"
        "  1. read and accept the licence of MPI-INF-3DHP on the page above;\n"
        '  2. on https://github.com/mks0601/3DMPPE_ROOTNET_RELEASE follow "MuCo parsed and composited data": annotations\n'
        "     MuCo-3DHP.json and two archives of images, augmented and unaugmented (large; poses alone work without them);\n"
        "  3. put them here:\n"
        "     {to}/MuCo-3DHP.json\n"
        "     {to}/augmented_set/  {to}/unaugmented_set/  (the images)",
    ),
    "bandai": Source(
        "Bandai-Namco-Research-Motiondataset 1 and 2 (BVH)",
        "Creative Commons Attribution-NonCommercial 4.0: name the source, no commercial use. Copyright Bandai Namco Research Inc.; cite\n"
        "Kobayashi et al., 2023 (arXiv 2306.08861).",
        "https://github.com/BandaiNamcoResearchInc/Bandai-Namco-Research-Motiondataset (LICENSE beside each data set, which decides)",
        "https://github.com/BandaiNamcoResearchInc/Bandai-Namco-Research-Motiondataset",
        (File("archive/refs/heads/master.zip", "bandai-master.zip"),),
    ),
    "cmu": Source(
        "CMU Graphics Lab Motion Capture Database (BVH)",
        "Free for all uses, also within products; the data themselves are not to be resold, converted or not. In a publication, say that\n"
        "they are from mocap.cs.cmu.edu and were funded by NSF EIA-0196217.",
        "http://mocap.cs.cmu.edu (start page and FAQs)",
        by_hand="To fetch by hand: the owners give ASF/AMC files and ask not to be crawled. BVH conversions by B. Hahne (cgspeed) are\n"
        "linked from the start page of http://mocap.cs.cmu.edu. Unpack what you want and put the *.bvh files into {to};\n"
        "one length unit of these files is 1/0.45 inch = 56.44 mm, and the first frame of each is a T-pose.",
    ),
}  # fmt: skip


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

    to.mkdir(parents=True, exist_ok=True)
    fetched = 0
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, disable=None, dynamic_ncols=True) as bar:
        for number, file in enumerate(files, 1):
            bar.set_description(f"{number}/{len(files)} {Path(file.place).name}", refresh=False)
            place, new = _one(file, to, base.rstrip("/"), bar)
            fetched += new
            if place.suffix in (".zip", ".tar") and not _known(to)[1].get(_relative(place, to)):
                _unpack(place)
                _remember(to, f"# unpacked {_relative(place, to)}")
    return fetched


def _files(name, source, sequences):
    if sequences and not source.parts:
        raise InputError(f"{name} has no sequences to choose from", "--sequences")
    out = []
    for part in sequences or source.parts or ("",):
        if part and not re.fullmatch(source.part_pattern, part):
            raise InputError(f"{part!r} is not a sequence of {name}", "--sequences", f"for example {source.parts[0]}")
        for f in source.files:
            fill = {"part": part, "md5": _COCO_MD5.get(part, "")}
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
    """The file's place, fetched if need be, and whether it was."""
    choices = [(f"{base}/{quote(file.address)}", to / file.place)]
    if file.otherwise:
        choices.append((f"{base}/{quote(file.otherwise)}", (to / file.place).with_name(Path(file.otherwise).name)))
    for url, place in choices:
        if _is_here(place, to, url, file.checksum):
            return place, 0
    for url, place in choices:
        try:
            _transfer(url, place, file.checksum or _known(to)[0].get(_relative(place, to)), bar)
        except FileNotFoundError:
            continue
        _remember(to, f"{_sha256(place)}  {_relative(place, to)}")
        return place, 1
    raise InputError("the server has no such file", choices[0][0], "check the name; owners do move or withdraw files")


def _is_here(place, to, url, checksum):
    """Whether the folder has this file, whole: as remembered, else by the published checksum, else by the size the server announces."""
    import pooch

    if not place.exists():
        return False
    known, sha = _known(to)[0].get(_relative(place, to)), _sha256(place)
    if known:
        if known != f"sha256:{sha}":
            raise InputError("differs from what was fetched first (checksums.txt)", place, "delete the file to fetch it again")
        return True
    if checksum:
        whole = pooch.hashes.hash_matches(str(place), checksum)
    else:
        whole = _size(url) in (None, place.stat().st_size) and not _wrong(place)
    if whole:
        _remember(to, f"{sha}  {_relative(place, to)}")
    return whole


def _transfer(url, place, checksum, bar):
    """Bring one file whole, or leave nothing; FileNotFoundError where the server does not have it."""
    import pooch
    import requests

    def downloader(url, output, _):
        bar.reset()
        with requests.get(url, stream=True, timeout=30, headers={"Accept-Encoding": "identity"}) as answer:
            if answer.status_code in (403, 404, 410):
                raise FileNotFoundError(url)
            answer.raise_for_status()
            bar.total = size = int(answer.headers.get("Content-Length", 0)) or None
            with open(output, "wb") as f:
                for chunk in answer.iter_content(1 << 16):
                    f.write(chunk)
                    bar.update(len(chunk))
        got = os.path.getsize(output)
        if size is not None and got != size:
            raise requests.ConnectionError(f"{got} of {size} bytes came")
        if wrong := _wrong(output, place.suffix):
            raise requests.ConnectionError(wrong)

    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)  # not whole, says _is_here
    pooch.get_logger().setLevel("ERROR")
    names = {"registry": {place.name: checksum}, "urls": {place.name: url}}
    try:
        pooch.create(place.parent, base_url="", **names, retry_if_failed=TRIES - 1).fetch(place.name, downloader=downloader)
    except requests.RequestException as e:
        why = f"{e.__class__.__name__}: {' '.join(str(e).split())[:150]}"
        raise ConnectionError(f"{url}: no whole file in {TRIES} tries ({why}); try again later") from None
    except ValueError:
        published = checksum.startswith("md5")
        hint = f"published: {checksum}" if published else "checksums.txt has that of the first time; delete its line to accept the new file"
        raise InputError("what the server sends has another checksum", url, hint) from None


def _wrong(path, suffix=None):
    """Why the file is not what its name says, or ""; an error page in place of an archive is the usual case."""
    suffix = suffix or Path(path).suffix
    if suffix == ".json":
        try:
            json.loads(Path(path).read_bytes())
        except ValueError:
            return "not JSON"
    if (suffix == ".zip" and not zipfile.is_zipfile(path)) or (suffix == ".tar" and not tarfile.is_tarfile(path)):
        return f"not a {suffix[1:]} archive"
    return ""


def _size(url):
    import requests

    try:
        answer = requests.head(url, timeout=30, allow_redirects=True, headers={"Accept-Encoding": "identity"})
        return int(answer.headers["Content-Length"]) if answer.ok else None
    except (requests.RequestException, KeyError, ValueError):
        return None  # the server does not say


def _sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _unpack(archive):
    """Unpack beside the archive; a file appears when it is whole, and nothing leaves the folder."""
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
        for file in sorted(p for p in work.rglob("*") if p.is_file()):
            place = archive.parent / file.relative_to(work)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as e:
        raise InputError(f"cannot be unpacked ({e})", archive, "delete it to fetch it again") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


# ---- what was fetched --------------------------------------------------------------------------------------------------------------------


def _known(to):
    """checksums.txt: {place: "sha256:..."} and {place: True} of the unpacked archives; a later line wins."""
    sums, unpacked = {}, {}
    for line in (to / "checksums.txt").read_text().splitlines() if (to / "checksums.txt").exists() else []:
        if line.startswith("# unpacked "):
            unpacked[line.removeprefix("# unpacked ")] = True
        elif m := re.fullmatch(r"([0-9a-f]{64})  (.+)", line):
            sums[m[2]] = f"sha256:{m[1]}"
    return sums, unpacked


def _remember(to, line):
    file, name = to / "checksums.txt", line.split("  ", 1)[-1]
    old = file.read_text().splitlines() if file.exists() else []
    kept = [x for x in old if x != line and (x.startswith("#") or x.split("  ", 1)[-1] != name)]
    temporary = file.with_name(".checksums.txt.tmp")
    temporary.write_text("".join(f"{x}\n" for x in [*kept, line]))
    os.replace(temporary, file)


def _relative(place, to):
    return place.relative_to(to).as_posix()
