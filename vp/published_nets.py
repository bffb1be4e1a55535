"""What the published networks do beside ours: flips, and the names of their weights; ours are in `vp.nets`.

Sections (1.4) and quirks (Q23) are numbered as in `reference/published_settings.md`; tests/test_golden_nets.py compares with `golden/`.
"""

from vp.nets.resnet import mirror

# ---- flips -------------------------------------------------------------------------------------------------------------------------


def flip_test(net, images, order):
    """Maps of images (B, 3, H, W), where only the heatmaps are averaged with those of the mirror images (1.4).

    order: joint order in the mirror (`Skeleton.flip_order`).  `vp.nets.resnet.flip_test` averages every head.
    """
    maps = net(images)
    return {**maps, "heatmap": (maps["heatmap"] + mirror(net(images.flip(-1)), order)["heatmap"]) / 2}


def flip_training(net, inputs, order):
    """Maps of a training pass whose coin (one for the whole batch) says flip (1.4): mirrored, and mirrored back.

    Q23: the depth net is flipped, too, without exchange of the left and right joints among its input channels.
    """
    return mirror(net(inputs.flip(-1)), order)


# ---- names of weights ----------------------------------------------------------------------------------------------------------------

UNUSED = ("ren.de.heads.heatmap.", "ren.de.heads.box.")  # Q24: heads of the depth net that are neither used nor trained

RENAMES = {
    "REN.depth_net": "ren.de", "REN.v2v_net": "ren.net", "PEN.v2v_net": "pen.net",
    "deconv_layers": "deconv", "final_layer": "heads.heatmap", "bbox": "heads.box", "depth": "heads.depth",
    "front_layers.0.block": "stem", "front_layers.1": "level1", "res_branch": "branch", "skip_con": "skip", "output_layer": "output",
    "encoder_decoder.encoder_res1": "encode1", "encoder_decoder.encoder_res2": "encode2", "encoder_decoder.mid_res": "middle",
    "encoder_decoder.skip_res1": "skip1", "encoder_decoder.skip_res2": "skip2",
    "encoder_decoder.decoder_res1": "decode1", "encoder_decoder.decoder_res2": "decode2",
    "encoder_decoder.decoder_upsample1.block": "up1", "encoder_decoder.decoder_upsample2.block": "up2",
}  # fmt: skip


def our_name(key):
    """Our name of a published weight, of the whole model or of one network: "REN.depth_net.depth.0.bias" -> "ren.de.heads.depth.0.bias"."""
    key = f".{key}"
    for theirs, ours in RENAMES.items():
        key = key.replace(f".{theirs}.", f".{ours}.")
    return key[1:]
