"""What `vp estimate` found: a picture (in the image, from the side, from above, to scale) and a page in which the people can be turned.

Both are made from the entries of its JSON alone (and the photos, for the picture).  Views are in a level frame ahead of the camera
(`vp.space.Frame.ahead`: X forward, Y left, Z up, floor 0), in metre.
"""

import html
import json
from pathlib import Path

import numpy as np
import torch

from vp.camera import Camera
from vp.show import plot, style
from vp.skeleton import JOINTS_15
from vp.space import Frame

ROWS = 12  # images in one picture, at most
LARGEST = 50_000_000  # pixels of a photo that is drawn
DRAWN = 1600  # px, longer side at which photos are drawn
PAGE = Path(__file__).with_name("estimate.html")


def colour(i):
    """The same person has the same colour everywhere: by the order of the entry."""
    return style.person(i)


def ahead(entry):
    """3D of an entry in the level frame ahead of its camera: joints (P, 15, 3) mm, NaN of people without; `Camera` in that frame."""
    keys = ("R", "t", "f", "c", "size", "dist")
    camera = Camera.from_dict({k: entry["camera"][k] for k in keys if k in entry["camera"]})
    if not np.isfinite(plot.frustum(camera, 500.0)).all():  # a lens that cannot be inverted at the corners: drawn without its distortion
        camera.dist = None
    batch = camera[None]
    frame = Frame.ahead(batch)
    rows = [p["joints_cam_mm"] or [[np.nan] * 3] * 15 for p in entry["people"]]
    joints = torch.tensor(rows, dtype=torch.float64).reshape(1, -1, 3)
    known = joints.isfinite().all(-1, keepdim=True)
    level = frame.from_world(batch.to_world(joints.nan_to_num(0.0))).masked_fill(~known, torch.nan)
    return level.view(-1, 15, 3), frame.camera(batch)[0]


def read_photo(path, size):
    """The photo (h, w, 3) at most `DRAWN` px long, or None where there is none or it is too large to be drawn."""
    if path is None or size[0] * size[1] > LARGEST:
        return None
    from PIL import Image

    from vp.data import photo as photos

    try:
        with photos.quiet(), Image.open(path) as photo:
            photo.draft("RGB", (DRAWN, DRAWN))
            photo = photos.rgb(photo)
            photo.thumbnail((DRAWN, DRAWN))
            return np.asarray(photo)
    except photos.UNREADABLE:
        return None


# ---- the picture -----------------------------------------------------------------------------------------------------------------------


def picture(entries, photos=()):
    """A `style.Still` with a row for each of the first `ROWS` images; photos: their paths, None where there is none."""
    shown = entries[:ROWS]
    photos = [*photos, *[None] * (len(shown) - len(photos))]
    with style.context():
        fig, axes = style.subplots(len(shown), 3, size=(15.0, 4.6 * len(shown)), width_ratios=(1.35, 1.2, 1.0), squeeze=False)
        for entry, photo, row in zip(shown, photos, axes):
            _row(row, entry, photo)
        if len(entries) > ROWS:
            fig.suptitle(f"the first {ROWS} of {len(entries)} images", x=0.01, ha="left")
        counts = ", ".join(f"{len(e['people'])} people in {e['image']}" for e in shown)
        return style.alt(fig, f"{counts}: 2D keypoints in the image, 3D poses from the side and from above.")


def _row(axes, entry, photo):
    image, side, top = axes
    size, people = entry["size"], entry["people"]
    plot.image_axes(image, size, read_photo(photo, size), title=entry["image"].rpartition("/")[2].replace("$", r"\$"))
    image.set_facecolor("#E5E7EB")
    joints, camera = ahead(entry)
    place = entry["camera"]
    side.set_title(f"From the side (camera {place['pitch_deg']:.0f}° down, {place['height_mm'] / 1000:.1f} m up)")
    plot.world_axes(side, "side")
    plot.world_axes(top, "top", "From above, metre grid")
    for ax, view in ((side, "side"), (top, "top")):
        plot.camera_3d(ax, camera, view, 400.0)
    for i in range(len(people)):
        _person(axes, people[i], joints[i].numpy(), i, len(people))
    image.set(xlabel="", ylabel="", xticks=[], yticks=[])
    side.set(xlabel="ahead (m)", ylabel="up (m)")
    top.set(xlabel="ahead (m)", ylabel="left (m)")
    known = joints[joints.isfinite().all(-1)] / 1000
    far, aside, high = (float(known[:, k].abs().max()) if len(known) else d for k, d in ((0, 4.0), (1, 1.0), (2, 2.0)))
    width = max(far + 0.7, 4.0)
    half = max(aside + 0.5, 1.5)
    side.set(xlim=(-0.5, width), ylim=(min(-0.3, float(known[:, 2].min()) - 0.2) if len(known) else -0.3,
                                       max(high + 0.4, place["height_mm"] / 1000 + 0.4, 2.3)))  # fmt: skip
    top.set(xlim=(-0.5, width), ylim=(-half, half))
    step = max(1, round(max(width, half, side.get_ylim()[1]) / 12))  # whole metres
    for ax in (side, top):
        ax.set_xticks(np.arange(0, width, step))
    top.set_yticks(np.arange(-np.floor(half), half, step))
    side.set_yticks(np.arange(0, side.get_ylim()[1], step))


