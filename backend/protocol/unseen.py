"""The texels of a set of maps that no view saw, as a short text: so it fits into the metrics of a result."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np
from numpy.typing import NDArray

LARGEST_SIZE = 128
"""The mask has at most so many texels along each side."""


def unseen_text(covered: NDArray[np.bool_], seen: NDArray[np.float32]) -> str:
    """The mask of texels [R, R] that lie on the surface (`covered`) and that no view saw, as a text; empty if there is none.

    seen: the seen share of each texel, 0..1. R is a power of two. A texel of the mask is unseen if most of the surface in it is.
    """
    size = min(len(covered), LARGEST_SIZE)
    block = len(covered) // size
    blocks = (size, block, size, block)
    surface = covered.reshape(blocks).sum(axis=(1, 3))
    missed = np.where(covered, 1.0 - seen, 0.0).reshape(blocks).sum(axis=(1, 3))
    mask = (surface > 0) & (2.0 * missed > surface)
    if not mask.any():
        return ""
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode()


def unseen_mask(text: str) -> NDArray[np.bool_] | None:
    """The mask [S, S] of a text, row 0 at the top of the maps; None where the text is empty or not such a mask."""
    most = LARGEST_SIZE * LARGEST_SIZE // 8
    try:
        packed = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), most + 1)
    except (binascii.Error, ValueError, zlib.error):
        return None
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    size = int(np.sqrt(len(bits)))
    if not size or size * size != len(bits) or len(packed) > most:
        return None
    return bits.reshape(size, size).astype(bool)
