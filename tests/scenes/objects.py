"""One scene for each type of object, and for the ways in which an object gets into a scene. Each returns what is fitted."""

from __future__ import annotations

from collections.abc import Callable

import bpy
from scenes.parts import add_nodes, painted, sphere

Builder = Callable[[], bpy.types.Object]


def placed(data: bpy.types.ID | None, name: str = "Thing") -> bpy.types.Object:
    """A new object of these data, or an empty one: in the scene, active and selected."""
    thing = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(thing)
    for other in bpy.context.view_layer.objects:
        other.select_set(other == thing)
    bpy.context.view_layer.objects.active = thing
    return thing


def with_paint(thing: bpy.types.Object) -> bpy.types.Object:
    """The object, painted if its type has slots."""
    if thing.data is not None and hasattr(thing.data, "materials"):
        painted(thing)
    return thing


def small_sphere() -> bpy.types.Object:
    """A painted sphere of few faces: active and selected."""
    thing = sphere(segments=12, rings=6)
    painted(thing)
    return thing


def operated(operator: str, **arguments: object) -> Builder:
    """What one of Blender's operators adds."""

    def build() -> bpy.types.Object:
        group, _, name = operator.partition(".")
        getattr(getattr(bpy.ops, group), name)(**arguments)
        return with_paint(bpy.context.object)

    return build


def curve_with_body() -> bpy.types.Object:
    """A curve that shows as a tube."""
    thing = operated("curve.primitive_bezier_circle_add")()
    thing.data.bevel_depth = 0.2
    return thing


def hair_curves() -> bpy.types.Object:
    """Hair curves without any points."""
    return with_paint(placed(bpy.data.hair_curves.new("Hair")))


def point_cloud() -> bpy.types.Object:
    """A point cloud without points."""
    return with_paint(placed(bpy.data.pointclouds.new("Points")))


def volume() -> bpy.types.Object:
    """A volume whose file is not there."""
    data = bpy.data.volumes.new("Smoke")
    data.filepath = "//smoke.vdb"
    return with_paint(placed(data))


def grease_pencil() -> bpy.types.Object:
    """Strokes of Grease Pencil; Blender has named its data in three ways."""
    kinds = [name for name in ("grease_pencils_v3", "grease_pencils") if hasattr(bpy.data, name)]
    return placed(getattr(bpy.data, kinds[0]).new("Strokes"))


def parented() -> bpy.types.Object:
    """A sphere below two parents that turn and stretch it."""
    thing = small_sphere()
    above: bpy.types.Object | None = None
    for scale in ((1.0, 2.0, 0.5), (-1.0, 1.0, 1.0)):
        parent = bpy.data.objects.new("Parent", None)
        bpy.context.scene.collection.objects.link(parent)
        parent.parent, parent.scale, parent.rotation_euler = above, scale, (0.3, 0.2, 0.1)
        above = parent
    thing.parent = above
    thing.matrix_parent_inverse[0][3] = 0.7
    return thing


def nested_collections() -> bpy.types.Object:
    """A sphere three collections deep."""
    thing = small_sphere()
    parent = bpy.context.scene.collection
    parent.objects.unlink(thing)
    for depth in range(3):
        child = bpy.data.collections.new(f"Level {depth}")
        parent.children.link(child)
        parent = child
    parent.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    return thing


def collection_instance() -> bpy.types.Object:
    """An empty that shows a collection with a sphere, which is nowhere else."""
    thing = small_sphere()
    asset = bpy.data.collections.new("Asset")
    asset.objects.link(thing)
    bpy.context.scene.collection.objects.unlink(thing)
    empty = placed(None, "Instance")
    empty.instance_type, empty.instance_collection = "COLLECTION", asset
    return empty


def instancer() -> bpy.types.Object:
    """A sphere that shows its child on each of its faces."""
    thing = small_sphere()
    child = sphere("Child", 8, 4)
    child.parent, child.scale = thing, (0.1, 0.1, 0.1)
    thing.instance_type, thing.use_instance_faces_scale = "FACES", True
    bpy.context.view_layer.objects.active = thing
    child.select_set(False)
    thing.select_set(True)
    return thing


def shape_keys() -> bpy.types.Object:
    """A sphere that shape keys squash, one of them by a driver."""
    thing = small_sphere()
    thing.shape_key_add(name="Basis")
    for name, value in (("Flat", 0.5), ("Wide", 0.0)):
        key = thing.shape_key_add(name=name)
        for point in key.data:
            point.co.z *= 0.3
        key.value = value
    thing.data.shape_keys.key_blocks["Wide"].driver_add("value").driver.expression = "frame / 10"
    return thing


def hidden_in_render() -> bpy.types.Object:
    """A sphere that renders do not show."""
    thing = small_sphere()
    thing.hide_render = True
    return thing


def invisible_to_the_camera() -> bpy.types.Object:
    """A sphere that only reflections show, and that is a holdout."""
    thing = small_sphere()
    thing.visible_camera, thing.is_holdout, thing.is_shadow_catcher = False, True, True
    return thing


def shared_mesh() -> bpy.types.Object:
    """Two spheres of one mesh, each with its own material in the object's slot."""
    thing = small_sphere()
    twin = bpy.data.objects.new("Twin", thing.data)
    bpy.context.scene.collection.objects.link(twin)
    twin.location.x = 3.0
    twin.material_slots[0].link = "OBJECT"
    twin.material_slots[0].material = bpy.data.materials.new("Other")
    return thing


def without_faces() -> bpy.types.Object:
    """A mesh of one edge."""
    mesh = bpy.data.meshes.new("Edge")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0)], [(0, 1)], [])
    mesh.uv_layers.new(name="UVMap")
    return with_paint(placed(mesh))


def empty_nodes() -> bpy.types.Object:
    """A mesh whose geometry nodes have no group."""
    thing = small_sphere()
    thing.modifiers.new("Nothing", "NODES")
    return thing


def nothing_left() -> bpy.types.Object:
    """Geometry nodes whose output is linked to nothing."""
    thing = small_sphere()
    add_nodes(thing, "Nothing", lambda tree, start, end: None)
    return thing


OBJECTS: dict[str, Builder] = {
    "mesh": small_sphere,
    "curve": operated("curve.primitive_bezier_circle_add"),
    "curve with a body": curve_with_body,
    "surface": operated("surface.primitive_nurbs_surface_sphere_add"),
    "meta": operated("object.metaball_add"),
    "font": operated("object.text_add"),
    "hair curves": hair_curves,
    "point cloud": point_cloud,
    "volume": volume,
    "grease pencil": grease_pencil,
    "armature": operated("object.armature_add"),
    "lattice": operated("object.add", type="LATTICE"),
    "empty": operated("object.empty_add"),
    "image empty": operated("object.empty_add", type="IMAGE"),
    **{f"{kind.lower()} light": operated("object.light_add", type=kind) for kind in ("POINT", "SUN", "SPOT", "AREA")},
    "light probe": operated("object.lightprobe_add", type="SPHERE"),
    "camera": operated("object.camera_add"),
    "speaker": operated("object.speaker_add"),
    "parented": parented,
    "nested collections": nested_collections,
    "collection instance": collection_instance,
    "instancer": instancer,
    "shape keys": shape_keys,
    "hidden in render": hidden_in_render,
    "invisible to the camera": invisible_to_the_camera,
    "shared mesh": shared_mesh,
    "without faces": without_faces,
    "nodes without a group": empty_nodes,
    "nodes without an output": nothing_left,
}
