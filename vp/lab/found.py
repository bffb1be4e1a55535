"""What `vp estimate` is given: keypoints of any detector and their photos, or photos alone and a network that finds people."""

from dataclasses import replace
from pathlib import Path

import torch

from vp.data.detections import read_detections
from vp.errors import InputError
from vp.sample import Sample
from vp.skeleton import COCO_17

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
KEYPOINTS = 20_000  # people and images of one call: more would take hours and gigabytes
LARGEST = 80_000_000  # pixels of a photo: more is refused before it is decoded
DETECTORS = {"own", "torchvision"}  # who finds people in a photo; any other name is a file of a 2D network
PERSON = 0.5  # least score of a person of torchvision's detector


def photo_size(path):
    """(width, height) of a photo from its header, nothing decoded; turned as EXIF says.  InputError: none, or too large."""
    from PIL import Image

    from vp.data import photo as photos

    try:
        with photos.quiet(), Image.open(path) as picture:
            w, h = picture.size
            turned = picture.format != "TIFF" and picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # Pillow turns a TIFF by itself
    except Image.DecompressionBombError:
        raise InputError("the picture is too large", path, f"at most {LARGEST / 1e6:.0f} million pixels") from None
    except photos.UNREADABLE:
        raise InputError("not a readable picture", path) from None
    if w * h > LARGEST:
        raise InputError(f"a picture of {w} x {h}", path, f"at most {LARGEST / 1e6:.0f} million pixels")
    return (h, w) if turned else (w, h)


def find_people(source, photo=None, size=None, image=None, detector="own", fallback=None):
    """Samples with 2D joints, each with `size` and, where it is at hand, `image`.  InputError: see the module.

    source: keypoint file or folder, or a photo;  photo: a photo, or a folder of them named as the images are;  size: (w, h) px;  image:
    name or id of the one image that is wanted;  detector: see `detect`, for photos;  fallback: (w, h) px of an image of which
    nothing else says it.
    """
    source = Path(source)
    if not _exists(source):
        raise InputError("no such file", str(source)[:200], "keypoints (COCO, OpenPose or mmpose JSON) or a photo")
    if source.is_file() and source.suffix.lower() not in (".json", *PICTURES):
        raise InputError("neither keypoints nor a photo", source, f"known are .json and {' '.join(PICTURES)}")
    if source.suffix.lower() in PICTURES:
        photo_size(source)
        samples = [detect(source, detector)]
        photo = source
    elif detector != "own":
        raise InputError("keypoints need no detector", f"--detector {printable(detector)}", "leave it out, or give a photo")
    else:
        samples = read_detections(source)
    if image is not None:
        known = [s.name for s in samples]
        samples = [s for s in samples if str(image) in (s.name, s.name.rpartition("/")[2], Path(s.name).stem)]
        if not samples:
            raise InputError(f"no image {image}", source, f"there are {', '.join(n.rpartition('/')[2] for n in known[:5])}")
    if not samples:
        raise InputError("no image with people", source)
    if sum(len(s) + 1 for s in samples) > KEYPOINTS:
        what = f"{sum(map(len, samples))} people in {len(samples)} images"
        raise InputError(what, source, f"at most {KEYPOINTS} at a time: choose one image with --image, or split the file")
    return [_complete(s, photo, size, len(samples), fallback) for s in samples]


def _exists(path):
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def printable(text):
    """A name from somebody's file as one short line that can be printed, drawn and written."""
    text = "".join(c if c.isprintable() else "?" for c in str(text))
    return text if len(text) <= 100 else text[:97] + "..."


def _complete(sample, photo, size, n, fallback=None):
    """The sample with its size and photo; InputError where sizes are missing or contradict."""
    found = sample.image
    if photo is not None:
        found = _photo_of(Path(photo), sample, n)
    of_photo = None if found is None else photo_size(found)
    sizes = {"the keypoint file": sample.size, "the photo": of_photo, "--size": size}
    known = {k: tuple(v) for k, v in sizes.items() if v is not None}
    if len(set(known.values())) > 1:
        said = ", ".join(f"{k} says {w} x {h}" for k, (w, h) in known.items())
        raise InputError(f"contradictory image sizes: {said}", sample.name)
    final = next(iter(known.values()), fallback)
    if final is None:
        raise InputError("the image size is not known", sample.name, "give --size WIDTH HEIGHT, --photo FILE or --camera FILE")
    if min(final) < 1 or max(final) > 100_000:
        raise InputError(f"an image of {final[0]} x {final[1]}", sample.name)
    ids = tuple(printable(i) if isinstance(i, str) else i for i in sample.ids)
    return replace(sample, name=printable(sample.name), ids=ids, size=tuple(final), image=None if found is None else str(found))


