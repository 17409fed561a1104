"""The copy of the file has what the file has, and what is rendered is what is exported."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.blender.scenes import hdri_world
from support.blender.shining_cubes import (
    OTHER,
    cube,
    geometry_modifier,
    references_of,
    shining,
    shows_only_the_color,
    widths,
)

bpy = pytest.importorskip("bpy")


@pytest.fixture(autouse=True)
def light(addon) -> None:
    hdri_world()


# The file ----------------------------------------------------------------------------------------------------------


def test_a_cache_that_lies_beside_the_file_is_found(addon, tmp_path) -> None:
    """Cloth with a cache on disk, which Blender finds by the name of the file: the copy falls as the original did."""
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=6, y_subdivisions=6, location=(0.0, 0.0, 0.0))
    cloth = bpy.context.object
    cloth.data.materials.append(shining("Paint"))
    modifier = cloth.modifiers.new("Cloth", "CLOTH")
    cache = modifier.point_cache
    cache.frame_start, cache.frame_end = 1, 12
    folder = tmp_path / "artist"
    folder.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "fall.blend"))
    cache.use_disk_cache = True
    with bpy.context.temp_override(scene=bpy.context.scene, point_cache=cache, object=cloth, active_object=cloth):
        bpy.ops.ptcache.bake(bake=True)
    bpy.context.scene.frame_set(12)
    bpy.ops.wm.save_mainfile()
    evaluated = cloth.evaluated_get(bpy.context.evaluated_depsgraph_get())
    fallen = np.mean([vertex.co.z for vertex in evaluated.data.vertices])
    assert fallen < -0.1
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "blendcache_fall").iterdir()}
    delivered = references_of(addon, tmp_path / "references")
    assert delivered.center[2] == pytest.approx(fallen, abs=0.05)
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "blendcache_fall").iterdir()} == before


@pytest.mark.parametrize("caches", ["//own/caches", "//../caches"])
def test_a_bake_of_geometry_nodes_in_a_folder_of_its_own_is_found(addon, tmp_path, caches) -> None:
    """The bake holds a wide cube, of which the nodes make a narrow one since."""
    thing = cube()
    tree, start, end = geometry_modifier(thing)
    bake, resize = tree.nodes.new("GeometryNodeBake"), tree.nodes.new("GeometryNodeTransform")
    if not bake.bake_items:  # Blender 5.2 begins with none
        bake.bake_items.new("GEOMETRY", "Geometry")
    tree.links.new(start.outputs[0], resize.inputs["Geometry"])
    tree.links.new(resize.outputs[0], bake.inputs[0])
    tree.links.new(bake.outputs[0], end.inputs[0])
    resize.inputs["Scale"].default_value = (3.0, 3.0, 3.0)
    modifier = thing.modifiers[0]
    if hasattr(modifier, "bake_target"):
        modifier.bake_target = "DISK"
    modifier.bake_directory = caches
    folder = tmp_path / "artist"
    folder.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "baked.blend"))
    bpy.context.view_layer.update()
    assert bpy.ops.object.geometry_node_bake_single(
        session_uid=thing.session_uid, modifier_name=modifier.name, bake_id=modifier.bakes[0].bake_id
    ) == {"FINISHED"}
    assert (folder / caches.removeprefix("//")).is_dir()
    resize.inputs["Scale"].default_value = (1.0, 1.0, 1.0)
    delivered = references_of(addon, tmp_path / "references")
    assert widths(delivered) == pytest.approx([6.0, 6.0, 6.0])


def test_where_links_are_not_allowed_the_caches_are_copied(addon, tmp_path, monkeypatch) -> None:
    cube()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "linkless.blend"))
    (tmp_path / "blendcache_linkless").mkdir()
    (tmp_path / "blendcache_linkless" / "frame.bphys").write_bytes(b"cache")

    def refuse(*_arguments, **_options) -> None:
        raise OSError("a required privilege is not held by the client")

    copied_file = addon.references.copied_file
    monkeypatch.setattr(copied_file.Path, "symlink_to", refuse)
    copy = copied_file.save_copy(tmp_path / "copy")
    assert (copy.path.parent / "blendcache_linkless" / "frame.bphys").read_bytes() == b"cache"


def test_a_file_whose_folder_is_gone_is_copied(addon, tmp_path) -> None:
    """A drive that was unplugged: what is open can still be fitted."""
    cube()
    folder = tmp_path / "drive"
    folder.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "away.blend"))
    folder.rename(tmp_path / "elsewhere")
    copy = addon.references.copied_file.save_copy(tmp_path / "copy")
    assert copy.path == tmp_path / "copy" / "away.blend"
    assert copy.path.is_file()


def test_of_two_objects_of_one_name_the_selected_one_is_rendered(addon, tmp_path) -> None:
    thing = cube(material=shining("Wrong", OTHER))
    thing.scale = (3.0, 3.0, 3.0)
    bpy.data.libraries.write(str(tmp_path / "lib.blend"), {thing})
    bpy.data.objects.remove(thing)
    with bpy.data.libraries.load(str(tmp_path / "lib.blend"), link=True) as (_, linked):
        linked.objects = ["Thing"]
    bpy.context.scene.collection.objects.link(linked.objects[0])
    local = cube()
    assert local.name == linked.objects[0].name == "Thing"
    delivered = references_of(addon, tmp_path / "references", local)
    assert widths(delivered) == pytest.approx([2.0, 2.0, 2.0])
    assert shows_only_the_color(delivered)


# The check ---------------------------------------------------------------------------------------------------------


def test_a_mesh_that_is_not_what_is_rendered_is_refused(addon) -> None:
    """The check knows only the picture: it passes the mesh that shows, and no other."""
    things = {"Thing": cube(), "Higher": cube("Higher"), "Nearer": cube("Nearer")}
    # Objects of the scene's own collection would leave the scene with the first stage.
    own = bpy.data.collections.new("Own")
    bpy.context.scene.collection.children.link(own)
    for item in things.values():
        own.objects.link(item)
    things["Higher"].scale = (1.0, 1.0, 1.05)
    mesh = things["Nearer"].data  # inside the silhouette, the faces lie deeper
    for vertex in mesh.vertices:
        vertex.co.x *= 1.0 if vertex.co.y > 0.0 else 0.9
    bpy.context.view_layer.update()
    references, views = addon.references, addon.references.views
    depsgraph = bpy.context.evaluated_depsgraph_get()
    exported = addon.export.mesh.export_mesh(things["Thing"], depsgraph)
    center, radius = views.bounding_sphere(exported.world_positions)
    planned = [view.for_blender() for view in views.plan_views(center, radius, 3, 0, 0)]
    for name in things:
        stage = references.stage.set_up(bpy.context.scene, bpy.context.view_layer, [(name, None)], 1, 1)
        if name == "Thing":
            references.exported_mesh.check(stage, exported, radius, planned)
        else:
            with pytest.raises(addon.common.errors.PbrFitError, match=f'does not render the mesh of "{name}"'):
                references.exported_mesh.check(stage, exported, radius, planned)


def test_a_material_that_modifiers_set_in_renders_alone_is_refused(addon, tmp_path) -> None:
    """The fitted material would go into a slot that no render shows."""
    thing = cube()
    tree, start, end = geometry_modifier(thing)
    setter = tree.nodes.new("GeometryNodeSetMaterial")
    setter.inputs["Material"].default_value = shining("Red", OTHER)
    tree.links.new(start.outputs[0], setter.inputs["Geometry"])
    tree.links.new(setter.outputs[0], end.inputs[0])
    thing.modifiers[0].show_viewport = False
    with pytest.raises(addon.common.errors.PbrFitError, match=r'In renders the modifiers of "Thing" .* "Red"'):
        references_of(addon, tmp_path)


def test_faces_that_share_their_place_only_in_renders_are_told(addon, tmp_path) -> None:
    mirror = cube().modifiers.new("Array", "ARRAY")
    mirror.show_viewport = False
    shown = references_of(addon, tmp_path / "same", shown_triangles=24)
    assert shown.overlap == 0.0  # the checks before the click have seen them
    assert references_of(addon, tmp_path / "other", shown_triangles=12).overlap > 0.9


def test_the_rasterizer_of_the_check_knows_a_sphere(addon) -> None:
    """The disc and the depths of a sphere, in closed form."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=256, ring_count=128)
    sphere = bpy.context.object
    sphere.data.materials.append(shining("Paint"))
    arrays = addon.export.mesh.export_mesh(sphere, bpy.context.evaluated_depsgraph_get()).arrays
    size, fov, distance = 65, math.radians(40.0), 4.0
    view = {"matrix_world": addon.references.views.look_at(np.array([0.0, -distance, 0.0]), np.zeros(3)), "fov": fov}
    depth = addon.references.silhouettes.depth_of(arrays["vertex_position"], arrays["triangles"], view, size)
    steps = (np.arange(size) + 0.5 - size / 2) / (size / 2) * math.tan(fov / 2)
    x, y = np.meshgrid(steps, steps)
    # Along the ray (x, y, 1) t: |t (x, y, 1) - (0, 0, distance)| = 1, the nearer solution.
    a, b, c = x * x + y * y + 1.0, -2.0 * distance, distance * distance - 1.0
    inside = b * b - 4.0 * a * c > 0.0
    expected = np.where(inside, (-b - np.sqrt(np.maximum(b * b - 4.0 * a * c, 0.0))) / (2.0 * a), 0.0)
    agree = (depth > 0.0) == inside
    assert agree.mean() > 0.995
    both = (depth > 0.0) & inside
    assert np.abs(depth - expected)[both].max() < 0.1
    assert np.abs(depth - expected)[both].mean() < 2e-3


