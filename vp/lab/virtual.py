"""The measurements behind notebook 07 (and the coverage of 02): what AGR forgets and keeps, where peaks lie, how real the people are."""

import numpy as np
import torch

from vp import published_agr
from vp.camera import rescale
from vp.lab import results
from vp.lab.datasets import load
from vp.show import style
from vp.world.agr import agr
from vp.world.body import sample_people
from vp.world.coverage import RADII_MM, measure, virtual_bank
from vp.world.coverage import side_by_side as bodies_side_by_side

SOURCES = {"poses": "twin", "cameras": "twin", "images": "computed"}


def peak_errors(n, seed):
    """How far noise-free peaks lie from the joint: {"ours", "published"}: (n,) heatmap px, read as the centre of mass of each peak.

    n single joints at random places of a 960 x 512 image, σ of a person of random size; every peak lies wholly inside the 240 x 128 map.
    """
    rng = np.random.default_rng(seed)
    where = rng.uniform((150, 150), (810, 362), (n, 2))  # network-input px
    half = rng.uniform(60, 250, n)  # half the person's extent, network-input px: sets σ
    out = {"ours": np.zeros(n), "published": np.zeros(n)}
    for i, (u, h) in enumerate(zip(where, half)):
        body = np.stack([u, u + (0, h), u - (0, h)])[None]  # the joint, and two that span the person
        present = torch.ones(1, 1, 15, dtype=torch.bool)
        uv = torch.from_numpy(np.concatenate([body, np.repeat(body[:, :1], 12, 1)], 1))[None]
        ours = agr(uv, present, present[..., 0], (960, 512)).heatmaps[0, 0].numpy()
        theirs = published_agr.render(body, published_agr.sigmas(body))[0]
        truth = {"ours": rescale(torch.from_numpy(u), 1 / 4).numpy(), "published": u / 4}  # each in its own convention
        for name, heat in (("ours", ours), ("published", theirs)):
            heat = np.where(heat > 0.05, heat, 0.0)
            v, x = np.mgrid[: heat.shape[0], : heat.shape[1]]
            centre = np.array([(heat * x).sum(), (heat * v).sum()]) / heat.sum()
            out[name][i] = np.linalg.norm(centre - truth[name])
    return out


def agr_change(data, factor, n, seed):
    """Change of the heatmaps of n scenes of a Dataset when one factor is drawn anew, as a share of what is in them (0: not one bit)."""
    maps = []
    for changed in (None, {factor: seed + 1}):
        scenes = data.scenes(n, seed, changed=changed, camera="panoptic")
        uv, _, known = (x[:, :, :15] for x in scenes.uv())
        maps.append(agr(uv.float(), known, scenes.mask, scenes.camera.size, (60, 32)).heatmaps)
    return float((maps[0] - maps[1]).abs().mean() / maps[0].mean())


def agr_rows(changed, errors, **columns):
    """Rows of the claims on AGR from `agr_change` per factor and `peak_errors`."""
    common = {"sources": SOURCES, **columns}
    changed = {**changed, "appearance": max(changed[f] for f in ("clothes", "background", "light"))}
    rows = [results.row("agr", "heatmap_change", value, "", method=factor, n=64, **common) for factor, value in changed.items()]
    for name, e in errors.items():
        each = [round(float(x), 5) for x in e]
        rows.append(results.row("agr", "peak_error", float(np.mean(each)), "px", method=name, n=len(each), per_scene=each, **common))
    return rows


# ---- against reality -------------------------------------------------------------------------------------------------------------


def coverage(bvh_root, profile, seed=0):
    """Coverage of a folder of motion capture by virtual poses (`vp.world.coverage.measure`); 100 000 of them, 5 000 at smoke."""
    recorded = load("bvh", root=bvh_root).bank
    g = torch.Generator().manual_seed(seed)
    n, frames = (5_000, 300) if profile.name == "smoke" else (100_000, 2_000)
    virtual = virtual_bank(n, g, sample_people(2_000, g))
    return measure(recorded, virtual, frames, frames), bodies_side_by_side(recorded, virtual)


def coverage_rows(report, **columns):
    """Rows: share of recorded frames within each radius, the curve, the way back."""
    found, _ = report
    common = {"sources": {"poses": "bvh"}, **columns}
    rows = []
    for r in RADII_MM:
        back, name = float((found.reverse <= r).float().mean()), ("coverage", f"within {r:g} mm")
        rows += [
            results.row(*name, 100 * found.share(r), "%", n=len(found.distance), method="recorded by virtual", **common),
            results.row(*name, 100 * back, "%", method="virtual by recorded", n=len(found.reverse), **common),
        ]
    return rows


def coverage_text(report):
    """The same as text, with γ and bone ratios side by side."""
    found, sides = report
    head = f"{'frames':>7}  " + "  ".join(f"< {r:g} mm" for r in RADII_MM) + "  median mm"
    lines = [head, *(f"{n:7d}  " + "  ".join(f"{100 * s:6.1f} %" for s in shares) + f"  {median:9.0f}  {what}"
                     for what, n, *shares, median in found.table() if not what.startswith(("dataset", "cmu", "0")))]  # fmt: skip
    return "\n".join([*lines, "", f"{'recorded':>10} {'virtual':>9}", *(f"{r:10.3f} {v:9.3f}  {what}" for what, r, v in sides)])


def coverage_picture(report):
    """Share of recorded frames within a distance of their nearest virtual pose, for growing numbers of virtual poses; and the way back."""
    found, _ = report
    fig, ax = style.subplots(size=(8, 4))
    x = np.linspace(0, 250, 251)
    for mark, d, colour in zip(found.marks, found.curve, (style.SKY, style.BLUE, style.BLACK)):
        ax.plot(x, [100 * float((d <= r).float().mean()) for r in x], color=colour, label=f"recorded to nearest of {mark} virtual")
    back = [100 * float((found.reverse <= r).float().mean()) for r in x]
    ax.plot(x, back, "--", color=style.VERMILLION, label="virtual to nearest recorded")
    ax.axvline(120, color=style.QUIET, lw=1)
    ax.set(xlabel="mean joint distance (mm)", ylabel="share of poses (%)", title="Virtual and recorded poses", ylim=(0, 101), xlim=(0, 250))
    ax.legend(loc="lower right")
    share = f"{100 * found.share(120):.0f} per cent within 120 mm"
    return style.alt(fig, f"Share of recorded frames whose nearest virtual pose is within a distance: {share}.")


def side_by_side(real, data, seed, n=4):
    """AGR of recorded poses before the recorded camera (above) and of the virtual twin before its own (below)."""
    fig, axes = style.subplots(2, n, size=(13, 4.2))
    for row, source, name in zip(axes, (real, data), ("recorded", "virtual")):
        scenes = source.scenes(n, seed)
        uv, _, known = (x[:, :, :15] for x in scenes.uv())
        maps = agr(uv.float(), known, scenes.mask, scenes.camera.size, (240, 128)).heatmaps.amax(1)
        for ax, heat in zip(row, maps):
            ax.imshow(heat, cmap="magma")
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
        row[0].set_ylabel(name)
    text = "Maximum over the heatmaps. Above: recorded Panoptic poses seen by the recorded camera. Below: virtual people seen by its twin."
    return style.alt(fig, text)
