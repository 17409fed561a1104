"""The metallic-roughness materials of glTF: images and factors, and the textures that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from render.core.image_io import ImageError, decode_image, encode_image
from render.files.gltf_package import pygltflib
from render.files.mtl import MaterialTextures
from render.geometry.mesh import Mesh
from render.texture.texture import Texture2D, srgb_to_rgb

_LINEAR, _LINEAR_MIPMAP_LINEAR, _REPEAT = 9729, 9987, 10497


IntegerImage = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True)
class GltfMaterial:
    """A metallic-roughness material; images are uint8 or uint16 [H, W, C] as stored, row 0 at the top, or None.

    kd      base color [H, W, 3], sRGB-encoded
    alpha   opacity [H, W, 1], linear; none: opaque
    orm     occlusion (1: open), roughness, metallic [H, W, 3], linear
    normal  tangent-space normal [H, W, 3], OpenGL (+Y up), 0..1
    base_color (linear RGBA), roughness, metallic, occlusion_strength, normal_scale    factors of the images, or the values
            themselves where there is no image
    """

    name: str
    kd: IntegerImage | None = None
    orm: IntegerImage | None = None
    normal: IntegerImage | None = None
    alpha: IntegerImage | None = None
    base_color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    roughness: float = 1.0
    metallic: float = 1.0
    occlusion_strength: float = 1.0
    normal_scale: float = 1.0
    double_sided: bool = True


@dataclass(frozen=True)
class GltfScene:
    """A glTF file: `mesh`, and for each number in `mesh.material` the material at that place in `materials`."""

    mesh: Mesh
    materials: list[GltfMaterial]


def gltf_textures(material: GltfMaterial) -> MaterialTextures:
    """The textures of a material: factors multiplied in, kd linear (4 channels if there is an alpha), ks with the
    occluded fraction 1 - R, normals -1..1 with their scale.

    Raises ImageError where alpha and kd differ in size.
    """
    color, opacity = torch.tensor(material.base_color[:3]), material.base_color[3]
    kd = color[None, None, None]
    if material.kd is not None:
        kd = kd * srgb_to_rgb(Texture2D(_unit_range(material.kd))).mips[0].detach()
    if material.alpha is not None or opacity < 1:
        alpha = torch.ones(1, 1, 1) if material.alpha is None else _unit_range(material.alpha)
        height, width = (max(kd.shape[i + 1], alpha.shape[i]) for i in range(2))
        if {tuple(kd.shape[1:3]), tuple(alpha.shape[:2])} - {(height, width), (1, 1)}:
            raise ImageError(f"alpha {list(alpha.shape)} does not fit on kd {list(kd.shape[1:])}: make them one size")
        kd = torch.cat([kd.expand(1, height, width, 3), (alpha * opacity).expand(1, height, width, 1)], dim=-1)
    orm = torch.ones(1, 1, 3) if material.orm is None else _unit_range(material.orm)
    occluded = (1 - orm[..., :1]) * material.occlusion_strength
    ks = torch.cat([occluded, orm[..., 1:2] * material.roughness, orm[..., 2:3] * material.metallic], dim=-1)
    if material.normal is None:
        return MaterialTextures(Texture2D(kd), Texture2D(ks))
    scale = torch.tensor([material.normal_scale, material.normal_scale, 1.0])
    return MaterialTextures(Texture2D(kd), Texture2D(ks), Texture2D((_unit_range(material.normal) * 2 - 1) * scale))


def _unit_range(image: IntegerImage) -> torch.Tensor:
    """An integer image as float32 [H, W, C], 0..1."""
    return torch.from_numpy(image.astype(np.float32) / np.iinfo(image.dtype).max)


def read_material(gltf: Any, number: int, image_bytes: Callable[[int], bytes]) -> GltfMaterial:
    """Material `number` of a file; -1 means the format's default. Raises ImageError for images that cannot be read."""
    if number < 0:
        return GltfMaterial("")
    material = gltf.materials[number]
    surface = material.pbrMetallicRoughness or pygltflib.PbrMetallicRoughness()

    def image(info: Any) -> IntegerImage | None:
        if info is None or info.index is None:
            return None
        if info.texCoord:
            raise ImageError(f"material {material.name!r} uses TEXCOORD_{info.texCoord}: only TEXCOORD_0 is read")
        if "KHR_texture_transform" in (info.extensions or {}):
            raise ImageError(
                f"material {material.name!r} moves a texture (KHR_texture_transform): bake that into the UVs"
            )
        source = gltf.textures[info.index].source
        if source is None:
            raise ImageError(f"material {material.name!r} has a texture in a format that is not read: use PNG or JPEG")
        return _decoded(image_bytes(source), f"image {source} of material {material.name!r}")

    color, orm = image(surface.baseColorTexture), image(surface.metallicRoughnessTexture)
    occlusion, normal = image(material.occlusionTexture), image(material.normalTexture)
    opaque = material.alphaMode in (None, "OPAQUE")
    factor = tuple(surface.baseColorFactor or (1.0,) * 4)
    return GltfMaterial(
        name=material.name or "",
        kd=None if color is None else color[..., :3],
        orm=_with_occlusion(orm, occlusion, material.name or ""),
        normal=None if normal is None else normal[..., :3],
        alpha=None if opaque or color is None or color.shape[-1] < 4 else color[..., 3:],
        base_color=(*factor[:3], 1.0) if opaque else factor,
        roughness=_number(surface.roughnessFactor),
        metallic=_number(surface.metallicFactor),
        occlusion_strength=_number(getattr(material.occlusionTexture, "strength", None)),
        normal_scale=_number(getattr(material.normalTexture, "scale", None)),
        double_sided=bool(material.doubleSided),
    )


