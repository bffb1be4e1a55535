"""Photos as people have them: turned by EXIF, in any colours, of 16 bits, animated, damaged."""

import struct
import warnings

import numpy as np
from PIL import Image, ImageOps

UNREADABLE = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, ZeroDivisionError, OverflowError, struct.error,
              EOFError, Image.DecompressionBombError)  # fmt: skip
# what damaged files raise on opening, decoding and in their EXIF


def quiet():
    """A context in which a photo's oddities (corrupt EXIF, many pixels) are not told; errors are."""
    return warnings.catch_warnings(action="ignore")


def rgb(picture):
    """A PIL picture (turned in place) in mode RGB, turned as EXIF says: the first of several frames, 16 bits scaled to 8; ValueError for
    floats."""
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith("F"):
        raise ValueError("a picture of floating-point numbers has no scale")
    if picture.mode.startswith("I"):  # converted by itself, everything above 255 would be white
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) // 256).astype(np.uint8))
    return picture if picture.mode == "RGB" else picture.convert("RGB")
