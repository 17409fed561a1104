"""Files with small objects for the tests of batches: ``python batch_files.py FOLDER NAME=COUNT ...`` saves NAME.blend there.

Each has that many boards named Board 1, Board 2, ...; all but the first are in the collection Others. Each shows an image of
8 by 8 texels with a color of its own, which the file links from FOLDER/texture.png.
"""

import os
import sys
from pathlib import Path

import bpy
from scene_parts import plain_board, plain_world


def board_material(number: int, image: bpy.types.Image) -> bpy.types.Material:
    """A Principled BSDF with the image as base color, and a roughness that tells the boards apart."""
    material = bpy.data.materials.new(f"Paint {number}")
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Roughness"].default_value = number / 10.0
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image, texture.interpolation = image, "Closest"
    tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    return material


def save(folder: Path, name: str, count: int) -> None:
    """Save a file with that many boards."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.world = plain_world((1.0, 1.0, 1.0))
    others = bpy.data.collections.new("Others")
    scene.collection.children.link(others)
    image = bpy.data.images.load(str(folder / "texture.png"))
    for number in range(1, count + 1):
        board = plain_board(f"Board {number}", board_material(number, image))
        board.data.uv_layers.new(name="UVMap")
        if number > 1:
            others.objects.link(board)
            scene.collection.objects.unlink(board)
    empty = bpy.data.objects.new("No mesh", None)
    scene.collection.objects.link(empty)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / f"{name}.blend"), relative_remap=True)


def main() -> None:
    """The command line."""
    folder = Path(sys.argv[1])
    texture = bpy.data.images.new("texture", 8, 8)
    texture.pixels.foreach_set([(number % 7) / 6.0 for number in range(8 * 8 * 4)])
    texture.filepath_raw, texture.file_format = str(folder / "texture.png"), "PNG"
    texture.save()
    for word in sys.argv[2:]:
        name, count = word.split("=")
        save(folder, name, int(count))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
