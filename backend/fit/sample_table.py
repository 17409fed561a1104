"""The sample table: what each reference pixel sees, computed once.

Geometry and cameras do not change during a fit, so visibility, interpolation and texture footprints do not either. The
table holds one row for every reference pixel that shows the object away from its edges. An iteration of the fit reads
rows and never rasterizes. The table leaves out pixels at silhouettes and at edges between a near and a far part: their
reference color blends what lies on both sides. Where alpha is fitted, the table also holds the surfaces behind, up to a
number of depth layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
import torch.nn.functional as F

from render.bsdf.ggx import GgxTable
from render.geometry.camera import Camera
from render.geometry.mesh import Mesh
from render.raster.kernels.triton_provider import triton_fragments
from render.raster.portable import Rasterizer
from render.raster.surface import ShadingPoints, surface_points
from render.shading.shadow_maps import SkyVisibility
from render.shading.visibility import LightCells, ShadowFactors, shadow_factors

# A neighbor pixel further than this many pixel footprints from the tangent plane belongs to another part.
_DISCONTINUITY_FOOTPRINTS = 3.0
_OPAQUE = 0.999
_ALPHA_LAYERS = 4
_WITH_BAKED = 8  # channels of an image


@dataclass(frozen=True)
class SampleTable(ShadingPoints):
    """Rows of surface points [P, K, ...]; P pixels with K depth layers each, near to far (K = 1 unless alpha is fitted).

    position    float [P, K, 3], world
    valid       bool  [P, K], whether the layer exists
    color       float [P, 3], reference radiance, linear, premultiplied by alpha
    alpha       float [P], reference coverage
    view_index  int32 [P], which reference view; pixel int32 [P, 2], row and column in it
    corner      int32 [P, K, 3], the vertices around the point; barycentric float [P, K, 3], their weights
    baked       float [P, 3], what the same pixel is with the materials that the fit begins with, or None
    shadow      factors of self-shadowing, [P, K, ...], or None
    """

    position: torch.Tensor
    valid: torch.Tensor
    color: torch.Tensor
    alpha: torch.Tensor
    view_index: torch.Tensor
    pixel: torch.Tensor
    corner: torch.Tensor
    barycentric: torch.Tensor
    baked: torch.Tensor | None = None
    shadow: ShadowFactors | None = None

    def __len__(self) -> int:
        return len(self.color)

    def rows(self, index: torch.Tensor) -> SampleTable:
        """The table of the given pixels, int64 [N]."""
        return _rows_of(self, index)

    @property
    def bytes(self) -> int:
        """Bytes of all columns."""
        shadow = 0 if self.shadow is None else self.shadow.diffuse.nbytes + self.shadow.specular.nbytes
        return shadow + sum(column.nbytes for column in _columns_of(self).values())


@dataclass(frozen=True)
class StepRows(ShadingPoints):
    """What an iteration of the fit reads of a `SampleTable`, with the same fields: 73 bytes a row, 48 more with shadows.

    lobes  float [P, K, 9], what lies over the base and is not fitted: emission, coat and sheen as in `LOBES`; or None
    """

    valid: torch.Tensor
    color: torch.Tensor
    alpha: torch.Tensor
    view_index: torch.Tensor
    lobes: torch.Tensor | None = None
    shadow: ShadowFactors | None = None

    def __len__(self) -> int:
        return len(self.color)

    def rows(self, index: torch.Tensor) -> StepRows:
        """The rows of the given pixels, int64 [N]."""
        return _rows_of(self, index)


def step_rows(table: SampleTable | StepRows) -> StepRows:
    """The part of a table that the iterations read."""
    if isinstance(table, StepRows):
        return table
    columns = _columns_of(table)
    return StepRows(**{name: columns[name] for name in _COLUMNS[StepRows] if name in columns}, shadow=table.shadow)


_Rows = TypeVar("_Rows", SampleTable, StepRows)
_COLUMNS = {kind: [f.name for f in fields(kind) if f.name != "shadow"] for kind in (SampleTable, StepRows)}


def _columns_of(table: SampleTable | StepRows) -> dict[str, torch.Tensor]:
    """All fields that there are, except the shadow factors, by name."""
    columns = {name: getattr(table, name) for name in _COLUMNS[type(table)]}
    return {name: column for name, column in columns.items() if column is not None}


def _rows_of(table: _Rows, index: torch.Tensor) -> _Rows:
    shadow = None if table.shadow is None else table.shadow.rows(index)
    return type(table)(**{name: column[index] for name, column in _columns_of(table).items()}, shadow=shadow)


def sample_view(mesh: Mesh, camera: Camera, image: torch.Tensor, view_index: int, layers: int = 1) -> SampleTable:
    """The rows of one reference [H, W, 4 or 8]; see `sample_views`."""
    return sample_views(mesh, [camera], image[None], view_index, layers)


def sample_views(
    mesh: Mesh,
    cameras: Sequence[Camera],
    images: torch.Tensor,
    first_index: int = 0,
    layers: int = 1,
    rasterizer: Rasterizer = triton_fragments,
) -> SampleTable:
    """The rows of several references, ordered by view, then pixel.

    images       float [N, H, W, 4], linear, premultiplied, row 0 at the top; or [N, H, W, 8]: then the last four channels
                 are the same views with the materials that the fit begins with
    first_index  view_index of the first; the others follow
    layers       depth layers to keep; with more than one, the rows include pixels that the reference does not fully cover
    """
    views, height, width = images.shape[:3]
    clip = torch.stack([camera.to_clip(mesh.position) for camera in cameras])
    fragments = rasterizer(clip, mesh.triangles, (height, width), layers)
    points = surface_points(mesh, cameras, fragments)
    slot = torch.full((layers, views * height * width), -1, dtype=torch.int64, device=images.device)
    slot[fragments.layer, fragments.pixel] = torch.arange(len(fragments.pixel), device=images.device)

    nearest = slot[0].clamp(min=0).reshape(views, height, width)
    covered = (slot[0] >= 0).reshape(views, height, width)
    if len(fragments.pixel) == 0:
        interior = covered.reshape(-1)
    else:
        interior = _interior(covered, points.position[nearest], points.normal[nearest]).reshape(-1)
    flat = images.reshape(-1, images.shape[3])
    if layers == 1:
        interior &= flat[:, 3] > _OPAQUE
    pixel = interior.nonzero()[:, 0]
    row = slot[:, pixel].T
    chosen = row.clamp(min=0)
    values = {name: getattr(points, name)[chosen] for name in vars(points) if name in _COLUMNS[SampleTable]}
    in_view = pixel % (height * width)
    return SampleTable(
        valid=row >= 0,
        color=flat[pixel, :3].float(),
        alpha=flat[pixel, 3].float(),
        view_index=(first_index + pixel // (height * width)).int(),
        pixel=torch.stack([in_view // width, in_view % width], dim=-1).int(),
        corner=mesh.triangles[fragments.triangle].int()[chosen],
        barycentric=fragments.barycentric[chosen],
        baked=flat[pixel, 4:7].float() if images.shape[3] == _WITH_BAKED else None,
        **values,
    )


def concatenate(tables: Sequence[_Rows]) -> _Rows:
    """One table of several tables whose shadow factors are not computed yet, with the columns that all have."""
    parts = [_columns_of(table) for table in tables]
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return type(tables[0])(**{name: torch.cat([part[name] for part in parts]) for name in names}, shadow=None)


def joined(tables: Sequence[SampleTable], places: Sequence[torch.Tensor]) -> SampleTable:
    """One table of parts of a table, with their shadow factors; places: the rows int64 [N] of each part in it."""
    table = concatenate(tables)
    order = torch.argsort(torch.cat(list(places)))
    shadows = [part.shadow for part in tables if part.shadow is not None]
    if not shadows:
        return table.rows(order)
    factors = ShadowFactors(
        torch.cat([shadow.diffuse for shadow in shadows]), torch.cat([shadow.specular for shadow in shadows])
    )
    return replace(table, shadow=factors).rows(order)


def with_self_shadowing(
    table: SampleTable,
    sky: SkyVisibility,
    cells: LightCells,
    blocker: torch.Tensor,
    ggx: GgxTable,
    cancelled: Callable[[], bool] = lambda: False,
) -> SampleTable:
    """The table with shadow factors: what each row sees of the sky of its mesh, on the side that its view shows."""
    chosen, shared = _representatives(table, seen_from_behind(table, sky.mesh))
    corner, barycentric = table.corner.reshape(-1, 3)[chosen].long(), table.barycentric.reshape(-1, 3)[chosen]
    view = table.view.reshape(-1, 3)[chosen]
    factors = shadow_factors(
        table.normal.reshape(-1, 3)[chosen],
        view,
        lambda part: sky.of_points(corner[part], barycentric[part], view[part]),
        cells,
        blocker,
        ggx,
        cancelled,
    )
    shape = table.valid.shape
    return replace(
        table,
        shadow=ShadowFactors(
            factors.diffuse[shared].reshape(*shape, 3), factors.specular[shared].reshape(*shape, -1, 3)
        ),
    )


def seen_from_behind(table: SampleTable, mesh: Mesh) -> torch.Tensor:
    """The rows whose view shows the side that the normals of their mesh point away from, bool [P, K]."""
    along = torch.zeros_like(table.footprint)
    for i in range(3):
        along += (mesh.normal[table.corner[..., i].long()] * table.normal).sum(-1) * table.barycentric[..., i]
    return table.valid & (along < 0)


def _representatives(table: SampleTable, behind: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One row for each 2 x 2 block of pixels of a view, and for each row its block's: shadows change little over a pixel.

    A block that shows both sides of the surface (`behind`, bool [P, K], see `seen_from_behind`) has a row for each. Where
    the table keeps several layers, every row stands for itself.
    """
    pixels, layers = table.valid.shape
    if layers > 1:
        every = torch.arange(pixels * layers, device=table.color.device)
        return every, every
    row, column = (table.pixel // 2).long().unbind(-1)
    block = (table.view_index.long() << 40) | (row << 20) | (column << 1) | behind[:, 0].long()
    _, shared = torch.unique(block, return_inverse=True)
    chosen = torch.zeros(int(shared.max()) + 1 if pixels else 0, dtype=torch.int64, device=shared.device)
    chosen[shared] = torch.arange(pixels, device=shared.device)
    return chosen, shared


def blocker_radiance(table: SampleTable, direction: torch.Tensor) -> torch.Tensor:
    """The light that the object itself sends against each direction [D, 3], [D, 3].

    A blocked ray along d ends on a surface that faces against d. Its color is taken to be the mean reference color of all
    surfaces that do.
    """
    total = torch.zeros(len(direction), 4).to(direction)
    colors = F.pad(table.color, (0, 1), value=1.0)
    for start in range(0, len(table), 65536):
        facing = (-table.normal[start : start + 65536, 0] @ direction.T).clamp(min=0)
        total += facing.T @ colors[start : start + 65536]
    return total[:, :3] / total[:, 3:].clamp(min=1e-6)


def layers_for(maps: Sequence[str]) -> int:
    """How many depth layers a fit of these maps needs."""
    return _ALPHA_LAYERS if "alpha" in maps else 1


def _interior(covered: torch.Tensor, position: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """The pixels whose eight neighbors are covered too and lie on about the same surface, bool [N, H, W].

    covered bool [N, H, W]; position, normal [N, H, W, 3], anything where not covered
    """
    if min(covered.shape[1:]) < 3:
        return torch.zeros_like(covered)
    # World size of a pixel across the line of sight: the median step to the right neighbor is robust and cheap.
    step = (position[:, :, 1:] - position[:, :, :-1]).norm(dim=-1)
    known = torch.where(covered[:, :, :-1] & covered[:, :, 1:], step, torch.nan)
    footprint = known.flatten(1).nanmedian(dim=1).values.nan_to_num()[:, None, None]

    same = covered.clone()
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        near = torch.roll(position, (-dy, -dx), dims=(1, 2))
        inside = torch.roll(covered, (-dy, -dx), dims=(1, 2))
        if dy:
            inside[:, -1 if dy > 0 else 0] = False
        if dx:
            inside[:, :, -1 if dx > 0 else 0] = False
        off_plane = ((near - position) * normal).sum(-1).abs()
        same &= inside & (off_plane < _DISCONTINUITY_FOOTPRINTS * footprint)
    return same
