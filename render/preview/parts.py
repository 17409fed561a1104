"""The buffers of a preview: the meshes of its parts and their maps, joined so that one drawing shows them all.

A part is a mesh that has one material; parts may share a material. Triangles are numbered over all parts, so visibility,
layers and samples are decided among all of them. The buffers tell the material of each triangle, and where the texels of
each material lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.geometry.mesh import Mesh
from render.material.material import NORMAL, MaterialLayout, MaterialMaps
from render.texture.fixed_lookup import mip_count, pyramid
from render.texture.map_size import MapSize
from render.texture.sampling import shrink_axis

# Columns of `PreviewParts.vertices`.
POSITION, NORMAL_COLUMNS, TANGENT, SIGN = slice(0, 3), slice(4, 7), slice(8, 11), slice(11, 12)
UV = slice(3, 8, 4)
# Columns of `MapRows.lobes`.
COAT, SHEEN_ROUGHNESS, SHEEN_COLOR, EMISSION = slice(0, 2), slice(2, 3), slice(4, 7), slice(8, 11)
LOBE_COLUMNS = 12


@dataclass(frozen=True)
class MapRows:
    """Maps in the form that previews look up: the texels of all levels, finest first, row by row.

    texels    float32 [n, 8], the channels that all `MaterialMaps` have
    alpha     float32 [n], or None: opaque
    openness  float32 [n], 1 where nothing occludes, or None: 1 everywhere
    lobes     float32 [n, 12], or None: none. Coat's weight and roughness, sheen's roughness, 0; sheen's color, 0; emission, 0
    """

    resolution: MapSize
    texels: torch.Tensor
    alpha: torch.Tensor | None = None
    openness: torch.Tensor | None = None
    lobes: torch.Tensor | None = None

    @property
    def levels(self) -> int:
        return mip_count(self.resolution)

    def fits(self, other: MapRows) -> bool:
        """Whether the other's values fit into the place of these."""
        kinds = [
            (rows.resolution, rows.alpha is None, rows.openness is None, rows.lobes is None) for rows in (self, other)
        ]
        return kinds[0] == kinds[1]


@torch.no_grad()
def map_rows(maps: MaterialMaps, openness: torch.Tensor | None, device: torch.device) -> MapRows:
    """Copy maps, and their openness ([h, w] of any size, or None), to the device, and add coarser levels."""
    texels = maps.texels.detach().to(device, torch.float32)
    levels = mip_count(maps.resolution)
    rows = pyramid(texels, levels)
    flat = alpha = None
    if openness is not None:
        image = _fitted(openness.detach().to(device, torch.float32), maps.resolution)
        flat = pyramid(image[..., None], levels)[:, 0]
    layout = maps.layout
    if layout.alpha is not None:
        alpha = rows[:, layout.alpha.start].contiguous()
    lobes = _lobe_rows(rows, layout)
    if rows.shape[1] > NORMAL.stop:
        rows = rows[:, : NORMAL.stop].contiguous()
    return MapRows(maps.resolution, rows, alpha, flat, lobes)


def _lobe_rows(rows: torch.Tensor, layout: MaterialLayout) -> torch.Tensor | None:
    """The columns `lobes` of rows [n, C]."""
    if layout.coat is None and layout.sheen is None and layout.emission is None:
        return None
    lobes = rows.new_zeros(len(rows), LOBE_COLUMNS)
    if layout.coat is not None:
        lobes[:, COAT] = rows[:, layout.coat]
    if layout.sheen is not None:
        sheen = rows[:, layout.sheen]
        lobes[:, SHEEN_COLOR], lobes[:, SHEEN_ROUGHNESS] = sheen[:, :3], sheen[:, 3:]
    if layout.emission is not None:
        lobes[:, EMISSION] = rows[:, layout.emission]
    return lobes


def _fitted(image: torch.Tensor, resolution: MapSize) -> torch.Tensor:
    """An image [h, w] at another resolution: along each axis means where that is coarser, else bilinear."""
    for axis, edge in enumerate(resolution):
        if image.shape[axis] >= edge:
            image = shrink_axis(image, axis, edge)
    if image.shape == tuple(resolution):
        return image
    return F.interpolate(image[None, None], size=resolution, mode="bilinear", align_corners=False)[0, 0]


