# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preview shows: meshes, where they are, how they look, and the light; for this Blender's GPU or the backend."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import bpy
from numpy.typing import NDArray

from ...protocol.client.events import LightPreview
from ...protocol.scene_description import (
    JobLight,
    JobMaps,
    LookDescription,
    MeshDescription,
    PartDescription,
    SceneDescription,
    TextureDescription,
)
from .images import sent_image


@dataclass(frozen=True)
class Texture:
    """An image that a look reads.

    key: names the pixels, and changes with them; image_uid: session_uid of the image of the file, 0 for pixels that no
    image holds; pixels: uint8 [h, w, 4], row 0 at the top, where the image is not one of the file's; channel: the one that
    is read, None: red, green and blue; encoding: "srgb", "linear" or `SCENE_LINEAR`, what stored values mean (Blender's
    own GPU textures of images of the file are scene linear already); tile: number of the UDIM tile, 0: the image has none.
    """

    key: str
    image_uid: int
    pixels: NDArray[Any] | None = field(compare=False)
    channel: int | None
    encoding: str
    tile: int = 0


@dataclass(frozen=True)
class Look:
    """A material as the preview can show it: values, or textures read through the part's UV map.

    kd: linear base color; openness: 1 is open; normal: a tangent-space map (+Y), None: the mesh's normals; coat, sheen: their
    weights, 0 without; emission: linear color, black without, times emission_strength.
    """

    kd: Texture | tuple[float, float, float]
    alpha: Texture | float
    roughness: Texture | float
    metallic: Texture | float
    openness: Texture | float = 1.0
    normal: Texture | None = None
    coat: Texture | float = 0.0
    coat_roughness: Texture | float = 0.0
    sheen: Texture | float = 0.0
    sheen_tint: Texture | tuple[float, float, float] = (1.0, 1.0, 1.0)
    sheen_roughness: Texture | float = 0.5
    emission: Texture | tuple[float, float, float] = (0.0, 0.0, 0.0)
    emission_strength: Texture | float = 1.0

    @property
    def textures(self) -> tuple[Texture, ...]:
        """The textures it reads."""
        values = (getattr(self, item.name) for item in fields(self))
        return tuple(value for value in values if isinstance(value, Texture))


NEUTRAL = Look(kd=(0.5, 0.5, 0.5), alpha=1.0, roughness=0.5, metallic=0.0)


@dataclass(frozen=True)
class PreviewPart:
    """Triangles of an object that look alike.

    key: names the geometry, and changes with it; arrays: vertex_position, vertex_normal [N, 3], vertex_tangent [N, 4],
    vertex_uv [N, 2] float32, triangles [T, 3] int32, of the object's own space in the renderer's axes; matrix: float64
    [4, 4], from there to the world in the renderer's axes; look: with the live maps of a running fit, where there are some
    for this part; job: identifier of the running job and number of the set that it fits for this part, or None; fallback:
    what the backend is told instead of `look` where that differs: a look without live maps, or with UDIM tiles; place: says
    which object's and slot's part it is, whatever its geometry.
    """

    key: str
    arrays: dict[str, NDArray[Any]] = field(compare=False)
    matrix: NDArray[Any] = field(compare=False)
    look: Look
    job: tuple[str, int] | None = None
    fallback: Look | None = None
    place: str = ""


@dataclass(frozen=True)
class Environment:
    """The light: radiance float32 [H, W, 3], equirectangular in Blender's mapping, row 0 at the top; key: its hash."""

    key: str
    radiance: NDArray[Any] = field(compare=False)


@dataclass(frozen=True)
class PreviewScene:
    """All that is shown.

    environment: the world's light, None while it is not known; notes: what differs from what Blender would show, or is
    not shown yet; learned: the light that the running job learns as it is now (with the fields of `PreparedLight`), shown
    instead of the environment, and light_job: that job's identifier.
    """

    parts: tuple[PreviewPart, ...]
    environment: Environment | None
    notes: tuple[str, ...] = ()
    learned: LightPreview | None = field(default=None, compare=False)
    light_job: str = ""


def description(scene: PreviewScene) -> tuple[SceneDescription, dict[str, NDArray[Any]]]:
    """The scene for the backend, and the arrays that it names. A name never stands for other content later.

    The maps of a running fit are not in it: the backend has them, and shows newer ones by itself. Images go as the bytes of
    their files (uint8 [n]) where these are at hand, else as pixels.
    """
    arrays: dict[str, NDArray[Any]] = {}
    images = {image.session_uid: image for image in bpy.data.images}

    def described(value: Any) -> Any:
        if not isinstance(value, Texture):
            return value
        encoding = value.encoding
        if value.pixels is not None:
            arrays[value.key] = value.pixels
        else:
            arrays[value.key], encoding = sent_image(images[value.image_uid], encoding, value.tile)
        return TextureDescription(value.key, value.channel, encoding)

    parts = []
    for part in scene.parts:
        names = {item.name: f"{part.key}/{item.name}" for item in fields(MeshDescription)}
        arrays |= {names[name]: array for name, array in part.arrays.items() if name in names}
        look = part.look if part.fallback is None else part.fallback
        values = {item.name: described(getattr(look, item.name)) for item in fields(LookDescription)}
        parts.append(
            PartDescription(
                MeshDescription(**names),
                tuple(map(tuple, part.matrix.tolist())),
                LookDescription(**values),
                JobMaps(*part.job) if part.job is not None else None,
            )
        )
    light: JobLight | str | None = None
    if scene.light_job:
        light = JobLight(scene.light_job)
    elif scene.environment is not None:
        light = f"light/{scene.environment.key[:32]}"
        arrays[light] = scene.environment.radiance
    return SceneDescription(tuple(parts), light), arrays
