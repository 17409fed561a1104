"""Texture sampling and mip levels against nvdiffrec's recorded outputs."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from support.parity.golden import Golden, relative_l2

from render.texture.sampling import next_level
from render.texture.texture import Texture2D, create_trainable

# Relative L2 of one operation, as the issue states it.
SAMPLE = 1e-4
GRADIENT = 1e-4
LEVEL = 1e-4


def check_sample_and_gradient(golden: Golden) -> None:
    texture = Texture2D(golden.tensor("texture"))
    value = texture.sample(golden.tensor("uv"), golden.tensor("uv_da"))
    assert relative_l2(value, golden.tensor("sample")) < SAMPLE
    (value * golden.tensor("weight")).sum().backward()
    assert relative_l2(texture.data.grad, golden.tensor("grad_texture")) < GRADIENT


def check_automatic_mips(golden: Golden) -> None:
    levels = Texture2D(golden.tensor("texture")).pyramid()
    for number in _numbers(golden, "mip"):
        assert relative_l2(levels[number], golden.tensor(f"mip_{number}")) < LEVEL


def check_custom_mips(golden: Golden) -> None:
    """A chain down to 1x1, of which the file tells the first levels."""
    chain = [golden.tensor("texture")]
    for number in _numbers(golden, "custom_mip"):
        chain.append(golden.tensor(f"custom_mip_{number}"))
        ours = create_trainable(chain[0], auto_mipmaps=False).mips[number]
        assert relative_l2(ours, chain[-1]) < LEVEL
    while chain[-1].shape[1:3] != (1, 1):
        chain.append(_nvdiffrec_next_custom_level(chain[-1]))
    value = Texture2D(chain).sample(golden.tensor("uv"), golden.tensor("uv_da"))
    assert relative_l2(value, golden.tensor("sample_custom_mips")) < SAMPLE


def check_mip_gradient(golden: Golden) -> None:
    texture = golden.tensor("texture").requires_grad_()
    coarse = next_level(texture)
    assert relative_l2(coarse, golden.tensor("texture_mip")) < LEVEL
    (coarse * golden.tensor("weight")).sum().backward()
    assert relative_l2(texture.grad, golden.tensor("grad_texture")) < GRADIENT


def _numbers(golden: Golden, stem: str) -> list[int]:
    names = (re.fullmatch(rf"{stem}_(\d+)", name) for name in golden.arrays)
    return sorted(int(name[1]) for name in names if name)


def _nvdiffrec_next_custom_level(image: torch.Tensor) -> torch.Tensor:
    """Their levels: means, but once a side is 1 they resize as if enlarging, and drop texels instead of averaging.

    Ours averages throughout (test_texture.py); here theirs is followed so that the sampling can be compared.
    """
    size = [max(side // 2, 1) for side in image.shape[1:3]]
    planes = image.permute(0, 3, 1, 2)
    if min(image.shape[1:3]) > 1:
        planes = F.interpolate(planes, size, mode="area")
    else:
        planes = F.interpolate(planes, size, mode="bilinear", align_corners=True)
    return planes.permute(0, 2, 3, 1)


CHECKS: dict[str, list[Callable[[Golden], None]]] = {
    "texture2d": [check_sample_and_gradient, check_automatic_mips, check_custom_mips],
    "mip_gradients": [check_mip_gradient],
}
