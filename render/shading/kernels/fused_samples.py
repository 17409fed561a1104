"""The part of a fit's iteration that goes over samples, in one kernel: texture lookup, shading, loss, and all gradients.

With operators of PyTorch, a hundred of them, an iteration on a GPU spends most of its time writing each sample's values
between one operator and the next. Here a sample is read once (68 bytes with its texel coordinates, 48 more with
shadows), and its gradient is added to the texels and to the light that it met.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from render.bsdf.fg_lut import fg_lut
from render.bsdf.ggx import GgxTable
from render.core.kernels import has_triton, passes_tuples
from render.light.environment import PrefilteredLight
from render.shading.models import ShadingModel
from render.shading.visibility import ROUGHNESS_NODES, ShadowFactors
from render.texture.map_size import MapSize, Size, map_size

_BLOCK = 128
# Without a bound, the compiler takes 127 to 210 registers a lane. With at most 168 it spills none to memory; with 128 it
# spills about 40, but a third more samples run at the same time.
_REGISTERS = 128
_CHANNELS = 8
# Addresses within an array are 32 bits wide.
_MOST = 2**31


def can_fuse(pyramid_rows: torch.Tensor, light: object, model: str, layers: int = 1, samples: int = 1) -> bool:
    """Whether `fused_sample_gradients` can be used; else the caller takes the plain way.

    It can on CUDA (or where Triton interprets) in float32, for the models "principled" and "nvdiffrec", one depth layer
    and opaque materials without coat, sheen and emission (8 channels), under a `PrefilteredLight` of three channels that is
    not turned, for at least one sample, and up to 200 million texels and samples.
    """
    if not (has_triton(pyramid_rows.device) and passes_tuples()):
        return False
    if not isinstance(light, PrefilteredLight) or light.rotation is not None:
        return False
    if light.atlas.shape[1] != 3 or light.atlas.dtype != torch.float32:
        return False
    is_opaque = layers == 1 and pyramid_rows.shape[1] == _CHANNELS
    is_small = pyramid_rows.numel() < _MOST and 0 < samples < _MOST // 10
    return is_opaque and is_small and pyramid_rows.dtype == torch.float32 and model in ("principled", "nvdiffrec")


@dataclass(frozen=True)
class SampleGradients:
    """The loss of samples, a scalar, and its gradients.

    texels      [T, 8], to the pyramid's rows
    atlas       [H, W, 4], to the light's atlas, channels innermost, the fourth 0; None where the light is known
    irradiance  [9, 3], to its irradiance; None where the light is known
    """

    loss: torch.Tensor
    texels: torch.Tensor
    atlas: torch.Tensor | None
    irradiance: torch.Tensor | None


def fused_sample_gradients(
    pyramid_rows: torch.Tensor,
    uv: torch.Tensor,
    level: torch.Tensor,
    resolution: Size,
    levels: int,
    normal: torch.Tensor,
    tangent: torch.Tensor,
    sign: torch.Tensor,
    view: torch.Tensor,
    color: torch.Tensor,
    alpha: torch.Tensor,
    light: PrefilteredLight,
    table: GgxTable,
    model: ShadingModel,
    huber: float | torch.Tensor,
    shadow: ShadowFactors | None = None,
    first: torch.Tensor | None = None,
    count: int | None = None,
    learn_light: bool = False,
    total: int | None = None,
    onto: torch.Tensor | None = None,
) -> SampleGradients:
    """The fit's loss of samples, and its gradients to the texels and, with `learn_light`, to the light.

    pyramid_rows  float32 [T, 8], `render.texture.fixed_lookup.pyramid` of maps [H, W, 8] with `levels` levels
    resolution    of the maps: (height, width), or one number for both
    uv, level     float32 [N, 2] and [N], level of detail
    normal, tangent, sign, view   float32 [N, 3], [N, 3], [N, 1] and [N, 3], see `render.raster.surface.ShadingPoints`
    color, alpha  float32 [N, 3] and [N], the reference
    huber         where the loss of a residual turns from square to linear; as a tensor [] on the device it is read in each run
    shadow        factors [N, 3] and [N, 3 nodes, 3], or None
    first, count  the samples are rows first .. first + count - 1, `first` int64 on the device; None: all rows
    total, onto   for a batch in several lights, whose samples come with one call for each light: how many they all are, and
                  the gradient [T, 8] of the other calls, to which that of this call is added; None: these are all

    The columns from uv to alpha may have a layer axis, [N, 1, ...], as the table's columns have; contiguous ones are not
    copied.

    The loss is the mean over samples and channels of Huber's loss of the residual in linear radiance, times the slope
    of log-sRGB at the prediction (held constant), plus the mean of (1 - alpha)^2. Except for rounding it is what
    `lookup_at`, `shade_texels` and the loss of the fit give one after another: the atlas is read within the face, where
    float32 has more digits than `grid_sample` has across the atlas. Atomics add the gradients, so last digits vary.
    A CUDA graph can capture it: it does not synchronize with the host, and no allocation depends on values.

    Raises ValueError for shapes, types or lights that `can_fuse` refuses.
    """
    columns = {"uv": uv, "level": level, "normal": normal, "tangent": tangent, "sign": sign, "view": view}
    columns |= {"color": color, "alpha": alpha}
    batch = _batch(pyramid_rows, columns, resolution, levels, light, table, model, huber, shadow, first, count, total)
    if onto is not None and (
        onto.shape != pyramid_rows.shape or onto.dtype != torch.float32 or not onto.is_contiguous()
    ):
        raise ValueError(
            f"the gradient is added to contiguous float32 {list(pyramid_rows.shape)}, not {list(onto.shape)}"
        )
    return _launch(pyramid_rows.detach(), batch, learn_light, onto=onto)


def fused_sample_error(
    pyramid_rows: torch.Tensor,
    uv: torch.Tensor,
    level: torch.Tensor,
    resolution: Size,
    levels: int,
    normal: torch.Tensor,
    tangent: torch.Tensor,
    sign: torch.Tensor,
    view: torch.Tensor,
    color: torch.Tensor,
    light: PrefilteredLight,
    table: GgxTable,
    model: ShadingModel,
    shadow: ShadowFactors | None = None,
) -> torch.Tensor:
    """The mean squared error of samples in sRGB, clipped to 0..1, a scalar on the device.

    Arguments and errors are those of `fused_sample_gradients`.
    """
    columns = {"uv": uv, "level": level, "normal": normal, "tangent": tangent, "sign": sign, "view": view}
    columns |= {"color": color, "alpha": level}
    batch = _batch(pyramid_rows, columns, resolution, levels, light, table, model, 0.0, shadow, None, None)
    return _launch(pyramid_rows.detach(), batch, learn_light=False, measure=True).loss


def _batch(
    pyramid_rows: torch.Tensor,
    columns: dict[str, torch.Tensor],
    resolution: Size,
    levels: int,
    light: PrefilteredLight,
    table: GgxTable,
    model: ShadingModel,
    huber: float | torch.Tensor,
    shadow: ShadowFactors | None,
    first: torch.Tensor | None,
    count: int | None,
    total: int | None = None,
) -> _Batch:
    """Check what the kernel reads; raises ValueError."""
    rows = len(columns["uv"])
    if not can_fuse(pyramid_rows, light, model, samples=max(1, rows)):
        raise ValueError("these samples cannot be fused: ask can_fuse first, and take the plain way where it says no")
    if (first is None) != (count is None):
        raise ValueError("a batch within the rows needs both its first row and its count")
    samples = rows if count is None else count
    if not 0 < samples <= rows:
        raise ValueError(f"a batch has between one sample and the {rows} there are, not {samples}")
    if shadow is not None:
        columns = columns | {"shadow.diffuse": shadow.diffuse, "shadow.specular": shadow.specular}
    for name, column in columns.items():
        if column.dtype != torch.float32 or column.numel() != rows * _WIDTHS[name]:
            raise ValueError(
                f"{name} has {_WIDTHS[name]} float32 for each of {rows} rows, not {column.dtype} {list(column.shape)}"
            )
    kept = tuple(column.contiguous() for column in columns.values())
    bound = huber if isinstance(huber, torch.Tensor) else pyramid_rows.new_full((), huber)
    return _Batch(kept, map_size(resolution), levels, light, table, model, bound, first, samples, total or samples)


_WIDTHS = {"uv": 2, "level": 1, "normal": 3, "tangent": 3, "sign": 1, "view": 3, "color": 3, "alpha": 1}
_WIDTHS |= {"shadow.diffuse": 3, "shadow.specular": 3 * len(ROUGHNESS_NODES)}


@dataclass(frozen=True)
class _Batch:
    """What the kernel reads and gives no gradient to; `rows` has the columns in the order of its arguments."""

    rows: tuple[torch.Tensor, ...]
    resolution: MapSize
    levels: int
    light: PrefilteredLight
    table: GgxTable
    model: ShadingModel
    huber: torch.Tensor
    first: torch.Tensor | None
    samples: int
    total: int


def _launch(
    texels: torch.Tensor, batch: _Batch, learn_light: bool, measure: bool = False, onto: torch.Tensor | None = None
) -> SampleGradients:
    # Late: Triton is not installed on every machine.
    from render.shading.kernels.fused_samples_triton import fused_samples

    uv, level, normal, tangent, sign, view, color, alpha, *shadow = batch.rows
    table, size = _table(batch, texels)
    irradiance = batch.light.irradiance.detach().contiguous()
    # Channels are innermost in the atlas already; its gradient has a fourth one, see `spread_atlas`.
    inner = batch.light.atlas.detach().permute(0, 2, 3, 1).contiguous()[0]
    texel_gradient = texels if measure else onto
    if texel_gradient is None:
        texel_gradient = torch.zeros_like(texels, memory_format=torch.contiguous_format)
    atlas_gradient = inner.new_zeros(*inner.shape[:2], 4) if learn_light else None
    programs = (batch.samples + _BLOCK - 1) // _BLOCK
    partial = texels.new_empty(programs, 1 + irradiance.numel() if learn_light else 1)
    fused_samples[(programs,)](
        texels.contiguous(), texel_gradient, uv, level, *batch.resolution, batch.levels,
        normal, tangent, sign, view, color, alpha, *(shadow or (color, color)),
        uv if batch.first is None else batch.first, batch.samples, batch.total,
        table, irradiance, inner, inner if atlas_gradient is None else atlas_gradient, partial, batch.huber,
        NVDIFFREC=batch.model == "nvdiffrec", SHADOWED=bool(shadow), OFFSET=batch.first is not None,
        LEARN_LIGHT=learn_light, MEASURE=measure,
        TABLE_SIZE=size, SHADOW_NODES=ROUGHNESS_NODES, ATLAS_WIDTH=inner.shape[1], PLACES=batch.light.layout.places,
        KNOWN=tuple(level.roughness for level in batch.light.levels), BLOCK=_BLOCK, **_compiling(),
    )  # fmt: skip
    total = partial.sum(0)
    return SampleGradients(
        total[0], texel_gradient, atlas_gradient, total[1:].view_as(irradiance) if learn_light else None
    )


def _compiling() -> dict[str, int]:
    """One sample for each lane; AMD's compiler has no bound on registers."""
    warps = {"num_warps": _BLOCK // 32}
    return warps if torch.version.hip else warps | {"maxnreg": _REGISTERS}


def _table(batch: _Batch, like: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The model's table, terms innermost, and its size."""
    if batch.model == "nvdiffrec":
        lut = fg_lut(256, like.device, like.dtype)
        return lut, lut.shape[0]
    values = batch.table.values
    return values[0].permute(1, 2, 0).to(like).contiguous(), values.shape[2]
