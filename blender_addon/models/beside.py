# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps as files beside an exported model, and materials that read these files, each input its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..assign.saved_maps import image_files
from ..common.color_spaces import data_space
from ..common.errors import PbrFitError
from ..common.names import RECORD, file_stem
from ..common.node_trees import images_of, output_node
from ..protocol.map_layouts import COLOR, LAYOUTS, NORMAL, OCCLUSION, SIGNALS, OutputOptions
from ..protocol.map_names import safe_name
from ..protocol.model_kinds import ModelKind
from ..saving.layout_files import LayoutFile, encoded_files, layout_files
from ..saving.material_signals import ImagePart, Said, signals_of

UDIM = "<UDIM>"


@dataclass(frozen=True)
class Beside:
    """What lies beside a model. maps: the path of the map of each property, by the name of the material; it has <UDIM> for
    the number of a tile; said: what the materials say of their properties."""

    maps: Mapping[str, Mapping[str, Path]]
    said: Mapping[str, Mapping[str, Said]]

    def show(self, objects: Sequence[bpy.types.Object]) -> None:
        """Give the objects materials that read the maps in place of those that were written."""
        made: dict[str, bpy.types.Material] = {}
        for item in objects:
            for slot in item.material_slots:
                name = slot.material.name if slot.material is not None else ""
                if name in self.maps and name not in made:
                    made[name] = reading(slot.material, self.maps[name])
                if name in made:
                    slot.material = made[name]
        for name, material in made.items():
            bpy.data.materials[name].name = "PBRfit source"
            material.name = name


def folder_of(path: Path) -> str:
    """The name of the folder of a model's maps: beside it, and after it."""
    return f"{safe_name(path.stem)}_textures"


def write_maps(kind: ModelKind, materials: Sequence[bpy.types.Material], path: Path) -> Beside:
    """Write the maps of the materials into the folder of a model at `path`, new ones in the layout of its kind and the images
    of all others as they are. Raises PbrFitError."""
    folder = path.parent / folder_of(path)
    own = [item for item in materials if RECORD in item]
    layout = LAYOUTS[kind.layout]
    layout_files(own, layout)  # refuses two files of one name
    planned = {item.name: layout_files([item], layout) for item in own}
    try:
        for name, data in encoded_files(
            [file for files in planned.values() for file in files], OutputOptions()
        ).items():
            write(folder / name, data)
        for item in materials:
            if RECORD not in item:
                copy_images(item, folder)
    except OSError as error:
        raise PbrFitError(f"The maps cannot be written: {error.strerror}.", "Make room on the disk.") from error
    return Beside(
        {name: {file.item.signals[0]: path_of(file, folder) for file in files} for name, files in planned.items()},
        {item.name: signals_of(item) for item in own},
    )


def write(path: Path, data: bytes) -> None:
    """Write a file into a folder that may be missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def path_of(file: LayoutFile, folder: Path) -> Path:
    """The path of a map, with <UDIM> for the number of its tile."""
    return folder / (file.name.replace(f".{file.tile}.", f".{UDIM}.") if file.tile else file.name)


def copy_images(material: bpy.types.Material, folder: Path) -> None:
    """Let a material read copies of its images in a folder; images without a file stay as they are."""
    for image in images_of(material.node_tree) if material.node_tree is not None else ():
        name = file_stem(Path(image.filepath).stem.replace(UDIM, "") or image.name)
        suffix = Path(image.filepath).suffix or ".png"
        try:
            found = image_files(image)
        except (PbrFitError, OSError):
            continue
        for tile, data in found.items():
            write(folder / f"{name}{f'.{tile}' if tile else ''}{suffix}", data)
        image.filepath = str(folder / f"{name}{f'.{UDIM}' if 0 not in found else ''}{suffix}")


def reading(material: bpy.types.Material, maps: Mapping[str, Path]) -> bpy.types.Material:
    """A copy of a new material that reads each property from its own map: exporters follow no channels."""
    copy = material.copy()
    tree = copy.node_tree
    output = output_node(tree, "ShaderNodeOutputMaterial")
    assert output is not None  # `signals_of` has found it, and the shader
    shader = output.inputs["Surface"].links[0].from_node
    for node in list(tree.nodes):
        if node not in (shader, output):
            tree.nodes.remove(node)
    inputs = {socket.identifier: socket for socket in shader.inputs}
    for name, path in maps.items():
        if name == OCCLUSION:  # no input of this node takes it
            continue
        signal = SIGNALS[name]
        node = tree.nodes.new("ShaderNodeTexImage")
        node.image = image_at(path)
        if signal.kind != COLOR:
            node.image.colorspace_settings.name = data_space()
        source = node.outputs["Color"]
        if signal.kind == NORMAL:
            normal = tree.nodes.new("ShaderNodeNormalMap")
            tree.links.new(source, normal.inputs["Color"])
            source = normal.outputs["Normal"]
        tree.links.new(source, inputs[signal.input])
    return copy


def image_at(path: Path) -> bpy.types.Image:
    """The image in a file, or in the files of all tiles."""
    if UDIM not in path.name:
        return bpy.data.images.load(str(path))
    start = len(path.name.partition(UDIM)[0])
    tiles = sorted(int(item.name[start : start + 4]) for item in path.parent.glob(path.name.replace(UDIM, "????")))
    image = bpy.data.images.load(str(path).replace(UDIM, str(tiles[0])))
    image.source, image.filepath = "TILED", str(path)
    for tile in tiles[1:]:
        if image.tiles.get(tile) is None:
            image.tiles.new(tile)
    return image


def numbers_of(said: Mapping[str, Said]) -> dict[str, tuple[float, ...]]:
    """What a material says without a map."""
    return {name: value for name, value in said.items() if not isinstance(value, ImagePart)}
