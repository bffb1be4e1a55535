"""The pictures of figures/gallery, all of them from here: `python -m vp.lab.gallery [NAME...]`; its README lists them."""

import sys

import numpy as np
import torch

from vp.lab import results
from vp.lab.datasets import load
from vp.lab.virtual import another_camera
from vp.show import ablations, diagrams, explorers, people, pinhole, style
from vp.world.activities import ACTIVITIES, sample_poses
from vp.world.body import sample_people
from vp.world.twins import TWINS

FOLDER = results.ROOT / "figures" / "gallery"
SIZE = (240, 128)  # px


def sheet(blocks, gap=6, band=34):
    """Pictures as one RGB image of PIL: blocks of (heading, remark, rows), each row (n, 3, H, W) in [0, 1], the words above the rows."""
    from PIL import Image, ImageDraw, ImageFont

    rows = [row for *_, group in blocks for row in group]
    width = max(len(row) * (row.shape[-1] + gap) - gap for row in rows)
    image = Image.new("RGB", (width, sum(row.shape[-2] + gap for row in rows) + band * len(blocks)), "white")
    draw, y = ImageDraw.Draw(image), 0
    for heading, remark, group in blocks:
        draw.text((2, y + band / 2), heading, fill=style.INK, anchor="lm", font=ImageFont.load_default(22))
        after = draw.textlength(heading, font=ImageFont.load_default(22)) + 18
        draw.text((after, y + band / 2 + 2), remark, fill=style.QUIET, anchor="lm", font=ImageFont.load_default(17))
        y += band
        for row in group:
            pixels = (row.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
            for i, picture in enumerate(pixels):
                image.paste(Image.fromarray(np.ascontiguousarray(picture)), (i * (row.shape[-1] + gap), y))
            y += row.shape[-2] + gap
    return image


def save(image, path):
    """A PIL image as JPEG with full colour resolution: grain and shading make a PNG many times as large."""
    image.save(path, "jpeg", quality=80, subsampling=0, optimize=True)


def pipeline(path):
    """The paper's Fig. 2 on one virtual scene."""
    style.alt(diagrams.pipeline(), "").save(path)


def pinhole_still(path):
    """The pinhole explorer in its mode "same picture"."""
    style.alt(explorers.pinhole_still(pinhole.PinholeState(mode="family", scale=0.8)), "").save(path)


def twins(path, n=12, columns=6):
    """n pictures of every split of every twin, in the order of `vp.world.twins.TWINS`, with what the split is made of."""
    blocks = []
    for (name, split), twin in TWINS.items():
        data = load(name, split)
        pictures = data.pictures(data.scenes(n, seed=3), SIZE)
        lists = (", ".join(dict.fromkeys(x)) for x in (twin.activities, twin.backgrounds))
        activities, backgrounds = (x.replace("_", " ") for x in lists)
        camera = twin.scenes.camera if isinstance(twin.scenes.camera, str) else "universal"
        remark = f"camera {camera}   |   {activities}   |   cast of {len(data.people)}   |   {backgrounds}"
        blocks.append((f"{name} {split}", remark, list(pictures.split(columns))))
    save(sheet(blocks), path)


def counterfactual(path, n=4, seed=5):
    """n scenes of the Panoptic twin, and each again with one factor drawn anew, everything else the same."""
    data = load("panoptic")
    changes = {"the scenes": None, "another camera": {"camera": another_camera(data, n, seed)}}
    changes |= {f"other {factor}": {factor: 1} for factor in ("clothes", "posture", "stature", "background", "light")}
    blocks = []
    for title, change in changes.items():
        remark = "" if change else "Panoptic twin, cameras 14, 16, 19, 30; below, one factor drawn anew and everything else the same"
        blocks.append((title, remark, [data.pictures(data.scenes(n, seed, changed=change, camera="panoptic"), (320, 180))]))
    save(sheet(blocks), path)


def large(path):
    """One picture of the Panoptic twin at the paper's input size, 960 x 512: of 32 scenes, the one with most people wholly in view."""
    data = load("panoptic", "test")
    best = int(data.scenes(32, seed=3).in_view.sum(1).argmax())
    save(sheet([("", "", [data.pictures(data.scenes(1, seed=3, start=best), (960, 512))])], gap=0, band=0), path)


SHEETS = 6
VIEWS = (-0.9, -1.57, 0.7, 0.0)  # azimuth of a row's bodies, in turn: from the right ahead, from the right, from the left ahead, the face


def poses(path, seed=0):
    """One of the SHEETS pose sheets, by the number in its name: 64 people in each of its activities, the colours explained above."""
    from PIL import Image, ImageDraw, ImageFont

    k, names, titles = int(path.stem.split("_")[1]) - 1, list(ACTIVITIES), {}
    bodies, statures, views, g = [], [], [], torch.Generator().manual_seed(seed + k)
    for name in names[k * len(names) // SHEETS : (k + 1) * len(names) // SHEETS]:
        titles[64 * len(bodies)] = name.replace("_", " ")
        who = sample_people(64, g)
        bodies.append(sample_poses(who, name, g)[0])
        statures.append(who.stature)
        views += VIEWS * 16 if name != "lying" else (-0.9, 0.7, -0.6, 1.0) * 16  # nobody seen end on
    drawn = people.contact_sheet(torch.cat(bodies), torch.cat(statures), titles, 16, (80, 112), np.array(views), extent=2400.0)
    image = Image.new("RGB", (drawn.width, drawn.height + 24), "white")
    image.paste(drawn.convert("RGB"), (0, 24))
    draw, x, font = ImageDraw.Draw(image), 5, ImageFont.load_default(13)
    for colour, text in ((people.LEFT, "left arm and leg"), (people.RIGHT, "right arm and leg")):
        draw.rounded_rectangle([x, 9, x + 24, 17], 4, fill=colour)
        draw.text((x + 30, 13), text, fill=style.INK, anchor="lm", font=font)
        x += 46 + round(draw.textlength(text, font=font))
    text = "the line is the floor; views obliquely from ahead, from the side and from the front"
    draw.text((x + 10, 13), text, fill=style.QUIET, anchor="lm", font=font)
    image.quantize(24, dither=Image.Dither.NONE).save(path, optimize=True)


def floor(path):
    """Errors of depth by distance above what can be known (notebook 11), from the committed rows."""
    rows = results.load(results.ROOT / "results" / "rows" / "11_ablations.jsonl")
    ablations.floor_chart(ablations.floor_lines(rows)).save(path)


PICTURES = {
    "pipeline.png": pipeline,
    "floor.png": floor,
    "pinhole.png": pinhole_still,
    "pinhole.html": explorers.write_page,
    "twins.jpg": twins,
    "counterfactual.jpg": counterfactual,
    "large.jpg": large,
    **{f"poses_{k + 1}.png": poses for k in range(SHEETS)},
}


def main(names=()):
    """Make the named pictures (default all); returns the exit code."""
    if unknown := set(names) - PICTURES.keys():
        print(f"no picture {', '.join(sorted(unknown))}; known are {', '.join(PICTURES)}", file=sys.stderr)
        return 2
    for name in names or PICTURES:
        print(name, flush=True)
        PICTURES[name](FOLDER / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