def _number(value: float | None) -> float:
    return 1.0 if value is None else float(value)


def _decoded(data: bytes, name: str) -> IntegerImage:
    """The pixels of an image file in RGB(A) order, uint8 or uint16 [H, W, 3 or 4]."""
    image = decode_image(data, name)
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{name} holds {image.dtype}: use PNG or JPEG")
    return image if image.shape[-1] > 1 else image.repeat(3, -1)


def _with_occlusion(orm: IntegerImage | None, occlusion: IntegerImage | None, name: str) -> IntegerImage | None:
    """ORM in one image: R counts as occlusion only where the material says so."""
    if occlusion is None:
        if orm is None:
            return None
        merged = orm[..., :3].copy()
        merged[..., 0] = np.iinfo(orm.dtype).max
        return merged
    if orm is None:
        orm = np.full_like(occlusion[..., :3], np.iinfo(occlusion.dtype).max)
    if occlusion.shape[:2] != orm.shape[:2] or occlusion.dtype != orm.dtype:
        raise ImageError(f"material {name!r} has occlusion and roughness images of unlike sizes: make them one size")
    merged = orm[..., :3].copy()
    merged[..., 0] = occlusion[..., 0]
    return merged


def add_material(gltf: Any, material: GltfMaterial, add_bytes: Callable[[bytes], int]) -> None:
    """Append a material with its images to a file; `add_bytes` stores bytes and returns the number of their buffer view."""

    def texture(image: IntegerImage | None, what: str) -> int | None:
        if image is None:
            return None
        view = add_bytes(encode_image(".png", image))
        gltf.images.append(pygltflib.Image(bufferView=view, mimeType="image/png", name=f"{material.name}_{what}"))
        if not gltf.samplers:
            gltf.samplers.append(
                pygltflib.Sampler(magFilter=_LINEAR, minFilter=_LINEAR_MIPMAP_LINEAR, wrapS=_REPEAT, wrapT=_REPEAT)
            )
        gltf.textures.append(pygltflib.Texture(source=len(gltf.images) - 1, sampler=0))
        return len(gltf.textures) - 1

    color = texture(_color_and_alpha(material), "kd")
    orm, normal = texture(material.orm, "orm"), texture(material.normal, "normal")
    surface = pygltflib.PbrMetallicRoughness(
        baseColorFactor=list(material.base_color),
        roughnessFactor=material.roughness,
        metallicFactor=material.metallic,
        baseColorTexture=None if color is None else pygltflib.TextureInfo(index=color),
        metallicRoughnessTexture=None if orm is None else pygltflib.TextureInfo(index=orm),
    )
    translucent = material.alpha is not None or material.base_color[3] < 1
    entry = pygltflib.Material(
        name=material.name,
        pbrMetallicRoughness=surface,
        alphaMode="BLEND" if translucent else "OPAQUE",
        alphaCutoff=None,
        doubleSided=material.double_sided,
    )
    if orm is not None:
        entry.occlusionTexture = pygltflib.OcclusionTextureInfo(index=orm, strength=material.occlusion_strength)
    if normal is not None:
        entry.normalTexture = pygltflib.NormalMaterialTexture(index=normal, scale=material.normal_scale)
    gltf.materials.append(entry)


def _color_and_alpha(material: GltfMaterial) -> IntegerImage | None:
    if material.alpha is None:
        return material.kd
    alpha = material.alpha
    white: IntegerImage = np.full((*alpha.shape[:2], 3), np.iinfo(alpha.dtype).max, alpha.dtype)
    kd = white if material.kd is None else material.kd
    if kd.shape[:2] != alpha.shape[:2] or kd.dtype != alpha.dtype:
        raise ImageError(
            f"material {material.name!r}: alpha {list(alpha.shape)} {alpha.dtype} does not fit on kd {list(kd.shape)} "
            f"{kd.dtype}: make them one size and type"
        )
    merged: IntegerImage = np.concatenate([kd[..., :3], alpha[..., :1]], axis=-1)
    return merged
