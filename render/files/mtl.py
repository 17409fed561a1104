"""Wavefront MTL libraries, as nvdiffrec uses them: Kd and Ks (or their maps) are base colour and (occlusion, roughness,
metallic), bump is a tangent-space normal map."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from render.geometry.mesh import MeshError

if TYPE_CHECKING:
    from render.texture.texture import Texture2D

# Arguments that the options of a map statement take (the file name comes last, and may hold spaces).
_OPTION_ARGUMENTS = {
    **dict.fromkeys(("-blendu", "-blendv", "-cc", "-clamp", "-texres", "-bm", "-boost", "-imfchan", "-type"), 1),
    "-mm": 2,
    **dict.fromkeys(("-o", "-s", "-t"), 3),
}
_MAPS = {"map_kd": "map_kd", "map_ks": "map_ks", "bump": "map_normal", "map_bump": "map_normal", "norm": "map_normal"}


@dataclass(frozen=True)
class MtlMaterial:
    """A material of an MTL library.

    name        as `usemtl` calls it
    bsdf        the seed system's own word: "pbr", "diffuse", "normal", ...
    kd          base colour, sRGB-encoded 0..1, as nvdiffrec reads Kd
    ks          (occlusion, roughness, metallic), linear 0..1: not the specular colour that other programs mean by Ks
    alpha       opacity 0..1, of `d` or 1 - `Tr`
    map_kd, map_ks, map_normal    image files in place of kd and ks, and the normal map (`norm`, `bump` or `map_bump`)
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
    """A material as textures: `kd` linear 0..1 (3 or 4 channels), `ks` (occlusion, roughness, metallic) 0..1, and
    `normal` -1..1 in tangent space (OpenGL) or None."""

    kd: Texture2D
    ks: Texture2D
    normal: Texture2D | None = None


def load_mtl(path: str | Path) -> list[MtlMaterial]:
    """The materials of an MTL library, map paths resolved against its folder (backslashes read as slashes).

    Statements it does not know are passed over. Raises MeshError, naming the line.
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
            raise ValueError("one or three finite numbers belong here")
        return replace(material, **{word: tuple(values * 3)[:3]})
    if word in ("d", "tr"):
        value = float(rest.split()[-1])
        return replace(material, alpha=value if word == "d" else 1 - value)
    if word == "bsdf":
        return replace(material, bsdf=rest)
    if word in _MAPS:
        # norm says plainly that it is a normal map, so it stands against a bump that follows.
        if word in ("bump", "map_bump") and material.map_normal is not None:
            return material
        return replace(material, **{_MAPS[word]: folder / _file_name(rest)})
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
    """The textures of a material, constants as single texels: kd from sRGB to linear, constants too; ks; normal -1..1.

    `clear_occlusion` sets the first channel of ks to 0, as nvdiffrec's `clear_ks` does: files hold something else there
    than the occluded fraction (glTF's R is openness). An alpha below 1 becomes the 4th channel of kd where the map has
    none. Raises ImageError for a file that is missing or no image.
    """
    from render.texture.texture import Texture2D, load_texture2D, srgb_to_rgb

    if material.map_kd is None:
        kd = srgb_to_rgb(Texture2D(torch.tensor(material.kd)))
    else:
        kd = load_texture2D(material.map_kd)
        # Files that hold floats hold linear ones.
        kd = kd if material.map_kd.suffix.lower() in (".exr", ".hdr") else srgb_to_rgb(kd)
    if kd.channels in (1, 2):  # grey, grey and alpha
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
    """Write an MTL library, and beside it the textures of `textures[m]` (where there are any) in place of material m's maps.

    Texture files are <stem>_<number>_kd.png, _ks.png and _normal.png (`stem` defaults to the library's): kd as sRGB, ks as it
    is, the normal of unit length as 0..1. Maps that stay files are named relative to `relative_to` (the library's folder).
    `load_mtl` and `load_material_textures` give the same again, but for rounding to the image's bits and for the
    occlusion, which they clear unless told otherwise.
    """
    path = Path(path)
    stem, relative_to = stem or path.stem, relative_to or path.parent
    lines: list[str] = []
    for number, material in enumerate(materials):
        given = textures[number] if number < len(textures) else None
        maps = {"map_Kd": material.map_kd, "map_Ks": material.map_ks, "norm": material.map_normal}
        maps = {word: _relative(file, relative_to) for word, file in maps.items() if file is not None}
        if given is not None:
            maps = _save_textures(path.parent, f"{stem}_{number}", given)
        lines += [f"newmtl {material.name}", f"bsdf {material.bsdf}"]
        lines += ["Kd {:.9g} {:.9g} {:.9g}".format(*material.kd), "Ks {:.9g} {:.9g} {:.9g}".format(*material.ks)]
        lines += [f"d {material.alpha:.9g}", *(f"{word} {file}" for word, file in maps.items()), ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def _save_textures(folder: Path, stem: str, textures: MaterialTextures) -> dict[str, str]:
    """Write the images of a material; their names by the statement that points to them."""
    from render.texture.texture import rgb_to_srgb, save_texture2D

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
    """A texture of the changed levels."""
    return type(texture)([change(mip.detach()) for mip in texture.mips])
