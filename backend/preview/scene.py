"""A scene of the preview as it lies on the device: its parts, their looks or the maps of jobs, and its light."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from backend.job.tables import KNOWN_LIGHT_RESOLUTION
from backend.preview.look import LARGEST_MAPS, BoundLook, Images, PreviewError, look_rows, look_size
from backend.preview.place import band_of, box_corners, placed, seen_rect, sky_directions, world_corners
from backend.protocol.frames import NO_DEPTH, FrameRequest
from backend.protocol.scene_description import Arrays, MeshDescription, PartDescription, SceneDescription
from render.geometry.camera import Camera
from render.geometry.mesh import Mesh, MeshError, mesh_from_arrays
from render.light.cube_atlas import CubeAtlas
from render.light.environment import PrefilteredLight, env_from_latlong
from render.light.prefilter import default_levels
from render.material.material import MaterialMaps
from render.preview.parts import MapRows, map_rows
from render.preview.renderer import Channel, PreviewRenderer
from render.texture.map_size import MapSize

_MESH_ARRAYS = tuple(item.name for item in fields(MeshDescription))
_DTYPES = {"float16": torch.float16, "float32": torch.float32}
# What the maps of all looks together may take: on a GPU a share of its memory.
_MOST_BYTES, _GPU_SHARE = 2 << 30, 0.25
# A texel with its coarser levels: nine or ten floats.
_TEXEL_BYTES = 50
_DARKNESS_RESOLUTION = 16
# So many samples are drawn at once: one takes 0.4 kB on a CPU. On a GPU (True) it takes far less.
_BAND_SAMPLES = {False: 4 << 20, True: 64 << 20}
_SKY_ROWS = 16

Job = tuple[str, int]
Key = tuple[object, ...]


@dataclass(frozen=True)
class SceneFrame:
    """image: [H, W, 4] on the device, premultiplied linear Rec.709, which the next frame may overwrite.

    rect: (top, left, height, width) that holds all that is not empty.
    """

    image: torch.Tensor
    rect: tuple[int, int, int, int]


class _LocalMesh(NamedTuple):
    """A mesh in its own space, its box's corners, float64 [8, 3], and the arrays it was read from."""

    mesh: Mesh
    corners: NDArray[Any]
    arrays: tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class _Part:
    mesh: Key
    matrix: NDArray[Any]
    look: BoundLook
    job: Job | None

    @property
    def form(self) -> tuple[object, ...]:
        """Parts of the same form have the same vertices and triangles, wherever they are placed."""
        return self.mesh, bool(np.linalg.det(self.matrix[:3, :3]) < 0)


