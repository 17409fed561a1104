"""The kinds of files that objects with new materials can be exported as, by the names that add-on and command line share."""

from __future__ import annotations

from dataclasses import dataclass

GLTF, USD, OBJ, MATERIALX = "gltf", "usd", "obj", "materialx"


@dataclass(frozen=True)
class ModelKind:
    """One kind. key: its name; suffix: of the file; writer: what makes it; layout: of the maps that lie beside it, "" if it has
    the images of the materials themselves; tiles: whether it can hold UDIM tiles."""

    key: str
    suffix: str
    writer: str
    layout: str = ""
    tiles: bool = True


KINDS = {
    kind.key: kind
    for kind in (
        ModelKind("glb", ".glb", GLTF, tiles=False),
        ModelKind("gltf", ".gltf", GLTF, tiles=False),
        ModelKind("usd", ".usdc", USD, "usd"),
        ModelKind("usdz", ".usdz", USD, "usd"),
        ModelKind("obj", ".obj", OBJ, "usd", tiles=False),
        ModelKind("mtlx-standard-surface", ".mtlx", MATERIALX, "standard-surface"),
        ModelKind("mtlx-openpbr", ".mtlx", MATERIALX, "openpbr"),
        ModelKind("mtlx-usd", ".mtlx", MATERIALX, "usd"),
    )
}
"""All kinds by name."""
