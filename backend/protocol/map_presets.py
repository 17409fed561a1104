"""The presets among the layouts of maps, in the words that an artist's own layout files use.

docs/export.md names the document of each engine that says so. How map_layouts.py reads them: `color` is red, green and
blue together, `gray` a file of one channel; "1 - roughness" is smoothness.
"""

from __future__ import annotations

from typing import Any

DEFAULT_PATTERN = "{material}_{map}"

_BASE_COLOR = {"color": "base_color", "alpha": "alpha"}
_ORM = {"red": "occlusion", "green": "roughness", "blue": "metallic"}
_UNITY_MASK = {"red": "metallic", "green": "occlusion", "alpha": "1 - roughness"}


def _file(name: str, **channels: Any) -> dict[str, Any]:
    return {"map": name, **channels}


PRESETS: dict[str, dict[str, Any]] = {
    "gltf": {
        "title": "glTF",
        "about": "Occlusion, roughness and metallic in one map, normals with +Y, and what its extensions read",
        "normal": "opengl",
        "files": [
            _file("baseColor", **_BASE_COLOR),
            _file("occlusionRoughnessMetallic", **_ORM),
            _file("normal", color="normal"),
            _file("emissive", color="emission"),
            _file("clearcoat", red="coat", green="coat_roughness"),
            _file("clearcoatNormal", color="coat_normal"),
            _file("transmission", red="transmission"),
        ],
    },
    "unreal": {
        "title": "Unreal Engine",
        "about": "Occlusion, roughness and metallic in one map, normals with -Y (DirectX)",
        "normal": "directx",
        "pattern": "T_{material}_{map}",
        "files": [
            _file("D", **_BASE_COLOR),
            _file("ORM", **_ORM),
            _file("N", color="normal"),
            _file("E", color="emission"),
            _file("ClearCoat", red="coat", green="coat_roughness"),
        ],
    },
    "unity-hdrp": {
        "title": "Unity HDRP",
        "about": "A mask map: metallic, occlusion, detail mask (everywhere) and smoothness",
        "normal": "opengl",
        "files": [
            _file("BaseMap", **_BASE_COLOR),
            _file("MaskMap", **_UNITY_MASK, blue=1.0),
            _file("NormalMap", color="normal"),
            _file("EmissiveMap", color="emission"),
            _file("CoatMask", gray="coat"),
        ],
    },
    "unity-urp": {
        "title": "Unity URP",
        "about": "Metallic, occlusion and smoothness in one map, for both the Metallic and the Occlusion of a Lit material",
        "normal": "opengl",
        "files": [
            _file("BaseMap", **_BASE_COLOR),
            _file("MetallicOcclusionSmoothness", **_UNITY_MASK, blue=0.0),
            _file("BumpMap", color="normal"),
            _file("EmissionMap", color="emission"),
            _file("ClearCoat", red="coat", green="1 - coat_roughness"),
        ],
    },
    "godot": {
        "title": "Godot",
        "about": "For an ORMMaterial3D: occlusion, roughness and metallic in one map, normals with +Y",
        "normal": "opengl",
        "files": [
            _file("albedo", **_BASE_COLOR),
            _file("orm", **_ORM),
            _file("normal", color="normal"),
            _file("emission", color="emission"),
        ],
    },
    "blender": {
        "title": "Blender",
        "about": "A gray map for each number, named as the inputs of the Principled BSDF; normals with 16 bits",
        "normal": "opengl",
        "files": [
            _file("Base Color", **_BASE_COLOR),
            _file("Occlusion", gray="occlusion"),
            _file("Roughness", gray="roughness"),
            _file("Metallic", gray="metallic"),
            _file("Normal", color="normal", bits=16),
            _file("Emission Color", color="emission"),
            _file("Height", gray="height", bits=16),
            _file("Curvature", gray="curvature", bits=16),
            _file("Thickness", gray="thickness", bits=16),
            _file("Specular IOR Level", gray="specular"),
            _file("Specular Tint", color="specular_tint"),
            _file("Diffuse Roughness", gray="diffuse_roughness"),
            _file("Anisotropic", gray="anisotropy"),
            _file("Anisotropic Rotation", gray="anisotropy_rotation"),
            _file("Transmission Weight", gray="transmission"),
            _file("Coat Weight", gray="coat"),
            _file("Coat Roughness", gray="coat_roughness"),
            _file("Coat Tint", color="coat_tint"),
            _file("Coat Normal", color="coat_normal", bits=16),
            _file("Sheen Weight", gray="sheen"),
            _file("Sheen Roughness", gray="sheen_roughness"),
            _file("Sheen Tint", color="sheen_tint"),
            _file("Subsurface Weight", gray="subsurface"),
            _file("Subsurface Radius", color="subsurface_radius", format="exr"),
            _file("Subsurface Scale", gray="subsurface_scale", format="exr"),
            _file("Subsurface IOR", gray="subsurface_ior", format="exr"),
            _file("Subsurface Anisotropy", gray="subsurface_anisotropy"),
            _file("IOR", gray="ior", format="exr"),
            _file("Coat IOR", gray="coat_ior", format="exr"),
            _file("Thin Film Thickness", gray="thin_film_thickness", format="exr"),
            _file("Thin Film IOR", gray="thin_film_ior", format="exr"),
        ],
    },
    "usd": {
        "title": "USD Preview Surface",
        "about": "A map for each input of UsdPreviewSurface, named as these",
        "normal": "opengl",
        "files": [
            _file("diffuseColor", color="base_color"),
            _file("opacity", gray="alpha"),
            _file("occlusion", gray="occlusion"),
            _file("roughness", gray="roughness"),
            _file("metallic", gray="metallic"),
            _file("normal", color="normal", bits=16),
            _file("emissiveColor", color="emission"),
            _file("clearcoat", gray="coat"),
            _file("clearcoatRoughness", gray="coat_roughness"),
        ],
    },
    "standard-surface": {
        "title": "Standard Surface",
        "about": "A map for each input of MaterialX's and Arnold's Standard Surface, named as these",
        "normal": "opengl",
        "files": [
            _file("base_color", color="base_color"),
            _file("opacity", gray="alpha"),
            _file("metalness", gray="metallic"),
            _file("specular_roughness", gray="roughness"),
            _file("normal", color="normal", bits=16),
            _file("emission_color", color="emission"),
            _file("specular_anisotropy", gray="anisotropy"),
            _file("transmission", gray="transmission"),
            _file("coat", gray="coat"),
            _file("coat_roughness", gray="coat_roughness"),
            _file("coat_color", color="coat_tint"),
            _file("coat_normal", color="coat_normal", bits=16),
            _file("sheen", gray="sheen"),
            _file("sheen_color", color="sheen_tint"),
            _file("sheen_roughness", gray="sheen_roughness"),
            _file("subsurface", gray="subsurface"),
            _file("occlusion", gray="occlusion"),
        ],
    },
    "openpbr": {
        "title": "OpenPBR",
        "about": "A map for each input of the OpenPBR surface, named as these",
        "normal": "opengl",
        "files": [
            _file("base_color", color="base_color"),
            _file("geometry_opacity", gray="alpha"),
            _file("base_metalness", gray="metallic"),
            _file("specular_roughness", gray="roughness"),
            _file("base_diffuse_roughness", gray="diffuse_roughness"),
            _file("geometry_normal", color="normal", bits=16),
            _file("emission_color", color="emission"),
            _file("transmission_weight", gray="transmission"),
            _file("coat_weight", gray="coat"),
            _file("coat_roughness", gray="coat_roughness"),
            _file("coat_color", color="coat_tint"),
            _file("geometry_coat_normal", color="coat_normal", bits=16),
            _file("fuzz_weight", gray="sheen"),
            _file("fuzz_color", color="sheen_tint"),
            _file("fuzz_roughness", gray="sheen_roughness"),
            _file("subsurface_weight", gray="subsurface"),
            _file("occlusion", gray="occlusion"),
        ],
    },
}
"""Titles, descriptions and files of the presets, by name."""
