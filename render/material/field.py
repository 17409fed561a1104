"""A texture in space: material values at any point of a box, from a hash grid and a small network."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Self

import torch
from numpy.typing import NDArray

from render.material.hash_grid import HashGrid, HashGridConfig
from render.texture.texture import MinMax, channel_bounds


class MLPTexture3D(torch.nn.Module):
    """Learned values at the points of a box, without uv coordinates; as in nvdiffrec, but on any device.

    aabb        [2, 3], lower and upper corner of the box
    channels    of the result; 9 are kd, ks and the normal's perturbation
    width       neurons of a hidden layer (ReLU, no biases)
    hidden      hidden layers
    min_max     lower and upper bound of the values: two scalars, two [channels], or [2, channels]; None: 0..1
    grid        the encoding's shape (`HashGridConfig`); the defaults need 12 million floats
    generator   draws the first values, the same ones for every device; None: PyTorch's own
    dtype       float32, or float64 for tests

    Values are lower + sigmoid(network) * (upper - lower), so they stay inside the bounds and start in their middle.

    nvdiffrec multiplies the gradient between network and grid by 128 and divides it again later: loss scaling for
    tiny-cuda-nn's half precision. Here everything is float32 and nothing is scaled. Grid features start at 1e-4, and each
    one affects few points, so their gradients are small: use Adam with eps=1e-15 and betas=(0.9, 0.99), as the paper
    does, which treats them like the network's weights.

    To bake it, it must be sampled at every texel. Hash collisions leave noise of low contrast where training saw few points.
    Raises ValueError for a box without extent, bounds that do not fit, or sizes below one.
    """

    aabb: torch.Tensor
    min_max: torch.Tensor

    def __init__(
        self,
        aabb: torch.Tensor | NDArray[Any],
        channels: int = 9,
        width: int = 32,
        hidden: int = 2,
        min_max: MinMax | None = None,
        grid: HashGridConfig | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        if min(channels, width, hidden) < 1:
            raise ValueError("a network needs at least one channel, one neuron and one hidden layer")
        self.channels = channels
        self.register_buffer("aabb", _box(aabb, dtype, device))
        bounds = channel_bounds((0.0, 1.0) if min_max is None else min_max, channels, self.aabb)
        if not bool(torch.isfinite(bounds).all()):
            raise ValueError(f"bounds of a field must be finite, not {bounds.tolist()}: it starts in their middle")
        self.register_buffer("min_max", bounds)
        self.grid = HashGrid(grid, generator, dtype, device)
        sizes = [self.grid.channels, *[width] * hidden, channels]
        weights = [_kaiming(rows, columns, generator, dtype, device) for columns, rows in pairwise(sizes)]
        self.weights = torch.nn.ParameterList(weights)

    def sample(self, position: torch.Tensor) -> torch.Tensor:
        """The values at positions [..., 3] -> [..., C], in `min_max`; differentiable in all weights and in position.

        Positions outside the box move to its surface, and have no gradient along the axes in which they moved; NaN counts
        as the lower corner. At 200 000 points the default grid needs about 0.3 GB until `backward`.
        Raises ValueError where positions are not floats [..., 3].
        """
        if position.ndim < 1 or position.shape[-1] != 3 or not position.is_floating_point():
            raise ValueError(f"positions must be floats [..., 3], not {list(position.shape)} {position.dtype}")
        flat = position.reshape(-1, 3).to(self.aabb.dtype)
        point = (flat - self.aabb[0]) / (self.aabb[1] - self.aabb[0])
        values: torch.Tensor = self.grid(torch.nan_to_num(point, nan=0.0).clamp(0, 1))
        for number, weight in enumerate(self.weights):
            values = torch.nn.functional.linear(values.relu() if number else values, weight)
        low, high = self.min_max[0], self.min_max[1]
        return (low + torch.sigmoid(values) * (high - low)).reshape(*position.shape[:-1], self.channels)

    def clamp_(self) -> Self:
        """Do nothing: the sigmoid keeps values in their range. The method lets callers treat both kinds of textures alike."""
        return self


def _box(aabb: torch.Tensor | NDArray[Any], dtype: torch.dtype, device: torch.device | str) -> torch.Tensor:
    box = torch.as_tensor(aabb, dtype=dtype, device=device).detach().clone()
    if box.shape != (2, 3):
        raise ValueError(f"a box is its lower and upper corner, [2, 3], not {list(box.shape)}")
    if not bool(torch.isfinite(box).all() & (box[1] > box[0]).all()):
        raise ValueError(
            f"the box from {box[0].tolist()} to {box[1].tolist()} has no volume: grow it a little along flat axes"
        )
    return box


def _kaiming(
    rows: int, columns: int, generator: torch.Generator | None, dtype: torch.dtype, device: torch.device | str
) -> torch.nn.Parameter:
    """Weights [rows, columns] uniform in +-sqrt(6 / columns), which keeps the variance through ReLU (He et al., 2015)."""
    source = generator.device if generator is not None else torch.device("cpu")
    weight = torch.rand(rows, columns, generator=generator, dtype=dtype, device=source)
    return torch.nn.Parameter(((weight * 2 - 1) * math.sqrt(6 / columns)).to(device))