def _photo_of(photo, sample, n):
    """The photo of a sample: the file itself, or the one of its name in the folder; None if the folder has none."""
    if not _exists(photo):
        raise InputError("no such photo", str(photo)[:200])
    if photo.is_file():
        if n > 1:
            raise InputError(f"one photo for {n} images", photo, "choose one with --image, or give a folder of photos")
        return photo
    stem = Path(sample.name.rpartition("/")[2]).stem
    stems = {stem, stem.zfill(12)}
    return next((f for f in sorted(photo.iterdir()) if f.suffix.lower() in PICTURES and f.stem in stems), None)


# ---- photos ----------------------------------------------------------------------------------------------------------------------------


def detect(photo, detector="own"):
    """A Sample of the people that a network finds in a photo.

    "own": the shipped 2D network, or the file of another one;  "torchvision": its Keypoint R-CNN, of the extra `detector`.
    InputError says what is missing.
    """
    if detector == "torchvision":
        return torchvision_people(photo)
    from vp.lab import backbone, two_d

    if detector == "own" and not backbone.SHIPPED.is_file():
        hint = "give keypoints of any detector, or --detector with torchvision or a file of vp train --net 2d"
        raise InputError("photos need the 2D network that comes with the weights, and it is missing", photo, hint)
    if detector != "own" and not (_exists(Path(detector)) and Path(detector).is_file()):
        raise InputError("no such file", f"--detector {printable(detector)}", "own, torchvision, or a file of vp train --net 2d")
    network = backbone.load(None if detector == "own" else detector).backbone
    return two_d.detect(network, _pixels(photo), name=Path(photo).name)


def torchvision_people(photo, load=None):
    """COCO-17 keypoints of torchvision's Keypoint R-CNN (He et al., ICCV 2017), a Sample; InputError if the package or its weights are not
    there.

    load: () -> the network, for tests.  Its keypoint scores are heights of a heatmap without unit; s becomes 1 / (1 + e^(2 - s)), ours.
    """
    network = (load or _keypoint_rcnn)()
    with torch.no_grad():
        found = network([_pixels(photo).float() / 255])[0]
    keep = found["scores"] >= PERSON
    points, heights = found["keypoints"][keep].double(), found["keypoints_scores"][keep].double()
    known = torch.ones_like(heights, dtype=torch.bool)
    return Sample(COCO_17, f"photo/{Path(photo).name}", joints_px=points[..., :2] - 0.5, valid_px=known,
                  score=torch.sigmoid(heights - 2.0), boxes=found["boxes"][keep].double() - 0.5, size=photo_size(photo), image=str(photo),
                  ids=tuple(range(int(keep.sum()))), sources={"poses": "torchvision"})  # fmt: skip


def _keypoint_rcnn():
    try:
        from torchvision.models.detection import keypointrcnn_resnet50_fpn
    except ImportError:
        hint = "pip install -c constraints.txt -e '.[detector]', or give keypoints of any detector"
        raise InputError("the package torchvision is not installed", "--detector torchvision", hint) from None
    try:
        return keypointrcnn_resnet50_fpn(weights="DEFAULT").eval()
    except (OSError, RuntimeError) as e:  # they are fetched on first use
        what = f"the detector's weights cannot be fetched ({str(e)[:100]})"
        raise InputError(what, "--detector torchvision", "give keypoints of any detector instead") from None


def _pixels(photo):
    """A photo (3, H, W) uint8 RGB, turned as EXIF says."""
    import numpy as np
    from PIL import Image

    from vp.data import photo as photos

    try:
        with photos.quiet(), Image.open(photo) as picture:
            return torch.from_numpy(np.array(photos.rgb(picture))).permute(2, 0, 1)
    except photos.UNREADABLE:
        raise InputError("not a readable picture", photo, "damaged, cut off, or of an unknown kind") from None
