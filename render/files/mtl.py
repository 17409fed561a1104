"""Wavefront MTL libraries, as nvdiffrec uses them.

Kd and Ks (or their maps) are base color and (occlusion, roughness, metallic); bump is a tangent-space normal map.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from render.geometry.mesh import MeshError
from render.texture.texture import Texture2D, load_texture2D, rgb_to_srgb, save_texture2D, srgb_to_rgb

# The number of arguments of each option of a map statement (the file name comes last, and may contain spaces).
_OPTION_ARGUMENTS = {
    **dict.fromkeys(("-blendu", "-blendv", "-cc", "-clamp", "-texres", "-bm", "-boost", "-imfchan", "-type"), 1),
    "-mm": 2,
    **dict.fromkeys(("-o", "-s", "-t"), 3),
}


@dataclass(frozen=True)
class MtlMaterial:
    """A material of an MTL library.

    name        as in `usemtl`
    bsdf        nvdiffrec's extension: "pbr", "diffuse", "normal", ...
    kd          base color, sRGB-encoded 0..1, as nvdiffrec reads Kd
    ks          (occlusion, roughness, metallic), linear 0..1: not the specular color that other programs mean by Ks
    alpha       opacity 0..1, from `d` or 1 - `Tr`
    map_kd, map_ks, map_normal    image files that replace kd and ks, and the normal map (`norm`, `bump` or `map_bump`)
    """

    name: str
    bsdf: str = "pbr"
    kd: tuple[float, float, float] = (0.5, 0.5, 0.5)
    ks: tuple[float, float, float] = (0.0, 0.0, 0.0)
    alpha: float = 1.0
    map_kd: Path | None = None
    map_ks: Path | None = None
    map_normal: Path | None = None


@dataclass(frozen=True)
class MaterialTextures:
    """A material as textures.

    kd      linear, 0..1, 3 or 4 channels
    ks      (occlusion, roughness, metallic), 0..1
    normal  -1..1, in tangent space (OpenGL), or None
    """

    kd: Texture2D
    ks: Texture2D
    normal: Texture2D | None = None


def load_mtl(path: str | Path) -> list[MtlMaterial]:
    """The materials of an MTL library; paths of maps are relative to its folder (backslashes count as slashes).

    Unknown statements are skipped. Raises MeshError, which names the line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise MeshError(f"{path} cannot be read ({error.strerror}): check the path") from error
    materials: list[MtlMaterial] = []
    for number, line in enumerate(lines, 1):
        word, _, rest = line.strip().replace("\t", " ").partition(" ")
        word, rest = word.lower(), rest.strip()
        if word == "newmtl":
            materials.append(MtlMaterial(rest))
        elif materials:
            try:
                materials[-1] = _with_statement(materials[-1], word, rest, path.parent)
            except (ValueError, IndexError) as error:
                raise MeshError(f"{path}, line {number}: {line.strip()!r} is not valid MTL ({error})") from error
    return materials


def _with_statement(material: MtlMaterial, word: str, rest: str, folder: Path) -> MtlMaterial:
    if word in ("kd", "ks"):
        values = [float(x) for x in rest.split()[:3]]
        if len(values) not in (1, 3) or not np.isfinite(values).all():
            raise ValueError("it needs one or three finite numbers")
        first, second, third = (values * 3)[:3]
        color = (first, second, third)
        return replace(material, kd=color) if word == "kd" else replace(material, ks=color)
    if word in ("d", "tr"):
        value = float(rest.split()[-1])
        return replace(material, alpha=value if word == "d" else 1 - value)
    if word == "bsdf":
        return replace(material, bsdf=rest)
    if word == "map_kd":
        return replace(material, map_kd=folder / _file_name(rest))
    if word == "map_ks":
        return replace(material, map_ks=folder / _file_name(rest))
    # `norm` always means a normal map, so a `bump` that follows does not replace it.
    if word == "norm" or (word in ("bump", "map_bump") and material.map_normal is None):
        return replace(material, map_normal=folder / _file_name(rest))
    return material


def _file_name(rest: str) -> str:
    """The file name of a map statement, without the options before it."""
    words = [(match.group(), match.end()) for match in re.finditer(r"\S+", rest)]
    i, end = 0, 0
    while i < len(words) and words[i][0] in _OPTION_ARGUMENTS:
        option = words[i][0]
        i, end = i + 1, words[i][1]
        taken = 0
        # -o, -s and -t may have fewer than three numbers.
        while taken < _OPTION_ARGUMENTS[option] and i < len(words) - 1:
            if taken and not re.fullmatch(r"[-+0-9.eE]+", words[i][0]):
                break
            i, end, taken = i + 1, words[i][1], taken + 1
    name = rest[end:].strip()
    if not name:
        raise ValueError("a file name is missing")
    return name.replace("\\", "/")


