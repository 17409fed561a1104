"""One scene for each modifier that a mesh can have, with what it needs to change the mesh."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import bpy
from scenes.objects import Builder, small_sphere
from scenes.parts import painted, sphere

Setup = Callable[[bpy.types.Object, bpy.types.Modifier], None]
FRAME = 4


def helper(thing: bpy.types.Object, operator: Callable[..., object], **arguments: object) -> bpy.types.Object:
    """A further object that an operator adds; the thing stays active and alone selected."""
    operator(**arguments)
    other = bpy.context.object
    other.select_set(False)
    thing.select_set(True)
    bpy.context.view_layer.objects.active = thing
    return other


def group(thing: bpy.types.Object) -> str:
    """The name of a new vertex group with the upper half of the mesh."""
    found = thing.vertex_groups.new(name="Upper")
    found.add([vertex.index for vertex in thing.data.vertices if vertex.co.z > 0.1], 1.0, "REPLACE")
    return str(found.name)


def values(**properties: object) -> Setup:
    """Set properties of the modifier."""

    def setup(_thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
        for name, value in properties.items():
            setattr(modifier, name, value)

    return setup


def with_object(field: str, operator: str, arguments: dict[str, object] | None = None, **properties: object) -> Setup:
    """Point the modifier to an object that an operator adds, and set properties."""

    def setup(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
        section, _, name = operator.partition(".")
        other = helper(thing, getattr(getattr(bpy.ops, section), name), **(arguments or {}))
        setattr(modifier, field, other)
        for key, value in properties.items():
            setattr(modifier, key, value)

    return setup


def with_group(**properties: object) -> Setup:
    """Give the modifier a vertex group, and set properties."""

    def setup(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
        modifier.vertex_group = group(thing)
        values(**properties)(thing, modifier)

    return setup


def displace(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """By a texture of clouds."""
    modifier.texture = bpy.data.textures.new("Clouds", "CLOUDS")
    modifier.strength = 0.3


def multires(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """Two levels, of which the viewport shows one."""
    for _ in range(2):
        bpy.ops.object.multires_subdivide(modifier=modifier.name)
    modifier.levels, modifier.render_levels = 1, 2


def volume_to_mesh(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """Of the volume in another sphere."""
    ball = helper(thing, bpy.ops.mesh.primitive_uv_sphere_add)
    holder = bpy.data.objects.new("Volume", bpy.data.volumes.new("Volume"))
    bpy.context.scene.collection.objects.link(holder)
    holder.modifiers.new("Fill", "MESH_TO_VOLUME").object = ball
    modifier.object = holder


def skin(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """Around the edges of a tetrahedron, whose UV map it loses."""
    mesh = thing.data
    mesh.clear_geometry()
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], [(0, 1), (0, 2), (0, 3)], [])
    mesh.uv_layers.new(name="UVMap")


def armature(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """A bone that bends the upper half."""
    rig = helper(thing, bpy.ops.object.armature_add)
    thing.vertex_groups.new(name="Bone").add(range(20), 1.0, "REPLACE")
    rig.pose.bones[0].rotation_quaternion = (0.9, 0.3, 0.2, 0.1)
    modifier.object = rig


def lattice(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """A cage of eight points, one of which is moved."""
    cage = helper(thing, bpy.ops.object.add, type="LATTICE")
    cage.scale = (3.0, 3.0, 3.0)
    cage.data.points[7].co_deform.z += 0.4
    modifier.object = cage


def bound(operator: Callable[..., object]) -> Setup:
    """Bind to another sphere, then stretch that."""

    def setup(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
        cage = helper(thing, bpy.ops.mesh.primitive_ico_sphere_add, radius=2.0)
        if modifier.type == "MESH_DEFORM":
            modifier.object, modifier.precision = cage, 2
        else:
            modifier.target = cage
        bpy.context.view_layer.update()
        operator(modifier=modifier.name)
        for vertex in cage.data.vertices:
            vertex.co.z *= 1.5

    return setup


def laplacian(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """Bind anchors, then move one of them."""
    modifier.vertex_group = group(thing)
    bpy.ops.object.laplaciandeform_bind(modifier=modifier.name)
    thing.data.vertices[-1].co.z += 0.5


def particles(thing: bpy.types.Object, modifier: bpy.types.Modifier, **settings: object) -> None:
    """A few particles, with these settings."""
    chosen = modifier.particle_system.settings
    chosen.count, chosen.frame_end = 20, 2
    for name, value in settings.items():
        setattr(chosen, name, value)


def explode(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """By particles, which must come first."""
    source = thing.modifiers.new("Source", "PARTICLE_SYSTEM")
    particles(thing, source)
    thing.modifiers.move(1, 0)
    modifier.use_edge_cut = True


def particle_instance(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """The thing, at each particle of another sphere."""
    emitter = sphere("Emitter", 8, 4)
    particles(emitter, emitter.modifiers.new("Source", "PARTICLE_SYSTEM"))
    emitter.select_set(False)
    thing.select_set(True)
    bpy.context.view_layer.objects.active = thing
    modifier.object = emitter


def cloth(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """A cloth that falls on a ball."""
    ball = helper(thing, bpy.ops.mesh.primitive_uv_sphere_add, radius=0.4, location=(0, 0, -1.5))
    ball.modifiers.new("Collision", "COLLISION")


def dynamic_paint(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """A canvas of waves."""
    modifier.ui_type = "CANVAS"
    bpy.ops.dpaint.type_toggle(type="CANVAS")
    modifier.canvas_settings.canvas_surfaces[0].surface_type = "WAVE"


def fluid(thing: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """A source of liquid. A domain without its cache crashes Blender when the file is closed."""
    modifier.fluid_type = "FLOW"
    modifier.flow_settings.flow_type = "LIQUID"


SETUPS: dict[str, Setup] = {
    "ARMATURE": armature,
    "ARRAY": values(count=3),
    "BEVEL": values(width=0.05, segments=2),
    "BOOLEAN": with_object("object", "mesh.primitive_cube_add", {"location": (1, 0, 0)}),
    "BUILD": values(frame_start=1, frame_duration=8),
    "CAST": values(cast_type="CUBOID", factor=0.7),
    "CLOTH": cloth,
    "CORRECTIVE_SMOOTH": values(factor=0.8, iterations=3),
    "CURVE": with_object("object", "curve.primitive_bezier_circle_add"),
    "DATA_TRANSFER": with_object("object", "mesh.primitive_uv_sphere_add", use_loop_data=True, data_types_loops={"UV"}),
    "DECIMATE": values(ratio=0.4),
    "DISPLACE": displace,
    "DYNAMIC_PAINT": dynamic_paint,
    "EXPLODE": explode,
    "FLUID": fluid,
    "HOOK": with_object("object", "object.empty_add", {"location": (0, 0, 2)}, falloff_radius=2.0),
    "LAPLACIANDEFORM": laplacian,
    "LAPLACIANSMOOTH": values(lambda_factor=1.0, iterations=2),
    "LATTICE": lattice,
    "MASK": with_group(),
    "MESH_CACHE": values(filepath="//gone.mdd"),
    "MESH_DEFORM": bound(bpy.ops.object.meshdeform_bind),
    "MULTIRES": multires,
    "OCEAN": values(geometry_mode="DISPLACE", resolution=4, viewport_resolution=2),
    "PARTICLE_INSTANCE": particle_instance,
    "PARTICLE_SYSTEM": particles,
    "REMESH": values(octree_depth=3),
    "SCREW": values(steps=4, render_steps=8),
    "SHRINKWRAP": with_object("target", "mesh.primitive_cube_add"),
    "SIMPLE_DEFORM": values(deform_method="TWIST", angle=1.5),
    "SKIN": skin,
    "SMOOTH": values(factor=0.8, iterations=4),
    "SOLIDIFY": values(thickness=0.1, offset=1.0),
    "SUBSURF": values(levels=1, render_levels=2),
    "SURFACE_DEFORM": bound(bpy.ops.object.surfacedeform_bind),
    "UV_PROJECT": values(uv_layer="UVMap"),
    "UV_WARP": values(uv_layer="UVMap", offset=(0.2, 0.1)),
    "VERTEX_WEIGHT_EDIT": with_group(use_add=True),
    "VOLUME_TO_MESH": volume_to_mesh,
    "WARP": values(strength=0.5),
    "WAVE": values(height=0.3),
    "WELD": values(merge_threshold=0.2),
    "WIREFRAME": values(thickness=0.05),
}
"""What each modifier needs; others are added as Blender adds them."""

FURTHER: dict[str, tuple[str, Setup]] = {
    "hair": ("PARTICLE_SYSTEM", partial(particles, type="HAIR", hair_length=0.3)),
    "grown hair without its emitter": ("PARTICLE_SYSTEM", partial(particles, type="HAIR", render_type="PATH")),
    "solidify with another material": ("SOLIDIFY", values(thickness=0.1, material_offset=1)),
    "ocean that makes the mesh": ("OCEAN", values(geometry_mode="GENERATE", resolution=3, viewport_resolution=2)),
    "boolean of another material": (
        "BOOLEAN",
        with_object("object", "mesh.primitive_cube_add", material_mode="TRANSFER"),
    ),
    "hidden in the viewport": ("BEVEL", values(width=0.1, show_viewport=False)),
    "hidden in renders": ("SUBSURF", values(levels=2, show_render=False)),
    "array in renders only": ("ARRAY", values(count=2, show_viewport=False)),
}
"""Modifiers with other settings, by what they show."""


def modified(kind: str, setup: Setup) -> bpy.types.Object:
    """A sphere with one modifier, at a frame at which simulations have begun."""
    thing = small_sphere()
    painted(thing, "Second")
    modifier = thing.modifiers.new(kind.replace("_", " ").title(), kind)
    setup(thing, modifier)
    for frame in range(1, FRAME + 1):
        bpy.context.scene.frame_set(frame)
    return thing


def for_meshes() -> list[str]:
    """The types of modifiers that a mesh can have, in this Blender."""
    items = bpy.types.Modifier.bl_rna.properties["type"].enum_items
    others = (
        "GREASE_PENCIL",
        "LINEART",
        "MESH_TO_VOLUME",
        "VOLUME_DISPLACE",
        "MESH_SEQUENCE_CACHE",
        "NODES",
        "SURFACE",
    )
    return [item.identifier for item in items if not item.identifier.startswith(others) or item.identifier in SETUPS]


MODIFIERS: dict[str, Builder] = {
    **{
        f"modifier {kind.replace('_', ' ').lower()}": partial(modified, kind, SETUPS.get(kind, values()))
        for kind in for_meshes()
    },
    **{f"modifier {name}": partial(modified, kind, setup) for name, (kind, setup) in FURTHER.items()},
}
