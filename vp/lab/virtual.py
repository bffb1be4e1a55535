"""The measurements behind notebook 07 (and the coverage of 02): what AGR forgets and keeps, where peaks lie, how real the people are."""

from dataclasses import dataclass

import numpy as np
import torch

from vp import published_agr
from vp.camera import rescale
from vp.lab import results
from vp.lab.datasets import load
from vp.show import people, style
from vp.world.agr import agr
from vp.world.bank import PoseBank
from vp.world.body import sample_people
from vp.world.coverage import RADII_MM, REFERENCE_MM, Coverage, measure, side_by_side, virtual_bank

SOURCES = {"poses": "twin", "cameras": "twin", "images": "computed"}
MAP = (240, 128)  # px, the paper's heatmaps


def peak_errors(n, seed):
    """How far noise-free peaks lie from the joint: {"ours", "published"}: (n,) heatmap px, read as the centre of mass of each peak.

    n single joints at random places of a 960 x 512 image, σ of a person of random size; every peak lies wholly inside the 240 x 128 map.
    """
    rng = np.random.default_rng(seed)
    where = rng.uniform((150, 150), (810, 362), (n, 2))  # network-input px
    half = rng.uniform(60, 250, n)  # half the person's extent, network-input px: sets σ
    body = np.stack([where, where + np.stack([0 * half, half], -1), where - np.stack([0 * half, half], -1)], 1)[:, None]  # n 1 3 2
    out = {"ours": np.zeros(n), "published": np.zeros(n)}  # the joint is the first; the other two span the person
    uv = torch.from_numpy(np.concatenate([body, np.repeat(body[:, :, :1], 12, 2)], 2))
    present = torch.ones(1, 1, 15, dtype=torch.bool)
    for i in range(n):
        ours = agr(uv[i, None], present, present[..., 0], (960, 512)).heatmaps[0, 0].numpy()
        theirs = published_agr.render(body[i], published_agr.sigmas(body[i]))[0]
        truth = {"ours": rescale(uv[i, 0, 0], 1 / 4).numpy(), "published": where[i] / 4}  # each in its own convention
        for name, heat in (("ours", ours), ("published", theirs)):
            heat = np.where(heat > 0.05, heat, 0.0).astype(np.float64)
            columns, lines = heat.sum(0), heat.sum(1)
            centre = np.array([columns @ np.arange(len(columns)), lines @ np.arange(len(lines))]) / columns.sum()
            out[name][i] = np.linalg.norm(centre - truth[name])
    return out


def agr_change(data, factor, n, seed):
    """Change of the heatmaps of n scenes of a Dataset when one factor is drawn anew, as a share of what is in them (0: not one bit)."""
    difference = total = 0.0
    for start in range(0, n, 32):
        maps = []
        for changed in (None, {factor: seed + 1}):
            scenes = data.scenes(min(32, n - start), seed, changed=changed, start=start, camera="panoptic")
            uv, _, known = (x[:, :, :15] for x in scenes.uv())
            maps.append(agr(uv.float(), known, scenes.mask, scenes.camera.size, MAP).heatmaps)
        difference += float((maps[0] - maps[1]).abs().sum(dtype=torch.float64))
        total += float(maps[0].sum(dtype=torch.float64))
    return difference / total


def another_camera(data, n, seed):
    """The first seed of the factor "camera" that gives each of n scenes of a Dataset another of the rig's four cameras."""
    before = data.scenes(n, seed, camera="panoptic").camera.R
    for k in range(1, 1000):
        after = data.scenes(n, seed, changed={"camera": k}, camera="panoptic").camera.R
        if (after != before).flatten(1).any(1).all():
            return k
    raise RuntimeError(f"no seed gives each of {n} scenes another camera")


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


@dataclass
class CoverageReport:
    """What `coverage` found, with the two banks; frames: of `recorded`, those that `found.distance` belongs to."""

    found: Coverage
    recorded: PoseBank
    virtual: PoseBank
    frames: torch.Tensor


