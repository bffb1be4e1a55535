"""The pictures of figures/gallery, all of them from here: `python -m vp.lab.gallery [NAME...]`; its README lists them."""

import sys

import numpy as np
import torch

from vp.lab import results
from vp.lab.datasets import load
from vp.show import diagrams, explorers, people, pinhole, style
from vp.world.twins import TWINS

FOLDER = results.ROOT / "figures" / "gallery"


def tiles(rows):
    """Pictures as one: rows of (n, 3, H, W) in [0, 1] -> (3, sum H, n W)."""
    return torch.cat([torch.cat(list(row), -1) for row in rows], 1)


def save(image, path, labels=()):
    """A picture (3, H, W) in [0, 1] as a PNG of 256 colours; labels: one for each of its rows of tiles, written to the left."""
    from PIL import Image, ImageDraw

    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    margin = 110 if labels else 0
    sheet = Image.new("RGB", (margin + pixels.shape[1], pixels.shape[0]), "white")
    sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)), (margin, 0))
    for k, text in enumerate(labels):
        ImageDraw.Draw(sheet).text((6, (k + 0.5) * sheet.height / len(labels)), text, fill=style.INK, anchor="lm", font_size=15)
    sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def pipeline(path):
    """The paper's Fig. 2 on one virtual scene."""
    style.alt(diagrams.pipeline(), "").save(path)


def pinhole_still(path):
    """The pinhole explorer in its mode "same picture"."""
    style.alt(explorers.pinhole_still(pinhole.PinholeState(mode="family", scale=0.8)), "").save(path)


def twins(path, n=6):
    """n pictures of every split of every twin, a row each, in the order of `vp.world.twins.TWINS`."""
    rows = []
    for name, split in TWINS:
        data = load(name, split)
        rows.append(data.pictures(data.scenes(n, seed=3), (240, 128)))
    save(tiles(rows), path, [f"{name} {split}" for name, split in TWINS])


def counterfactual(path, n=4):
    """n scenes of the Panoptic twin (rows: as they are; another camera; other clothes; another posture), everything else the same."""
    data = load("panoptic")
    changes = (None, {"camera": 1}, {"clothes": 1}, {"posture": 1})
    rows = [data.pictures(data.scenes(n, seed=5, changed=c, camera="panoptic"), (240, 128)) for c in changes]
    save(tiles(rows), path, ["scene", "camera", "clothes", "posture"])


def large(path):
    """One picture of the Panoptic twin at the paper's input size, 960 x 512."""
    data = load("panoptic", "test")
    save(data.pictures(data.scenes(1, seed=3, start=1), (960, 512))[0], path)


PICTURES = {
    "pipeline.png": pipeline,
    "pinhole.png": pinhole_still,
    "pinhole.html": explorers.write_page,
    "twins.png": twins,
    "counterfactual.png": counterfactual,
    "large.png": large,
}


def main(names=()):
    """Make the named pictures (default all, the pose sheets included)."""
    for name in names or PICTURES:
        print(name, flush=True)
        PICTURES[name](FOLDER / name)
    if not names:
        people.main(FOLDER)


if __name__ == "__main__":
    main(sys.argv[1:])
