"""Preview frames: meshes with their maps under a light, as a viewport shows them. Fast, and without gradients.

`render.images.render_mesh.render_mesh` defines what a frame looks like. On a GPU three kernels draw it: two find the
visibility of all samples (`render.raster.kernels.triton_provider`), and one shades and composites
(`render.preview.kernels.preview_triton`). From the second frame of a kind on they are one CUDA graph, which reads the
camera from a small buffer; nothing waits for the device. Where Triton does not run, `render.preview.plain` draws.

What differs from `render_mesh`: only samples smooth silhouettes (`antialiased=False`), because finding the exact edges
would cost more than the frame; several samples a pixel are shaded once for each triangle among them (`msaa=True`); there
may be several parts with maps of their own; and maps may have openness, by which shading is multiplied.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F

from render.bsdf.fg_lut import fg_lut
from render.bsdf.ggx import ggx_table
from render.bsdf.sheen import sheen_table
from render.geometry.camera import Camera
from render.geometry.mesh import Mesh
from render.light.environment import PrefilteredLight
from render.material.material import MaterialMaps
from render.preview.parts import MapRows, PreviewParts, map_rows
from render.preview.plain import Drawing
from render.raster.kernels.triton_provider import CAMERA_VALUES, VisibilityBuffer, can_rasterize
from render.texture.fixed_lookup import mip_count

Channel = Literal["shaded", "kd", "occlusion", "roughness", "metallic", "normal", "light", "depth", "distance"]
PreviewModel = Literal["principled", "nvdiffrec"]

_NEEDS_LIGHT = ("shaded", "light")
_OF_GEOMETRY = ("depth", "distance")
_FAST_SAMPLES = (1, 2, 4)
_FG_SIZE = 256
# Kinds of frames whose buffers and graphs are kept.
_KINDS_KEPT = 4


class _Settings(NamedTuple):
    """What frames of one kind have in common."""

    views: int
    resolution: tuple[int, int]
    spp: int
    layers: int
    channel: Channel
    model: PreviewModel
    dtype: torch.dtype
    has_backdrop: bool

    @property
    def is_lit(self) -> bool:
        return self.channel in _NEEDS_LIGHT


@dataclass
class _Kind:
    """The buffers of frames of one kind, and their graph from the second frame on.

    uploaded    float64: for each view the matrices from world to camera and from there to clip space, then the background's
                color, so that one copy brings all
    background  that color, or float32 [N, H, W, 3]
    """

    image: torch.Tensor
    uploaded: torch.Tensor
    cameras: torch.Tensor
    background: torch.Tensor
    visibility: VisibilityBuffer
    drawn: bool = False
    graph: torch.cuda.CUDAGraph | None = None


class PreviewRenderer:
    """Draws frames of meshes on one device. Set maps (and for shading a light) first; all can change between frames.

    The next frame of the same kind (views, size, samples, channel, model, type) overwrites a frame's tensor: clone what
    must last. Use a renderer from one thread and one stream at a time.
    """

    def __init__(
        self, mesh: Mesh | Sequence[Mesh], device: torch.device | str, materials: Sequence[int] | None = None
    ) -> None:
        """Prepare to draw a mesh, or the meshes of several parts.

        materials  the number of each part's material; None: each part has a material of its own

        Raises ValueError where a mesh has no triangles.
        """
        self.device = torch.device(device)
        self.parts = PreviewParts([mesh] if isinstance(mesh, Mesh) else mesh, self.device, materials)
        self._light: PrefilteredLight | None = None
        self._kinds: OrderedDict[_Settings, _Kind] = OrderedDict()
        self._atlas = self._irradiance = torch.zeros(1, device=self.device)
        self._tables: dict[bool, torch.Tensor] = {}
        self._sheen: torch.Tensor | None = None

    def set_maps(self, maps: MaterialMaps, openness: torch.Tensor | None = None, material: int = 0) -> None:
        """Show these maps of a material from now on; they are copied, and coarser levels are added.

        openness  [h, w] of any size, 1 where nothing is occluded; None: nothing is occluded anywhere
        """
        self.set_rows({material: map_rows(maps, openness, self.device)})

    @torch.no_grad()
    def set_rows(self, maps: Mapping[int, MapRows]) -> None:
        """Show maps of several materials, made by `render.preview.parts.map_rows`; they are copied only where necessary."""
        if not self.parts.set_maps(maps):
            self._kinds.clear()

    @torch.no_grad()
    def place(self, mesh: Mesh, part: int = 0) -> None:
        """Give a part another place or form: as many vertices, and the same triangles."""
        self.parts.place(part, mesh)

    @torch.no_grad()
    def set_light(self, light: PrefilteredLight) -> None:
        """Show this light, made by `EnvironmentLight.build_mips`, from now on; it is copied."""
        if self._light is not None and (light.layout.places, light.levels) != (
            self._light.layout.places,
            self._light.levels,
        ):
            self._kinds.clear()
        atlas, irradiance = light.atlas.detach().to(self.device), light.irradiance.detach().to(self.device)
        # Channels are innermost, and there is a fourth, so that one load reads a texel.
        self._atlas = self._kept(self._atlas, F.pad(atlas.permute(0, 2, 3, 1), (0, 1)))
        self._irradiance = self._kept(self._irradiance, irradiance)
        self._light = replace(light, atlas=self._atlas[..., :-1].permute(0, 3, 1, 2), irradiance=self._irradiance)

    @torch.no_grad()
    def frame(
        self,
        cameras: Camera | Sequence[Camera],
        resolution: tuple[int, int],
        spp: int = 1,
        model: PreviewModel = "principled",
        channel: Channel = "shaded",
        background: torch.Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        layers: int = 1,
    ) -> torch.Tensor:
        """Draw views [N, H, W, 4], row 0 at the top, linear, premultiplied and over the background; alpha is the coverage.

        cameras     of the N views, on any device; those on the CPU take less time to pass
        resolution  (height, width)
        spp         samples along each side of a pixel (2 means 4); 1, 2 and 4 are fast
        channel     "shaded"; "kd"; "occlusion" (openness), "roughness" and "metallic" as gray; "normal", in world space,
                    mapped to 0..1; "light", the irradiance / pi on a white surface; "depth", z/w as gray (`render_mesh`
                    has 1 where nothing is); "distance" along the camera's axis as gray, in the world's units
        background  linear color behind, [3], [H, W, 3] or [N, H, W, 3]; None is black
        dtype       of the result, float32 or float16 (what is too bright for it becomes its largest number)
        layers      depth layers, composited near to far where maps have alpha; "depth" and "distance" always show the
                    nearest surface, even a transparent one

        Raises ValueError for unknown settings, for sizes that do not fit, where maps or a light are missing, and for maps
        with coat, sheen or emission by the model "nvdiffrec".
        """
        cameras = [cameras] if isinstance(cameras, Camera) else list(cameras)
        behind = torch.zeros(3) if background is None else background
        height, width = resolution
        settings = _Settings(len(cameras), (height, width), spp, layers, channel, model, dtype, behind.ndim > 1)
        self._check(settings)
        shape = (len(cameras), height, width, 3)
        if settings.has_backdrop:
            if tuple(behind.shape) not in (shape, shape[1:], (1, *shape[1:])):
                raise ValueError(
                    f"a background is [3] or {list(shape)}, not {list(behind.shape)}: resize it to the image"
                )
            behind = behind.expand(shape)
        if channel in _OF_GEOMETRY or not self.parts.has_alpha:
            settings = settings._replace(layers=1)
        if not self._is_fast(settings):
            cameras = [camera.to(self.device) for camera in cameras]
            light = self._light if settings.is_lit else None
            drawing = Drawing(self.parts, cameras, light, settings.resolution, spp, settings.layers, channel, model)
            image = drawing.draw(behind.to(self.device))
            return image if dtype == torch.float32 else image.clamp_(max=torch.finfo(dtype).max).to(dtype)
        kind = self._kind(settings)
        _upload(kind, cameras, behind)
        with torch.cuda.device_of(kind.image):  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
            self._draw(kind, settings)
        return kind.image

    def _check(self, settings: _Settings) -> None:
        views, resolution, spp, layers, channel, model, dtype, _ = settings
        if min(views, *resolution, spp, layers) < 1:
            raise ValueError(
                f"resolution {resolution}, spp {spp}, layers {layers} and {views} cameras must be 1 or more"
            )
        if channel not in get_args(Channel) or model not in get_args(PreviewModel):
            raise ValueError(
                f"there is no channel {channel!r} or no model {model!r}: choose from {list(get_args(Channel))} and "
                f"{list(get_args(PreviewModel))}"
            )
        if dtype not in (torch.float32, torch.float16):
            raise ValueError(f"a frame is float32 or float16, not {dtype}")
        if not self.parts.is_complete or (self._light is None and settings.is_lit):
            raise ValueError(f"{channel!r} needs maps and, where it is lit, a light: call set_maps and set_light first")

        if model != "principled" and channel == "shaded" and self.parts.has_lobes:
            raise ValueError(f"the model {model!r} has no coat, sheen and emission: draw with 'principled'")

    def _kept(self, buffer: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Put values into the buffer that graphs know, or into a new one where they do not fit."""
        if buffer.shape == values.shape:
            return buffer.copy_(values)
        self._kinds.clear()
        return values.to(torch.float32, copy=True, memory_format=torch.contiguous_format)

    def _is_fast(self, settings: _Settings) -> bool:
        if settings.spp not in _FAST_SAMPLES or not can_rasterize(self.device, settings.resolution, settings.spp):
            return False
        light = self._light
        return not settings.is_lit or (light is not None and light.rotation is None and light.atlas.shape[1] == 3)

    def _table(self, is_nvdiffrec: bool) -> tuple[torch.Tensor, int]:
        """The model's table, terms innermost, and its size. The table is kept, because graphs read it."""
        if is_nvdiffrec not in self._tables:
            table = fg_lut(_FG_SIZE, self.device) if is_nvdiffrec else ggx_table(self.device).values[0].permute(1, 2, 0)
            self._tables[is_nvdiffrec] = table.contiguous()
        return self._tables[is_nvdiffrec], self._tables[is_nvdiffrec].shape[0]

    def _sheen_table(self) -> torch.Tensor:
        """The table of sheen, terms innermost; any tensor where no material has lobes. It is kept, because graphs read it."""
        if not self.parts.has_lobes:
            return self._irradiance
        if self._sheen is None:
            self._sheen = sheen_table(self.device)[0].permute(1, 2, 0).contiguous()
        return self._sheen

    def _kind(self, settings: _Settings) -> _Kind:
        """The buffers of frames of a kind; the kinds that were not used for the longest time lose theirs."""
        if settings in self._kinds:
            self._kinds.move_to_end(settings)
            return self._kinds[settings]
        while len(self._kinds) >= _KINDS_KEPT:
            self._kinds.popitem(last=False)
        views, resolution, spp, layers, *_ = settings
        shared = [kind.visibility for other, kind in self._kinds.items() if other[:4] == settings[:4]]
        if not shared:
            shared = [VisibilityBuffer(views, len(self.parts.triangles), resolution, spp, self.device, layers)]
        uploaded = torch.empty(32 * views + 3, dtype=torch.float64, device=self.device)
        backdrop = torch.empty(views, *resolution, 3, device=self.device) if settings.has_backdrop else None
        self._kinds[settings] = _Kind(
            image=torch.empty(views, *resolution, 4, dtype=settings.dtype, device=self.device),
            uploaded=uploaded,
            cameras=torch.empty(views, CAMERA_VALUES, dtype=torch.float64, device=self.device),
            background=uploaded[32 * views :] if backdrop is None else backdrop,
            visibility=shared[0],
        )
        return self._kinds[settings]

    def _draw(self, kind: _Kind, settings: _Settings) -> None:
        if kind.graph is not None:
            kind.graph.replay()
            return
        if not kind.drawn or self.device.type != "cuda":
            # The first frame also compiles the kernels, which is impossible during the capture of a graph; and a viewport
            # whose size changes never shows a second frame of a kind.
            self._launch(kind, settings)
            kind.drawn = True
            return
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            # Not `torch.cuda.graph`, which waits for the device and collects garbage; others may use CUDA at the same time.
            graph.capture_begin(capture_error_mode="thread_local")
            self._launch(kind, settings)
            graph.capture_end()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        kind.graph = graph
        graph.replay()

    def _launch(self, kind: _Kind, settings: _Settings) -> None:
        # Late: Triton is not installed on every machine.
        from render.preview.kernels.preview_triton import resolve
        from render.raster.kernels.rasterize_triton import compose_cameras

        visibility = kind.visibility
        views, (height, width) = visibility.views, visibility.resolution
        compose_cameras[(views,)](kind.uploaded, kind.cameras, num_warps=1)
        parts, light = self.parts, self._light if settings.is_lit else None
        visibility.draw(parts.positions, kind.cameras, parts.triangles)
        is_nvdiffrec = settings.model == "nvdiffrec" and settings.channel == "shaded"
        table, table_size = self._table(is_nvdiffrec)
        grid = ((width + 7) // 8, (height + 7) // 8, views)
        resolve[grid](
            visibility.keys, visibility.marks, visibility.counters, visibility.counters.numel(), kind.cameras,
            parts.vertices, parts.triangles, parts.material, parts.table, parts.texels, parts.alphas, parts.openness,
            parts.lobes, *parts.resolution(0), mip_count(parts.resolution(0)), table, self._sheen_table(),
            self._irradiance, self._atlas,
            kind.background, kind.image, width, height,
            SPP=settings.spp, CHANNEL=settings.channel, NVDIFFREC=is_nvdiffrec, SEVERAL=parts.count > 1,
            HAS_ALPHA=parts.has_alpha, HAS_OPENNESS=parts.has_openness, HAS_LOBES=parts.has_lobes,
            HAS_BACKDROP=settings.has_backdrop, LAYERS=settings.layers, TABLE_SIZE=table_size,
            PLACES=() if light is None else light.layout.places, ATLAS_WIDTH=0 if light is None else light.layout.width,
            KNOWN=() if light is None else tuple(level.roughness for level in light.levels),
            num_warps=2,
        )  # fmt: skip


def _upload(kind: _Kind, cameras: list[Camera], background: torch.Tensor) -> None:
    """Copy cameras and background to the device, without waiting for it."""
    values = [matrix.reshape(-1) for camera in cameras for matrix in (camera.view, camera.projection)]
    together = kind.background.ndim == 1 and background.device == values[0].device
    if together:
        values.append(background.to(values[0]))
    joined = torch.cat(values).double()
    kind.uploaded[: len(joined)].copy_(joined, non_blocking=True)
    if not together:
        kind.background.copy_(background, non_blocking=True)
