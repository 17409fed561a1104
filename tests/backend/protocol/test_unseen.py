"""The mask of texels that no view saw, as a text."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from backend.protocol.unseen import LARGEST_SIZE, unseen_mask, unseen_text


@pytest.mark.parametrize("size", [16, 128])
def test_a_mask_comes_back(size: int) -> None:
    mask = np.random.default_rng(3).random((size, size)) < 0.3
    back = unseen_mask(unseen_text(np.ones_like(mask), 1.0 - mask.astype(np.float32)))
    assert back is not None
    assert (back == mask).all()


def test_a_texel_of_a_small_mask_is_what_most_of_its_surface_is() -> None:
    covered = np.zeros((256, 256), bool)
    covered[:4, :2] = True
    seen = np.ones((256, 256), np.float32)
    seen[0, :2] = 0.4  # two texels of four in the first: 60 % unseen, the others seen
    seen[2:4, :2] = 0.4  # all four of the second
    mask = unseen_mask(unseen_text(covered, seen))
    assert mask is not None
    assert mask.shape == (LARGEST_SIZE, LARGEST_SIZE)
    assert np.argwhere(mask).tolist() == [[1, 0]]


def test_nothing_is_said_where_all_is_seen_or_lies_beside_the_surface() -> None:
    covered = np.zeros((16, 16), bool)
    covered[:8] = True
    assert unseen_text(covered, covered.astype(np.float32)) == ""
    assert unseen_mask("") is None


@pytest.mark.parametrize(
    "text",
    [
        "no mask",
        "ä",
        base64.b64encode(b"no zlib").decode(),
        base64.b64encode(zlib.compress(bytes(3))).decode(),
        base64.b64encode(zlib.compress(bytes(1 << 24))).decode(),
    ],
)
def test_what_is_no_mask_is_none(text: str) -> None:
    assert unseen_mask(text) is None
