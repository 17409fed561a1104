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


KINDS = {
    kind.key: kind
    for kind in (
        ModelKind("glb", "glTF Binary (.glb)", "One file with everything, for the web and most engines", ".glb", GLTF, tiles=False),
        ModelKind("gltf", "glTF Separate (.gltf)", "A text, a file of the mesh, and images", ".gltf", GLTF, tiles=False),
        ModelKind("usd", "Universal Scene Description (.usdc)", "With a USD Preview Surface, and maps beside it", ".usdc", USD, "usd"),
        ModelKind("usdz", "Universal Scene Description (.usdz)", "The same in one file, for phones and for viewers", ".usdz", USD, "usd"),
        ModelKind("obj", "Wavefront (.obj)", "With an MTL file that has the PBR extensions, and maps beside it", ".obj", OBJ, "usd", tiles=False),
        ModelKind(
            "mtlx-standard-surface", "MaterialX Standard Surface (.mtlx)", "Materials without a mesh, and maps beside them", ".mtlx",
            MATERIALX, "standard-surface",
        ),
        ModelKind("mtlx-openpbr", "MaterialX OpenPBR (.mtlx)", "Materials without a mesh, and maps beside them", ".mtlx", MATERIALX, "openpbr"),
        ModelKind(
            "mtlx-usd", "MaterialX USD Preview Surface (.mtlx)", "Materials without a mesh, and maps beside them", ".mtlx", MATERIALX, "usd"
        ),
    )
}
"""All kinds by name."""