class LoadedScene:
    """Draws a scene of docs/protocol.md on one device, from one thread.

    Arrays are read-only; `updated` tells by their identity what is new, and works that out alone.
    """

    def __init__(self, description: SceneDescription, arrays: Arrays, device: torch.device | str) -> None:
        """Raises `PreviewError`, and `ProtocolError` where arrays are missing or of another kind."""
        self.device = torch.device(device)
        self._images = Images(self.device)
        self._meshes: dict[Key, _LocalMesh] = {}
        self._parts: list[_Part] = []
        # What each material of the renderer is: a look's key or a job's.
        self._materials: dict[Key, int] = {}
        self._numbers: list[int] = []
        self._boxes = np.zeros((0, 8, 3))
        self._jobs: set[Job] = set()
        self._largest = LARGEST_MAPS
        self._renderer: PreviewRenderer | None = None
        self._environment: NDArray[Any] | None = None
        self._light = _darkness(self.device)
        self._sky: tuple[tuple[object, ...], torch.Tensor] | None = None
        self.updated(description, arrays)

    @torch.no_grad()
    def updated(self, description: SceneDescription, arrays: Arrays) -> LoadedScene:
        """This scene, changed to another description. Raises as `__init__`; then it is as it was.

        Where the light is None, that of `set_light` stays; one of an earlier description goes.
        """
        description.check_arrays(arrays)
        meshes = dict(self._meshes)
        parts = [self._bind(part, arrays, meshes) for part in description.parts]
        parts = [part for part in parts if len(part.mesh)]
        environment = _finite(arrays[description.light]) if isinstance(description.light, str) else None
        light = self._light
        if environment is not None and environment is not self._environment:
            light = _prefiltered(environment, self.device)
        elif environment is None and self._environment is not None:
            light = _darkness(self.device)
        self._show(parts, meshes, self._jobs & {part.job for part in parts}, {})
        self._images.keep([array for part in parts for array in part.look.textures])
        self._environment = environment
        self._show_light(light)
        return self

    @torch.no_grad()
    def set_job_maps(self, job_id: str, set_index: int, maps: MaterialMaps, openness: torch.Tensor | None) -> None:
        """Show a job's maps on the parts that are of it, from now on; copied. Other jobs' maps are left aside.

        openness  [h, w] of any size, or None: nothing occludes
        """
        job = (job_id, set_index)
        if job in {part.job for part in self._parts}:
            rows = map_rows(maps, openness, self.device)
            self._show(self._parts, self._meshes, self._jobs | {job}, {("job", *job): rows})

    @torch.no_grad()
    def set_light(self, light: NDArray[Any] | PrefilteredLight | None) -> None:
        """Another light: equirectangular float32 [H, W, 3], or one that is prefiltered already; None is darkness.

        Raises `PreviewError`.
        """
        if isinstance(light, np.ndarray):
            light = _prefiltered(_finite(light), self.device)
        self._environment = None
        self._show_light(_darkness(self.device) if light is None else light)

    @torch.no_grad()
    def frame(self, request: FrameRequest) -> SceneFrame:
        """A frame. With the background "light" it is opaque: the finest level of the light is behind.

        The channel "depth" is the distance along the camera's axis at each pixel's centre, whatever `spp`; `NO_DEPTH` where
        nothing is, and no background.
        """
        view, projection = (np.array(rows, np.float64) for rows in (request.view, request.projection))
        size, dtype = (request.height, request.width), _DTYPES[request.dtype]
        is_depth = request.channel == "depth"
        has_sky = request.background == "light" and not is_depth
        behind = torch.full((3,), NO_DEPTH) if is_depth else torch.zeros(3)
        if has_sky:
            behind = self._sky_behind(view, projection, size)
        if self._renderer is None:
            image = torch.zeros(*size, 4, device=self.device)
            image[..., :3] = behind.to(self.device)
            image = image.clamp_(max=torch.finfo(dtype).max).to(dtype)
        else:
            image = self._drawn(self._renderer, request, view, projection, behind)
        if has_sky:
            image[..., 3] = 1
            return SceneFrame(image, (0, 0, *size))
        return SceneFrame(image, seen_rect(self._boxes, projection @ view, size))

    def _drawn(
        self,
        renderer: PreviewRenderer,
        request: FrameRequest,
        view: NDArray[Any],
        projection: NDArray[Any],
        behind: torch.Tensor,
    ) -> torch.Tensor:
        """The frame [H, W, 4], in bands of rows where its samples would take too much memory at once."""
        spp = 1 if request.channel == "depth" else request.spp
        per_row = request.width * spp**2
        rows = max(1, min(request.height, _BAND_SAMPLES[self.device.type == "cuda"] // per_row))
        bands = []
        for first in range(0, request.height, rows):
            count = min(rows, request.height - first)
            band = renderer.frame(
                Camera(torch.from_numpy(view), torch.from_numpy(band_of(projection, request.height, first, count))),
                (count, request.width),
                spp,
                channel="distance" if request.channel == "depth" else cast(Channel, request.channel),  # of `CHANNELS`
                background=behind if behind.ndim == 1 else behind[first : first + count],
                dtype=_DTYPES[request.dtype],
                layers=request.layers,
            )[0]
            if count == request.height:
                return band
            bands.append(band.clone())  # the next may overwrite it
        return torch.cat(bands)

    def _bind(self, part: PartDescription, arrays: Arrays, meshes: dict[Key, _LocalMesh]) -> _Part:
        """A part with its arrays; its mesh is the empty key where nothing of it can be seen."""
        own = tuple(arrays[name] for name in part.mesh.names)
        matrix, look = np.array(part.matrix, np.float64), BoundLook(part.look, arrays)
        job = (part.job.id, part.job.set) if part.job is not None else None
        key = tuple(map(id, own))
        if own[-1].size == 0 or np.linalg.det(matrix[:3, :3]) == 0:
            return _Part((), matrix, look, job)
        if key not in meshes:
            meshes[key] = _local_mesh(own, self.device)
        return _Part(key, matrix, look, job)

    def _show(
        self, parts: list[_Part], meshes: dict[Key, _LocalMesh], jobs: set[Job], changed: dict[Key, MapRows]
    ) -> None:
        """Arrange the renderer: what it has already is kept."""
        keys = [("job", *part.job) if part.job in jobs else ("look", *part.look.key) for part in parts]
        materials = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        looks = {key: part.look for key, part in zip(keys, parts, strict=True) if key[0] == "look"}
        sizes = {key: look_size(look, self._images) for key, look in looks.items()}
        largest = _largest_maps(list(sizes.values()), self.device)
        known = {key for key in self._materials if key[0] == "job" or largest == self._largest} - set(changed)
        fresh = changed | {
            key: look_rows(look, self._images, self.device, _cut(sizes[key], largest))
            for key, look in looks.items()
            if key not in known
        }
        numbers = [materials[key] for key in keys]
        forms, old_forms = ([part.form for part in some] for some in (parts, self._parts))
        renderer = self._renderer
        stays = forms == old_forms and numbers == self._numbers
        moved = {key for key in set(materials) & known if not stays or self._materials[key] != materials[key]}
        if renderer is not None:
            for key in moved:
                rows = renderer.parts.maps(self._materials[key])
                # Views of buffers that are written to, or of much that nobody else needs any more, are copied.
                fresh[key] = _copied(rows) if stays or len(materials) == 1 else rows
        if renderer is not None and stays:
            for number, (part, old) in enumerate(zip(parts, self._parts, strict=True)):
                if not np.array_equal(part.matrix, old.matrix):
                    renderer.place(placed(meshes[part.mesh].mesh, part.matrix), number)
        else:
            renderer = None
            if parts:
                bodies = [placed(meshes[part.mesh].mesh, part.matrix) for part in parts]
                renderer = PreviewRenderer(bodies, self.device, numbers)
                renderer.set_light(self._light)
        if fresh and renderer is not None:
            renderer.set_rows({materials[key]: rows for key, rows in fresh.items()})
        used = {part.mesh for part in parts}
        self._renderer, self._parts = renderer, parts
        self._meshes = {key: mesh for key, mesh in meshes.items() if key in used}
        self._materials, self._numbers, self._jobs, self._largest = materials, numbers, jobs, largest
        boxes = [world_corners(meshes[part.mesh].corners, part.matrix) for part in parts]
        self._boxes = np.stack(boxes) if boxes else np.zeros((0, 8, 3))

    def _show_light(self, light: PrefilteredLight) -> None:
        if light is self._light:
            return
        self._light, self._sky = light, None
        if self._renderer is not None:
            self._renderer.set_light(light)

    def _sky_behind(self, view: NDArray[Any], projection: NDArray[Any], size: tuple[int, int]) -> torch.Tensor:
        """The light behind each pixel's centre, [H, W, 3]; that of the last camera is kept."""
        key = (view[:3, :3].tobytes(), projection.tobytes(), size)
        if self._sky is None or self._sky[0] != key:
            directions = sky_directions(view, projection, size, self.device)
            # On a CPU by rows that stay in its caches.
            parts = torch.split(directions, _SKY_ROWS) if self.device.type == "cpu" else (directions,)
            self._sky = key, torch.cat([self._light.specular(part, torch.zeros_like(part[..., 0])) for part in parts])
        return self._sky[1]


def _local_mesh(arrays: tuple[NDArray[Any], ...], device: torch.device) -> _LocalMesh:
    try:
        mesh = mesh_from_arrays(dict(zip(_MESH_ARRAYS, arrays, strict=True)))
    except MeshError as error:
        raise PreviewError(f"A mesh cannot be shown: {error}.", "Check the mesh in Blender.") from error
    return _LocalMesh(mesh.to(device), box_corners(mesh), arrays)


def _finite(environment: NDArray[Any]) -> NDArray[Any]:
    """The same. Raises `PreviewError` where it is not finite."""
    if not np.isfinite(environment).all():
        raise PreviewError("The light holds values that are not finite.", "Clamp the world's image or its strength.")
    return environment


def _prefiltered(environment: NDArray[Any], device: torch.device) -> PrefilteredLight:
    """As the fit has it."""
    image = torch.from_numpy(np.array(environment[..., :3], np.float32)).clamp(min=0)
    return env_from_latlong(image, KNOWN_LIGHT_RESOLUTION, device).build_mips()


def _darkness(device: torch.device) -> PrefilteredLight:
    levels = tuple(default_levels(_DARKNESS_RESOLUTION))
    layout = CubeAtlas([level.resolution for level in levels], device)
    atlas = torch.zeros(1, layout.height, layout.width, 3, device=device).permute(0, 3, 1, 2)
    return PrefilteredLight(torch.zeros(9, 3, device=device), atlas, layout, levels)


def _largest_maps(sizes: list[MapSize], device: torch.device) -> int:
    """The longest edge with which maps of these sizes fit into the memory that they may have."""
    budget = _MOST_BYTES
    if device.type == "cuda":
        budget = int(torch.cuda.get_device_properties(device).total_memory * _GPU_SHARE)
    largest = LARGEST_MAPS
    while largest > 1 and sum(_cut(size, largest).texels for size in sizes) * _TEXEL_BYTES > budget:
        largest //= 2
    return largest


def _cut(size: MapSize, largest: int) -> MapSize:
    """The size with no edge longer than `largest`."""
    return MapSize(min(size.height, largest), min(size.width, largest))


def _copied(rows: MapRows) -> MapRows:
    """Rows of their own, not a view of the buffer that others are to be written to."""
    alpha, openness = (None if values is None else values.clone() for values in (rows.alpha, rows.openness))
    return replace(rows, texels=rows.texels.clone(), alpha=alpha, openness=openness)