class PreviewParts:
    """The buffers, float32 except where another type is named; V vertices, T triangles, M materials, n texels of all levels.

    vertices   [V, 12]: position and u, normal and v, tangent and sign
    positions  [V, 3]
    triangles  int32 [T, 3]
    material   int32 [T], the number of each triangle's material
    table      int32 [M, 4]: each material's first texel, the height and width of its maps, and number of levels
    texels     [n, 8]
    alphas     [n], or [1] where all are opaque
    openness   [n], or [1] where nothing is occluded anywhere
    lobes      [n, 12], or [1, 12] where no material has coat, sheen or emission
    """

    def __init__(self, meshes: Sequence[Mesh], device: torch.device, materials: Sequence[int] | None = None) -> None:
        """Join meshes, one for each part.

        materials  the number of each part's material, from 0 without gaps; None: each part has a material of its own

        Raises ValueError where there is no mesh, or a mesh has no triangles.
        """
        if not meshes or not all(len(mesh.triangles) for mesh in meshes):
            raise ValueError("a preview needs meshes with triangles: leave out those without")
        materials = range(len(meshes)) if materials is None else materials
        self.device, self.count = device, max(materials) + 1
        self._ends = torch.tensor([0] + [len(mesh.position) for mesh in meshes]).cumsum(0).tolist()
        self.vertices = torch.cat([_vertex_rows(mesh.to(device)) for mesh in meshes])
        self.positions = self.vertices[:, POSITION].contiguous()
        starts = zip(meshes, self._ends, strict=False)
        self.triangles = torch.cat([(mesh.triangles.to(device) + start).int() for mesh, start in starts])
        counts = torch.tensor([len(mesh.triangles) for mesh in meshes], device=device)
        self.material = torch.tensor(list(materials), dtype=torch.int32, device=device).repeat_interleave(counts)
        self.table = torch.zeros(self.count, 4, dtype=torch.int32, device=device)
        self.texels = torch.zeros(1, 8, device=device)
        self.alphas = self.openness = torch.ones(1, device=device)
        self.lobes = torch.zeros(1, LOBE_COLUMNS, device=device)
        self.has_alpha = self.has_openness = self.has_lobes = False
        self._maps: dict[int, MapRows] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every material has maps."""
        return len(self._maps) == self.count

    def maps(self, number: int) -> MapRows:
        """The maps of a material, as views of the buffers."""
        return self._maps[number]

    def resolution(self, number: int) -> MapSize:
        """The size of a material's maps."""
        return self._maps[number].resolution

    def place(self, number: int, mesh: Mesh) -> None:
        """Give a part's mesh another form: as many vertices, and the same triangles."""
        start, end = self._ends[number : number + 2]
        rows = _vertex_rows(mesh.to(self.device))
        self.vertices[start:end] = rows
        self.positions[start:end] = rows[:, POSITION]

    def set_maps(self, maps: Mapping[int, MapRows]) -> bool:
        """Set the maps of some materials; returns whether the buffers stayed where they are."""
        if self.is_complete and all(self._maps[number].fits(rows) for number, rows in maps.items()):
            for number, rows in maps.items():
                self._write(number, rows)
            return True
        self._maps |= maps
        if self.is_complete:
            self._join()
        return False

    def _write(self, number: int, rows: MapRows) -> None:
        own = self._maps[number]
        for name in ("texels", "alpha", "openness", "lobes"):
            if getattr(own, name) is not None:
                getattr(own, name).copy_(getattr(rows, name))

    def _join(self) -> None:
        maps = [self._maps[number] for number in range(self.count)]
        lengths = [len(rows.texels) for rows in maps]
        self.has_alpha = any(rows.alpha is not None for rows in maps)
        self.has_openness = any(rows.openness is not None for rows in maps)
        self.texels = maps[0].texels if self.count == 1 else torch.cat([rows.texels for rows in maps])
        self.has_lobes = any(rows.lobes is not None for rows in maps)
        ones, nothing = torch.ones(1, device=self.device), torch.zeros(1, LOBE_COLUMNS, device=self.device)
        self.alphas = _joined([rows.alpha for rows in maps], lengths, ones)
        self.openness = _joined([rows.openness for rows in maps], lengths, ones)
        self.lobes = _joined([rows.lobes for rows in maps], lengths, nothing)
        starts = torch.tensor([0, *lengths[:-1]]).cumsum(0).tolist()
        sizes = [[start, *rows.resolution, rows.levels] for start, rows in zip(starts, maps, strict=True)]
        self.table.copy_(torch.tensor(sizes, dtype=torch.int32))
        for number, (rows, start, length) in enumerate(zip(maps, starts, lengths, strict=True)):
            stretch = slice(start, start + length)
            self._maps[number] = MapRows(
                rows.resolution,
                self.texels[stretch],
                None if rows.alpha is None else self.alphas[stretch],
                None if rows.openness is None else self.openness[stretch],
                None if rows.lobes is None else self.lobes[stretch],
            )


def _joined(values: list[torch.Tensor | None], lengths: list[int], absent: torch.Tensor) -> torch.Tensor:
    """A channel, or some, of all maps; `absent` [1, ...] where a map has none, and once where no map has it."""
    if all(value is None for value in values):
        return absent
    filled = [
        absent.expand(length, *absent.shape[1:]) if value is None else value
        for value, length in zip(values, lengths, strict=True)
    ]
    return torch.cat(filled)


def _vertex_rows(mesh: Mesh) -> torch.Tensor:
    u, v = mesh.uv.unbind(1)
    return torch.cat([mesh.position, u[:, None], mesh.normal, v[:, None], mesh.tangent], dim=1).float().contiguous()