def blades(count: int, width: float, seed: int = 2) -> bpy.types.Object:
    """Long triangles about the origin, each `width` wide: of grass, or wires. One object with a material."""
    random = np.random.default_rng(seed)
    tips = random.normal(size=(count, 3))
    tips /= np.linalg.norm(tips, axis=1, keepdims=True)
    sides = np.cross(tips, random.normal(size=(count, 3)))
    sides *= 0.5 * width / np.linalg.norm(sides, axis=1, keepdims=True)
    corners = np.stack([-tips - sides, -tips + sides, tips], axis=1).reshape(-1, 3)
    mesh = bpy.data.meshes.new("Blades")
    mesh.from_pydata(corners.tolist(), [], np.arange(len(corners)).reshape(-1, 3).tolist())
    mesh.uv_layers.new(name="UVMap")
    thing = bpy.data.objects.new("Blades", mesh)
    bpy.context.collection.objects.link(thing)
    thing.data.materials.append(shining("Paint"))
    bpy.context.view_layer.update()
    return thing


@pytest.mark.parametrize(("count", "pixels"), [(1, 0.01), (1, 1.0), (40, 0.1), (200, 0.3)])
def test_blades_of_grass_are_not_refused_for_pixels_that_chance_decides(addon, count: int, pixels: float) -> None:
    """Cycles looks beside the center of a pixel by up to 0.005 pixels, which changes much of what so thin a mesh shows."""
    views, silhouettes = addon.references.views, addon.references.silhouettes
    size, least, most = 64, silhouettes.LEAST_OVERLAP, silhouettes.MOST_WRONG_DEPTHS
    thing = blades(count, 2.0 * views.MARGIN * pixels / size)
    arrays = addon.export.mesh.export_mesh(thing, bpy.context.evaluated_depsgraph_get()).arrays
    mesh = arrays["vertex_position"], arrays["triangles"]
    random = np.random.default_rng(3)
    differ_plainly, other_mesh, no_mesh = [], [], []
    for view in (view.for_blender() for view in views.plan_views(np.zeros(3), 1.0, 12, 0, 0)):
        # Each pixel is that of one of a few images, which look in slightly different places.
        looks = np.stack(
            [silhouettes.depth_of(*mesh, view, size, offset) for offset in random.uniform(-0.005, 0.005, (9, 2))]
        )
        rendered = np.take_along_axis(looks, random.integers(9, size=(1, size, size)), 0)[0]
        plain = silhouettes.depth_of(*mesh, view, size)
        differ_plainly.append(((rendered > 0.0) != (plain > 0.0)).sum() / max((rendered + plain > 0.0).sum(), 1))
        overlap, wrong_depths = silhouettes.difference(rendered, *mesh, view, 0.02)
        assert overlap >= least
        assert wrong_depths <= most
        other_mesh.append(silhouettes.difference(rendered, -mesh[0], mesh[1], view, 0.02)[0])
        no_mesh.append(silhouettes.difference(np.zeros_like(rendered), *mesh, view, 0.02)[0])
    if count > 1:
        assert max(differ_plainly) > 1.0 - least
        assert min(other_mesh) < least
    if pixels > 0.2:
        assert min(no_mesh) < least  # of thinner blades every pixel may as well be empty


def test_blades_of_grass_are_exported_as_they_are_rendered(addon) -> None:
    """As Cycles renders them; and moved blades are told from them."""
    own = bpy.data.collections.new("Own")
    bpy.context.scene.collection.children.link(own)
    grass, other = blades(200, 0.01), blades(200, 0.01, seed=5)
    for thing in (grass, other):
        own.objects.link(thing)
    references, views = addon.references, addon.references.views
    exported = addon.export.mesh.export_mesh(grass, bpy.context.evaluated_depsgraph_get())
    planned = [view.for_blender() for view in views.plan_views(np.zeros(3), 1.0, 3, 0, 0)]
    stage = references.stage.set_up(bpy.context.scene, bpy.context.view_layer, [(grass.name, None)], 1, 1)
    references.exported_mesh.check(stage, exported, 1.0, planned)
    stage = references.stage.set_up(bpy.context.scene, bpy.context.view_layer, [(other.name, None)], 1, 1)
    with pytest.raises(addon.common.errors.PbrFitError, match="does not render the mesh"):
        references.exported_mesh.check(stage, exported, 1.0, planned)
