"""The materials of a .glb or .gltf as maps that a fit begins with, by its JSON alone.

glTF 2.0: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html#reference-material
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .start_maps import WHOLE, Family, FoundMaps, ImageBytes, StartMapsError, Taken, header_of

MAGIC, JSON_CHUNK, BINARY_CHUNK = b"glTF", 0x4E4F534A, 0x004E4942
HEADER, CHUNK = 12, 8
STRENGTH = "KHR_materials_emissive_strength"
Json = dict[str, Any]


def gltf_maps(path: Path) -> FoundMaps:
    """The maps of each material of a glTF. Raises StartMapsError if it cannot be read, or uses what no map can say."""
    try:
        data = path.read_bytes()
        content, binary_start = _parts(data)
        file = _Gltf(path, content, binary_start)
        materials = content.get("materials", [])
        families = [file.family(number, material) for number, material in enumerate(materials)]
    except OSError as error:
        raise StartMapsError(f"{path} cannot be read: {error.strerror}.", "Check its path.") from error
    except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        raise StartMapsError(f"{path} is no glTF that can be read: {error}.", "Export it again.") from error
    if not families:
        raise StartMapsError(f"{path} has no materials.", "Choose another file, or a folder of maps.")
    return FoundMaps(str(path), tuple(families), tuple(file.left))


def _parts(data: bytes) -> tuple[Json, int]:
    """The JSON, and where the binary chunk of a .glb begins (0: there is none). Raises ValueError."""
    if not data.startswith(MAGIC):
        return dict(json.loads(data.decode("utf-8"))), 0
    content: Json = {}
    place, binary = HEADER, 0
    while place + CHUNK <= len(data):
        length, kind = struct.unpack("<II", data[place : place + CHUNK])
        if place + CHUNK + length > len(data):
            raise ValueError("its end is missing")
        if kind == JSON_CHUNK:
            content = json.loads(data[place + CHUNK : place + CHUNK + length])
        elif kind == BINARY_CHUNK:
            binary = place + CHUNK
        place += CHUNK + length
    return content, binary


@dataclass
class _Gltf:
    path: Path
    content: Json
    binary_start: int
    left: list[tuple[str, str]] = field(default_factory=list)

    def family(self, number: int, material: Json) -> Family:
        name = str(material.get("name", f"Material {number}"))
        base = material.get("pbrMetallicRoughness", {})
        taken: list[Taken] = []
        numbers: dict[str, tuple[float, ...]] = {}
        color = tuple(float(value) for value in base.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0)))
        rough, metal = float(base.get("roughnessFactor", 1.0)), float(base.get("metallicFactor", 1.0))
        transparent = material.get("alphaMode", "OPAQUE") != "OPAQUE"
        if "baseColorTexture" in base:
            image = self._image(base["baseColorTexture"], name)
            header = header_of(image)
            taken.append(Taken("base_color", image, WHOLE, header, factor=color[:3]))
            if transparent and header.has_alpha is not False:
                taken.append(Taken("alpha", image, "alpha", header, factor=color[3:]))
        else:
            numbers["base_color"] = color[:3]
        if transparent and not any(item.signal == "alpha" for item in taken):
            numbers["alpha"] = color[3:]
        if "metallicRoughnessTexture" in base:
            image = self._image(base["metallicRoughnessTexture"], name)
            header = header_of(image)
            taken.append(Taken("roughness", image, "green", header, factor=(rough,)))
            taken.append(Taken("metallic", image, "blue", header, factor=(metal,)))
        else:
            numbers |= {"roughness": (rough,), "metallic": (metal,)}
        taken += self._others(material, name)
        for extension in material.get("extensions", {}):
            if extension != STRENGTH:
                self.left.append((f"{name}: {extension}", "no map that a fit begins with"))
        return Family(name, {0: tuple(taken)}, numbers)

    def _others(self, material: Json, name: str) -> Iterator[Taken]:
        if "normalTexture" in material:
            image = self._image(material["normalTexture"], name)
            scale = float(material["normalTexture"].get("scale", 1.0))
            yield Taken("normal", image, WHOLE, header_of(image), factor=(scale, scale, 1.0))
        if "occlusionTexture" in material:
            image = self._image(material["occlusionTexture"], name)
            if float(material["occlusionTexture"].get("strength", 1.0)) == 1.0:
                yield Taken("occlusion", image, "red", header_of(image))
            else:
                self.left.append((f"{name}: {image.name}", "occlusion is not at full strength"))
        light = [float(value) for value in material.get("emissiveFactor", (0.0, 0.0, 0.0))]
        if "emissiveTexture" in material and any(light):
            strength = float(material.get("extensions", {}).get(STRENGTH, {}).get("emissiveStrength", 1.0))
            image = self._image(material["emissiveTexture"], name)
            factor = tuple(value * strength for value in light)
            yield Taken("emission", image, WHOLE, header_of(image), factor=factor)

    def _image(self, use: Json, material: str) -> ImageBytes:
        if use.get("texCoord", 0) or "KHR_texture_transform" in use.get("extensions", {}):
            raise StartMapsError(
                f'The material "{material}" of {self.path.name} moves its textures, or reads them by a second UV map.',
                "Import it in Blender and bake it with Bake Maps, then begin with what it saves.",
            )
        texture = self.content["textures"][use["index"]]
        source = texture.get("source", texture.get("extensions", {}).get("EXT_texture_webp", {}).get("source"))
        if source is None:
            raise StartMapsError(
                f'A texture of "{material}" in {self.path.name} is of a type that Blender does not read.',
                "Export it with PNG, JPEG or WebP.",
            )
        image = self.content["images"][source]
        name = str(image.get("name") or image.get("uri") or f"image {source}")
        if "uri" in image:
            return ImageBytes(self._file(image["uri"]), name)
        view = self.content["bufferViews"][image["bufferView"]]
        buffer = self.content["buffers"][view["buffer"]]
        start, length = int(view.get("byteOffset", 0)), int(view["byteLength"])
        if "uri" in buffer:
            return ImageBytes(self._file(buffer["uri"]), name, start, length)
        return ImageBytes(str(self.path), name, self.binary_start + start, length)

    def _file(self, uri: str) -> str:
        if uri.startswith("data:"):
            raise StartMapsError(
                f"{self.path.name} has its images as text in it.", "Export it as .glb, or with separate files."
            )
        return str(self.path.parent / unquote(uri))
