"""Multiresolution hash encoding of points (Mueller et al., Instant Neural Graphics Primitives, 2022), in plain PyTorch.

Every level is a grid over the unit cube, and its vertices hold a few learned features. A point reads each level
trilinearly. Coarse levels have a table entry for every vertex. Fine ones use a table of fixed size through a hash of the
vertex. Training resolves the collisions, because the points that matter dominate it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from render.texture.sampling import weighted_sum

# The paper's primes; the first factor is 1 so that neighbours along x lie side by side in memory.
_PRIMES = (1, 2_654_435_761, 805_459_861)
# Spread of the first features: small, so that they start near zero and no level starts ahead of another (paper).
_INITIAL_SPREAD = 1e-4


@dataclass(frozen=True)
class HashGridConfig:
    """Shape of a hash grid; the defaults are nvdiffrec's.

    levels              number of grids
    features            features of a vertex
    table_size          the most entries of one level; a power of two
    base_resolution     cells along an axis of the coarsest grid
    finest_resolution   cells along an axis of the finest grid; those between grow geometrically, rounded down
    """

    levels: int = 16
    features: int = 2
    table_size: int = 2**19
    base_resolution: int = 16
    finest_resolution: int = 4096

    def __post_init__(self) -> None:
        if min(self.levels, self.features, self.base_resolution) < 1:
            raise ValueError("a hash grid needs at least one level, one feature and one cell")
        if self.table_size < 2 or self.table_size & (self.table_size - 1):
            raise ValueError(f"table_size must be a power of two of at least 2, not {self.table_size}")
        if not self.base_resolution <= self.finest_resolution <= 2**20:
            raise ValueError(
                f"finest_resolution must lie between base_resolution {self.base_resolution} and 2^20, "
                f"not be {self.finest_resolution}"
            )

    def resolutions(self) -> list[int]:
        """Cells along an axis of each level, coarsest first."""
        if self.levels == 1:
            return [self.base_resolution]
        growth = math.log(self.finest_resolution / self.base_resolution) / (self.levels - 1)
        # The small addition makes the finest one exact: without it, rounding could make it one less.
        return [int(self.base_resolution * math.exp(growth * level) + 1e-6) for level in range(self.levels)]

    def entries(self) -> list[int]:
        """Table entries of each level: one for each vertex while they fit, then `table_size`."""
        return [min((resolution + 1) ** 3, self.table_size) for resolution in self.resolutions()]


class HashGrid(torch.nn.Module):
    """Learned features of points in the unit cube: [S, 3] -> [S, levels * features].

    generator   draws the first features, uniform in +-1e-4; None: PyTorch's own
    dtype       float32 or float64

    The gradient to the table is summed without races, so training repeats itself exactly (see `weighted_sum`). Points have
    a gradient too, except at the faces of cells, where trilinear interpolation has kinks. It differs from tiny-cuda-nn,
    which nvdiffrec uses: grids cover the cube edge to edge as in the paper, without tiny-cuda-nn's half-cell shift and
    half-precision features. So its trained tables cannot be read here.
    """

    def __init__(
        self,
        config: HashGridConfig | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.config = config or HashGridConfig()
        # Draw on the CPU, or where the generator is: the numbers are the same for every device.
        source = generator.device if generator is not None else torch.device("cpu")
        tables = []
        for count in self.config.entries():
            table = torch.rand(count, self.config.features, generator=generator, dtype=dtype, device=source)
            tables.append(torch.nn.Parameter(((table * 2 - 1) * _INITIAL_SPREAD).to(device)))
        self.tables = torch.nn.ParameterList(tables)

    @property
    def channels(self) -> int:
        return self.config.levels * self.config.features

    def forward(self, point: torch.Tensor) -> torch.Tensor:
        features = []
        for resolution, table in zip(self.config.resolutions(), self.tables, strict=True):
            index, weight = vertex_taps(point, resolution, len(table))
            features.append(weighted_sum(table, index, weight))
        return torch.cat(features, 1)


def vertex_taps(point: torch.Tensor, resolution: int, entries: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Table entries and trilinear weights of the eight vertices around each point: [S, 3] -> int32, float [S, 8].

    point       in 0..1
    resolution  cells along an axis
    entries     of the table: one for each vertex, (resolution + 1)^3, or fewer, a power of two, through the hash
    """
    scaled = point * resolution
    low = scaled.detach().floor().clamp(0, resolution - 1)
    fraction = scaled - low
    low = low.long()
    dense = entries == (resolution + 1) ** 3
    factors = (1, resolution + 1, (resolution + 1) ** 2) if dense else _PRIMES
    # For each axis, its part of the address for the lower and for the upper vertex.
    parts = [torch.stack([low[:, k], low[:, k] + 1], 1) * factors[k] for k in range(3)]
    shares = [torch.stack([1 - fraction[:, k], fraction[:, k]], 1) for k in range(3)]
    x, y, z = parts[0][:, None, None, :], parts[1][:, None, :, None], parts[2][:, :, None, None]
    index = x + y + z if dense else (x ^ y ^ z) & (entries - 1)
    weight = shares[0][:, None, None, :] * shares[1][:, None, :, None] * shares[2][:, :, None, None]
    return index.reshape(-1, 8).int(), weight.reshape(-1, 8)
