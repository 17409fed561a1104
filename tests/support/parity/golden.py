"""nvdiffrec's recorded outputs, as the parity checks see them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from render.raster.portable import Rasterizer


@dataclass(frozen=True)
class Golden:
    """One file of golden data, and where and with what it is to be checked.

    device      of every tensor
    rasterizer  the provider of visibility, for whole images
    """

    path: Path
    device: str
    rasterizer: Rasterizer

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.path) as file:
            return dict(file)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def tensor(self, name: str) -> torch.Tensor:
        """The array as a float32 tensor on the device."""
        return torch.tensor(self.arrays[name], dtype=torch.float32, device=self.device)

    def sibling(self, stem: str) -> Golden:
        """Another file of the same folder."""
        return Golden(self.path.with_name(f"{stem}.npz"), self.device, self.rasterizer)


def relative_l2(value: torch.Tensor, golden: torch.Tensor) -> float:
    """Norm of the difference over the norm of the golden values; 0 where both are zero."""
    assert value.shape == golden.shape, f"{list(value.shape)} is compared with {list(golden.shape)}"
    norm = float(golden.double().norm())
    difference = float((value.detach().double() - golden.double()).norm())
    return difference / norm if norm > 0 else difference


def cosine(value: torch.Tensor, golden: torch.Tensor) -> float:
    """Cosine of the angle between two arrays seen as vectors."""
    assert value.shape == golden.shape, f"{list(value.shape)} is compared with {list(golden.shape)}"
    return float(torch.nn.functional.cosine_similarity(value.detach().double().flatten(), golden.double().flatten(), 0))