def load_material_textures(material: MtlMaterial, clear_occlusion: bool = True) -> MaterialTextures:
    """The textures of a material: kd decoded from sRGB to linear, ks, and normal -1..1. Constants become single texels.

    `clear_occlusion` sets the first channel of ks to 0, as nvdiffrec's `clear_ks` does, because files hold something else
    there than the occluded fraction (glTF's R is openness). An alpha below 1 becomes the 4th channel of kd where the map
    has none. Raises ImageError for a file that is missing or is not an image.
    """
    if material.map_kd is None:
        kd = srgb_to_rgb(Texture2D(torch.tensor(material.kd)))
    else:
        kd = load_texture2D(material.map_kd)
        # Floats in files are linear.
        kd = kd if material.map_kd.suffix.lower() in (".exr", ".hdr") else srgb_to_rgb(kd)
    if kd.channels in (1, 2):  # gray, or gray and alpha
        kd = _mapped(kd, lambda mip: torch.cat([mip[..., :1].expand(*mip.shape[:-1], 3), mip[..., 1:]], dim=-1))
    if material.alpha < 1 and kd.channels == 3:
        kd = _mapped(kd, lambda mip: F.pad(mip, (0, 1), value=material.alpha))
    keep = torch.tensor([0.0 if clear_occlusion else 1.0, 1.0, 1.0])
    if material.map_ks is None:
        ks = Texture2D(torch.tensor(material.ks) * keep)
    else:
        ks = load_texture2D(material.map_ks, lambda texels: texels * keep, channels=3)
    normal = None
    if material.map_normal is not None:
        normal = load_texture2D(material.map_normal, lambda texels: texels * 2 - 1, channels=3)
    return MaterialTextures(kd, ks, normal)


def save_mtl(
    path: str | Path,
    materials: Sequence[MtlMaterial],
    textures: Sequence[MaterialTextures | None] = (),
    stem: str | None = None,
    relative_to: Path | None = None,
) -> None:
    """Write an MTL library, and beside it the textures `textures[m]` (if there are any), which replace material m's maps.

    Texture files are <stem>_<number>_kd.png, _ks.png and _normal.png (`stem` is the library's by default): kd as sRGB, ks
    unchanged, the normal of unit length as 0..1. Paths of maps that stay files are written relative to `relative_to` (by
    default the library's folder). `load_mtl` and `load_material_textures` read the same back, except for rounding to the
    image's bits and for the occlusion, which they clear by default.
    """
    path = Path(path)
    stem, relative_to = stem or path.stem, relative_to or path.parent
    lines: list[str] = []
    for number, material in enumerate(materials):
        given = textures[number] if number < len(textures) else None
        if given is None:
            files = {"map_Kd": material.map_kd, "map_Ks": material.map_ks, "norm": material.map_normal}
            maps = {word: _relative(file, relative_to) for word, file in files.items() if file is not None}
        else:
            maps = _save_textures(path.parent, f"{stem}_{number}", given)
        lines += [f"newmtl {material.name}", f"bsdf {material.bsdf}"]
        lines += ["Kd {:.9g} {:.9g} {:.9g}".format(*material.kd), "Ks {:.9g} {:.9g} {:.9g}".format(*material.ks)]
        lines += [f"d {material.alpha:.9g}", *(f"{word} {file}" for word, file in maps.items()), ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def _save_textures(folder: Path, stem: str, textures: MaterialTextures) -> dict[str, str]:
    """Write the images of a material and return their names by the statements that point to them."""
    images = {"map_Kd": ("kd", rgb_to_srgb(textures.kd)), "map_Ks": ("ks", textures.ks)}
    if textures.normal is not None:
        images["norm"] = ("normal", _mapped(textures.normal, lambda mip: F.normalize(mip, dim=-1) * 0.5 + 0.5))
    for suffix, image in images.values():
        save_texture2D(folder / f"{stem}_{suffix}.png", image)
    return {word: f"{stem}_{suffix}.png" for word, (suffix, _) in images.items()}


def _relative(file: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # another drive
        return file.as_posix()


def _mapped(texture: Texture2D, change: Callable[[torch.Tensor], torch.Tensor]) -> Texture2D:
    """The texture with every level changed."""
    return type(texture)([change(mip.detach()) for mip in texture.mips])