def coverage(bvh_root, profile, seed=0):
    """Coverage of a folder of motion capture by virtual poses (`vp.world.coverage.measure`); 100 000 of them, 5 000 at smoke."""
    recorded = load("bvh", root=bvh_root).bank
    g = torch.Generator().manual_seed(seed)
    n, frames = (5_000, 300) if results.name_and_budget(profile.name)[0] == "smoke" else (100_000, 2_000)
    virtual = virtual_bank(n, g, sample_people(2_000, g))
    every = -(-len(recorded) // frames)  # as `measure` thins them
    return CoverageReport(measure(recorded, virtual, frames, frames), recorded, virtual, torch.arange(0, len(recorded), every))


def coverage_rows(report, **columns):
    """Rows: share of recorded frames within each radius, the curve, the way back; the note says how many virtual poses there were."""
    found, common = report.found, {"sources": {"poses": "bvh"}, "note": f"{len(report.virtual)} virtual poses", **columns}
    rows = []
    for r in RADII_MM:
        back, name = float((found.reverse <= r).float().mean()), ("coverage", f"within {r:g} mm")
        rows += [
            results.row(*name, 100 * found.share(r), "%", n=len(found.distance), method="recorded by virtual", **common),
            results.row(*name, 100 * back, "%", method="virtual by recorded", n=len(found.reverse), **common),
        ]
    return rows


def coverage_sentence(rows):
    """The rows of `coverage_rows` among others in words, or that there are none."""
    found = {(r["method"], r["metric"]): r for r in rows if r["experiment"] == "coverage"}
    if not found:
        return "coverage: not measured in this run, no motion capture was given (bvh_root)"
    there = [found["recorded by virtual", f"within {r:g} mm"] for r in RADII_MM]
    back = found["virtual by recorded", "within 120 mm"]
    shares, radii = (" / ".join(x) for x in ([f"{r['value']:.1f}" for r in there], [f"{r:g}" for r in RADII_MM]))
    return (
        f"{shares} % of {there[0]['n']} recorded frames lie within {radii} mm of one of {there[0]['note']};\n"
        f"{back['value']:.1f} % of {back['n']} virtual poses lie within 120 mm of a recorded one"
    )


def coverage_text(report):
    """The same as text, with γ and bone ratios side by side."""
    head = f"{'frames':>7}  " + "  ".join(f"< {r:g} mm" for r in RADII_MM) + "  median mm"
    lines = [head, *(f"{n:7d}  " + "  ".join(f"{100 * s:6.1f} %" for s in shares) + f"  {median:9.0f}  {what}"
                     for what, n, *shares, median in report.found.table() if not what.startswith(("dataset", "cmu", "0")))]  # fmt: skip
    sides = side_by_side(report.recorded, report.virtual)
    return "\n".join([*lines, "", f"{'recorded':>10} {'virtual':>9}", *(f"{r:10.3f} {v:9.3f}  {what}" for what, r, v in sides)])


def nearest_sheet(report, n=12):
    """n recorded frames, from the best to the worst met (at equal steps of rank), and below each the virtual pose nearest to it."""
    order = report.found.distance.argsort()
    pick = order[torch.linspace(0, len(order) - 1, n).round().long()]
    banks = report.recorded[report.frames[pick]], report.virtual[report.found.index[pick]]
    same = [bank.rescale(REFERENCE_MM) for bank in banks]
    steps = ", ".join(f"{d:.0f}" for d in report.found.distance[pick].tolist())
    titles = {0: "recorded frames, from the best met to the worst", n: f"the virtual pose nearest to each, at {steps} mm"}
    picture = people.contact_sheet(torch.cat([b.joints for b in same]), torch.full((2 * n,), REFERENCE_MM), titles, n)
    return style.picture(picture, f"{n} recorded frames, from the best met to the worst; below, the nearest virtual ones, at {steps} mm.")


def activity_sheet(names, n=12, seed=0):
    """n virtual people a row, in one activity each (names of `vp.world.activities.ACTIVITIES`)."""
    g, who = torch.Generator().manual_seed(seed), sample_people(n * len(names), torch.Generator().manual_seed(seed + 1))
    banks = [PoseBank.procedural(n, name, who[slice(k * n, (k + 1) * n)], g) for k, name in enumerate(names)]
    titles = {k * n: name.replace("_", " ") for k, name in enumerate(names)}
    picture = people.contact_sheet(torch.cat([b.joints for b in banks]), torch.cat([b.stature for b in banks]), titles, n)
    text = f"Virtual people, {n} in each activity: {', '.join(titles.values())}. The person's left limbs are blue, the right ones orange."
    return style.picture(picture, text)


def coverage_picture(report):
    """Share of recorded frames within a distance of their nearest virtual pose, for growing numbers of virtual poses; and the way back."""
    found = report.found
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
