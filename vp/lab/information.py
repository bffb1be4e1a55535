"""What the noisy peaks of the joints tell of a person's depth at best (§2, Fig. 1; ours, not in the paper).

The best reader of the peaks knows camera and posture exactly; peaks are off by the noise of the AGR, statures of adults differ.  Boxes and
widths of the Gaussians are left out: the published noise leaves them exact, so that a reader of these could know more still.  Unknown are
where the person stands and, as a factor of the whole body, how tall he is.  Near the truth everything is linear, so the least variance is
that of the linear problem (Cramér-Rao, with the stature's spread as a prior): F = sum_j A_jᵀ A_j / s² + prior, and Var(depth) >= gᵀ F⁻¹ g,
with A_j how the pixel of joint j moves with the unknowns and g how the root's depth does.

"without floor": the place is anywhere, three unknowns.  "with floor": the person is in touch with the floor, whose place before the camera
is known: two.
"""

import math

import numpy as np
import torch

from vp.nets.ren import ROOT
from vp.world.agr import synthesise

STATURE_SHARE = 0.05  # relative s.d. of adults' stature, as in `vp.lab.estimate`
FLOORS = ("without floor", "with floor")
MEAN_ABSOLUTE = math.sqrt(2 / math.pi)  # of a normal deviate


def least_deviation(joints, seen, camera, sigma, share=STATURE_SHARE):
    """{floor of FLOORS: (P,) mm}: the least standard deviation of the root's depth; infinite where too few joints are seen.

    joints (P, J, 3) world mm, floor Z = 0;  seen (P, J) bool: joints whose peaks are there;  camera: one, at the size of the map;
    sigma (P,) px of the map: s.d. of a peak along each axis;  share: of the stature.
    """
    joints = joints.double()
    foot = joints[:, ROOT].clone()
    foot[:, 2] = 0.0
    body = joints - foot[:, None]  # P J 3: what grows with the stature
    R, f = camera.R.double(), camera.f.double()
    x, y, z = camera.to_camera(joints).double().unbind(-1)
    zero = torch.zeros_like(z)
    pixel = torch.stack([torch.stack([f[0] / z, zero, -f[0] * x / z**2], -1), torch.stack([zero, f[1] / z, -f[1] * y / z**2], -1)], -2)
    world = pixel @ R  # P J 2 3: px per mm of the world
    grown = world @ body[..., None]  # P J 2 1: px per share of the stature
    A = torch.cat([world, grown], -1) * seen[..., None, None] / sigma.double()[:, None, None, None]
    A = A.nan_to_num(0.0).flatten(1, 2)  # P 2J 4
    F = A.mT @ A
    F[:, 3, 3] += 1 / share**2
    forward = R[2].expand(len(joints), 3)
    g = torch.cat([forward, (body[:, ROOT] * forward).sum(-1, keepdim=True)], -1)  # mm of depth per unknown
    out = {}
    for name, kept in zip(FLOORS, ([0, 1, 2, 3], [0, 1, 3])):
        part = F[:, kept][:, :, kept]
        scale = part.diagonal(dim1=1, dim2=2).clamp(min=1e-12).rsqrt()  # mm beside shares: brought to one size before they are inverted
        inverse = torch.linalg.pinv(part * scale[:, :, None] * scale[:, None], hermitian=True) * scale[:, :, None] * scale[:, None]
        found = (g[:, None, kept] @ inverse @ g[:, kept, None]).flatten().clamp(min=0).sqrt()
        out[name] = found.masked_fill(2 * seen.sum(1) + 1 < len(kept), torch.inf)  # two numbers a joint, and the prior
    return out


def least_errors(scenes, sizes, noise, people):
    """{floor: (N,) mm}: the least mean absolute error of depth of the N people of a `metrics.People` measured on blocks of scenes.

    sizes: of the second stage, for its maps;  noise: `Noise` of the AGR: peaks are off by noise.position x sigma along each axis.
    """
    each = []  # a dict per view, of those who are there
    for block in scenes:
        agr, t = synthesise(block, sizes.map, None, None, sizes.joints, None, sizes.stride)
        for i, there in enumerate(block.mask):
            camera, sigma = block.camera[i].fit(*sizes.map), noise.position * agr.sigma[i, there]
            each.append(least_deviation(block.joints[i, there, : sizes.joints], t.weight[i, there], camera, sigma))
    who = list(zip(people.view, people.person))
    return {name: MEAN_ABSOLUTE * np.array([float(each[v][name][p]) for v, p in who]) for name in FLOORS}