def _person(axes, person, joints, i, n):
    import matplotlib.patheffects as pe

    few, who = n <= 12, str(person["person_id"])
    who = who if len(who) <= 7 else f"…{who[-5:]}"
    image, side, top = axes
    c, look = colour(i), {"lw": 2.2 if few else 1.0, "color": colour(i)}
    edge = [pe.withStroke(linewidth=2.5, foreground="white")]
    px = np.array([q or [np.nan] * 2 for q in person["joints_px"] or [None] * 15], dtype=np.float64)
    if np.isfinite(px).any():
        halo = [pe.Stroke(linewidth=look["lw"] + 1.6, foreground="white"), pe.Normal()] if few else None
        image.plot(*plot.polyline(px, JOINTS_15.limb_pairs).T, path_effects=halo, **look)
        image.plot(*px.T, ".", color=c, ms=4 if few else 2)
        if few:
            at = px[np.nanargmin(px[:, 1])]
            name = who + ("" if person["root_depth_mm"] is None or n > 6 else f": {person['root_depth_mm'] / 1000:.1f} m")
            near = 0.15 * abs(np.subtract(*image.get_xlim()))  # names of people beside each other stand above each other
            rise = 5 + 14 * sum(abs(t.xy[0] - at[0]) < near and abs(t.xy[1] - at[1]) < near / 2 for t in image.texts)
            image.annotate(name, at, (0, rise), textcoords="offset points", ha="center", color=c, weight="bold", path_effects=edge,
                           annotation_clip=True)  # fmt: skip
    if person["root_depth_mm"] is None:
        return
    weak = "depth_estimator_only" in person["flags"]
    for ax, view in ((side, "side"), (top, "top")):
        xy = joints[:, list(plot.VIEWS[view])] / 1000
        ax.plot(*plot.polyline(xy, JOINTS_15.limb_pairs).T, ls=":" if weak else "-", **look)
    x, y = joints[JOINTS_15.root_index, :2] / 1000
    reach = (person["depth_interval_mm"][1] - person["depth_interval_mm"][0]) / 2 / person["root_depth_mm"]
    top.plot([x * (1 - reach), x * (1 + reach)], [y * (1 - reach), y * (1 + reach)], color=c, lw=1.0, alpha=0.6)  # ± 1 s.d., along the ray
    if few:
        top.annotate(who, (x, y), (0, 7), textcoords="offset points", ha="center", color=c, weight="bold", path_effects=edge)
        head = joints[np.nanargmax(joints[:, 2]), [0, 2]] / 1000
        side.annotate(who, head, (0, 3), textcoords="offset points", ha="center", color=c, weight="bold", path_effects=edge)


# ---- the page --------------------------------------------------------------------------------------------------------------------------


def page(entries):
    """One HTML page without outside resources: the images to choose from, the people to turn, to zoom and to read off."""
    images = []
    for entry in entries:
        joints, camera = ahead(entry)
        people = []
        for i, (person, points) in enumerate(zip(entry["people"], joints)):
            low, high = person["depth_interval_mm"] or (None, None)
            xyz = [[round(v / 1000, 3) for v in p] if np.isfinite(p).all() else None for p in points.tolist()]
            people.append({"name": str(person["person_id"]), "colour": colour(i), "joints": xyz, "flags": person["flags"],
                           "depth": person["root_depth_mm"], "low": low, "high": high, "tall": person["stature_mm"]})  # fmt: skip
        frustum = np.round(plot.frustum(camera, 500.0) / 1000, 3).tolist()
        images.append({"name": entry["image"], "people": people, "frustum": frustum, "warnings": entry["warnings"],
                       "camera": {k: entry["camera"][k] for k in ("pitch_deg", "height_mm", "f")}})  # fmt: skip
    data = {"images": images, "limbs": JOINTS_15.limb_pairs, "edges": plot.FRUSTUM_EDGES}
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")  # or the name of an image could end the script
    title = html.escape(", ".join(e["image"] for e in entries[:3]))
    return PAGE.read_text(encoding="utf-8").replace("{{title}}", title).replace('"{{data}}"', text)
