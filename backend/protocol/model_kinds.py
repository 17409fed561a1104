"""The kinds of files that objects with new materials can be exported as, by the names that add-on and command line share."""

from __future__ import annotations

from dataclasses import dataclass

GLTF, USD, OBJ, MATERIALX = "gltf", "usd", "obj", "materialx"


@dataclass(frozen=True)
class ModelKind:
    """One kind. key: its name; title, about: for the artist; suffix: of the file; writer: what makes it; layout: of the maps
    that lie beside it, "" if it has the images of the materials themselves; tiles: whether it can hold UDIM tiles."""

    key: str
    title: str
    about: str
    suffix: str
    writer: str
    layout: str = ""
    tiles: bool = True


_MATERIALX_ABOUT = "Materials without a mesh, and maps beside them"

KINDS = {
    kind.key: kind
    for kind in (
        ModelKind(
            *("glb", "glTF Binary (.glb)", "One file with everything, for the web and most engines", ".glb", GLTF),
            tiles=False,
        ),
        ModelKind(
            *("gltf", "glTF Separate (.gltf)", "A text, a file of the mesh, and images", ".gltf", GLTF), tiles=False
        ),
        ModelKind(
            *("usd", "USD (.usdc)", "With a USD Preview Surface, and maps beside it", ".usdc", USD, "usd"),
        ),
        ModelKind(
            *("usdz", "USD Package (.usdz)", "The same in one file, for phones and viewers", ".usdz", USD, "usd"),
        ),
        ModelKind(
            *(
                "obj",
                "Wavefront (.obj)",
                "With an MTL file with PBR extensions, and maps beside it",
                ".obj",
                OBJ,
                "usd",
            ),
            tiles=False,
        ),
        ModelKind(
            *("mtlx-standard-surface", "MaterialX Standard Surface (.mtlx)", _MATERIALX_ABOUT, ".mtlx", MATERIALX),
            layout="standard-surface",
        ),
        ModelKind("mtlx-openpbr", "MaterialX OpenPBR (.mtlx)", _MATERIALX_ABOUT, ".mtlx", MATERIALX, "openpbr"),
        ModelKind("mtlx-usd", "MaterialX USD Preview (.mtlx)", _MATERIALX_ABOUT, ".mtlx", MATERIALX, "usd"),
    )
}
"""All kinds by name."""
