# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preview shows: meshes, where they are, how they look, and the light; for this Blender's GPU or the backend."""

from __future__ import annotations

from dataclasses import dataclass, field

import bpy
import numpy as np

from ...protocol.client.events import LightPreview
from .images import sent_image

SRGB, LINEAR = "srgb", "linear"


@dataclass(frozen=True)
class Texture:
    """An image that a look reads.

    key: names the pixels, and changes with them; image_uid: session_uid of the image of the file, 0 for pixels that no
    image holds; pixels: uint8 [h, w, 4], row 0 at the top, where the image is not one of the file's; channel: the one that
    is read, None: red, green and blue; encoding: "srgb" or "linear", what stored values mean (Blender's own GPU textures
    of images of the file are linear already); tile: number of the UDIM tile, 0: the image has none.
    """

    key: str
    image_uid: int
    pixels: np.ndarray | None = field(compare=False)
    channel: int | None
    encoding: str
    tile: int = 0


@dataclass(frozen=True)
class Look:
    """A material as the preview can show it: values, or textures read through the part's UV map.

    kd: linear base colour; openness: 1 is open; normal: a tangent-space map (+Y), None: the mesh's normals.
    """

    kd: Texture | tuple[float, float, float]
    alpha: Texture | float
    roughness: Texture | float
    metallic: Texture | float
    openness: Texture | float = 1.0
    normal: Texture | None = None

    @property
    def textures(self) -> tuple[Texture, ...]:
        """The textures it reads."""
        values = (self.kd, self.alpha, self.roughness, self.metallic, self.openness, self.normal)
        return tuple(value for value in values if isinstance(value, Texture))


NEUTRAL = Look(kd=(0.5, 0.5, 0.5), alpha=1.0, roughness=0.5, metallic=0.0)


@dataclass(frozen=True)
class PreviewPart:
    """Triangles of an object that look alike.

    key: names the geometry, and changes with it; arrays: vertex_position, vertex_normal [N, 3], vertex_tangent [N, 4],
    vertex_uv [N, 2] float32, triangles [T, 3] int32, of the object's own space in the renderer's axes; matrix: float64
    [4, 4], from there to the world in the renderer's axes; look: with maps in the making, where a fit makes some for this
    part; job: identifier of the running job and number of the set that it makes for this part, or None; fallback: what the
    backend is told instead of `look` where that differs: a look without maps in the making, or with UDIM tiles.
    """

    key: str
    arrays: dict[str, np.ndarray] = field(compare=False)
    matrix: np.ndarray = field(compare=False)
    look: Look
    job: tuple[str, int] | None = None
    fallback: Look | None = None


@dataclass(frozen=True)
class Environment:
    """The light: radiance float32 [H, W, 3], equirectangular in Blender's mapping, row 0 at the top; key: its hash."""

    key: str
    radiance: np.ndarray = field(compare=False)


@dataclass(frozen=True)
class PreviewScene:
    """All that is shown.

    environment: the world's light, None while it is not known; notes: what is shown otherwise than Blender would, or not
    yet; learned: the light that the running job learns as it is now (with the fields of `PreparedLight`), shown instead of
    the environment, and light_job: that job's identifier.
    """

    parts: tuple[PreviewPart, ...]
    environment: Environment | None
    notes: tuple[str, ...] = ()
    learned: LightPreview | None = field(default=None, compare=False)
    light_job: str = ""


def description(scene: PreviewScene) -> tuple[dict, dict[str, np.ndarray]]:
    """The scene for the backend: JSON, and the arrays that it names. A name never stands for other content later.

    Maps in the making are not in it: the backend has them, and shows newer ones by itself. Images go as the bytes of
    their files (uint8 [n]) where these are at hand, else as pixels.
    """
    arrays: dict[str, np.ndarray] = {}
    images = {image.session_uid: image for image in bpy.data.images}

    def sent(value: Texture | float | tuple[float, float, float] | None) -> dict | float | list[float] | None:
        if not isinstance(value, Texture):
            return list(value) if isinstance(value, tuple) else value
        encoding = value.encoding
        if value.pixels is not None:
            arrays[value.key] = value.pixels
        else:
            arrays[value.key], encoding = sent_image(images[value.image_uid], encoding, value.tile)
        return {"array": value.key, "channel": value.channel, "encoding": encoding}

    parts = []
    for part in scene.parts:
        mesh = {}
        for name, array in part.arrays.items():
            mesh[name] = f"{part.key}/{name}"
            arrays[mesh[name]] = array
        look = part.look if part.fallback is None else part.fallback
        fields = ("kd", "alpha", "roughness", "metallic", "openness", "normal")
        parts.append(
            {
                "mesh": mesh,
                "matrix": part.matrix.tolist(),
                "look": {name: sent(getattr(look, name)) for name in fields},
                "job": {"id": part.job[0], "set": part.job[1]} if part.job else None,
            }
        )
    light: dict | str | None = None
    if scene.light_job:
        light = {"job": scene.light_job}
    elif scene.environment is not None:
        light = f"light/{scene.environment.key[:32]}"
        arrays[light] = scene.environment.radiance
    return {"parts": parts, "light": light}, arrays
