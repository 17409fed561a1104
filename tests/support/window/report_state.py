"""Runs in the Blender with a window: install the extension, make a scene, open the tab, then report the state."""

import json
import os
import sys
import threading

import bpy

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import comparison_inside

EXTENSION = "bl_ext.user_default.pbrfit"
REPORT_SECONDS = 0.05
request = json.loads(sys.argv[-1])
state = {"count": 0, "ready": False, "object": "Cube"}


def install():
    """Install the extension, and say which Python runs the backend."""
    bpy.ops.extensions.package_install_files(filepath=request["extension"], repo="user_default", enable_on_install=True)
    bpy.context.preferences.addons[EXTENSION].preferences.backend_python = request["python"]


def choose_language():
    """Translate all that Blender translates into the language of the request."""
    view = bpy.context.preferences.view
    view.language = request["language"]
    for name in ("interface", "tooltips", "reports", "new_dataname"):
        setattr(view, f"use_translate_{name}", True)


def said():
    """What Blender makes of the phrases of the request, in labels and on buttons, and the add-on in labels, tooltips and reports;
    then the add-on's again, where the preferences translate labels alone."""
    from bl_ext.user_default.pbrfit.translations import translate

    view, own = bpy.context.preferences.view, bpy.app.translations
    translated = (translate.tr, translate.tr_tip, translate.tr_report)
    found = {}
    for phrase in request["phrases"]:
        found[phrase] = [own.pgettext_iface(phrase), own.pgettext_iface(phrase, "Operator")]
        found[phrase] += [each(phrase) for each in translated]
        view.use_translate_tooltips = view.use_translate_reports = False
        found[phrase] += [each(phrase) for each in translated]
        view.use_translate_tooltips = view.use_translate_reports = True
    return found


def make_scene():
    """Blender's default cube in orange paint, in the light of a forest, with settings for a small fit."""
    scene = bpy.context.scene
    cube = bpy.data.objects["Cube"]
    if request["scene"] == "no UV map":
        cube.data.uv_layers.remove(cube.data.uv_layers[0])
    shader = bpy.data.materials["Material"].node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (0.8, 0.3, 0.1, 1.0)
    tree = scene.world.node_tree
    texture = tree.nodes.new("ShaderNodeTexEnvironment")
    folder = bpy.utils.system_resource("DATAFILES", path="studiolights/world")
    texture.image = bpy.data.images.load(os.path.join(folder, "forest.exr"))
    tree.links.new(texture.outputs["Color"], tree.nodes["Background"].inputs["Color"])
    settings = scene.pbrfit
    settings.resolution, settings.view_size, settings.samples = 64, 64, 2
    settings.views, settings.held_out_views, settings.quality = request["views"], 1, "draft"
    # The cube's plain paint would be baked, and never fitted.
    settings.start = "BAKE" if request["scene"] == "first fit" else "GRAY"
    if request["scene"] in {"first fit", "preview", "compare"}:
        make_first_fit(scene, cube)
    if request["scene"] == "compare":
        prepare_preview(scene)
        settings.resolution, settings.view_size, settings.quality, settings.rounds = 128, 96, "draft", 0
    if request["scene"] == "preview":
        prepare_preview(scene)
    if request["scene"] == "black world":
        tree.nodes["Background"].inputs["Strength"].default_value = 0.0
        settings.reference_light = "SCENE"
    if request["scene"] == "flat world":
        tree.links.remove(tree.nodes["Background"].inputs["Color"].links[0])
        settings.reference_light = "SCENE"
    if request["scene"] == "hole":
        make_hole(cube)
        settings.rounds = 0
    if request["scene"] == "bake":
        make_coated(cube)
        settings.resolution, settings.supersampling = request["resolution"], "4"
        for name, value in request.get("output", {}).items():
            setattr(scene.pbrfit_output, name, value)
    bpy.ops.ed.undo_push(message="Scene of the test")
    bpy.ops.wm.save_as_mainfile(filepath=request["file"])


def make_first_fit(scene, cube):
    """The head of a monkey in chipped paint over metal, all of it nodes, in place of the cube; nothing is selected."""
    bpy.data.objects.remove(cube)
    bpy.data.objects.remove(bpy.data.objects["Light"])
    bpy.ops.mesh.primitive_monkey_add(rotation=(-0.5, 0.0, 1.15))
    head = bpy.context.object
    head.name = state["object"] = "Head"
    head.modifiers.new("Subdivision", "SUBSURF").levels = 2
    bpy.ops.object.shade_smooth()
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project(island_margin=0.01)
    bpy.ops.object.mode_set(mode="OBJECT")
    material = bpy.data.materials["Material"]
    material.name = "Chipped Paint"
    head.data.materials.append(material)
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    noise, ramp = tree.nodes.new("ShaderNodeTexNoise"), tree.nodes.new("ShaderNodeValToRGB")
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = 3.0, 8.0
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.5, 0.54
    tree.links.new(noise.outputs[0], ramp.inputs[0])
    for name, first, second in (
        ("Base Color", (0.05, 0.25, 0.35, 1.0), (0.75, 0.6, 0.45, 1.0)),
        ("Metallic", (0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0)),
        ("Roughness", (0.3, 0.3, 0.3, 1.0), (0.45, 0.45, 0.45, 1.0)),
    ):
        mix = tree.nodes.new("ShaderNodeMix")
        mix.data_type = "RGBA"
        colors = [socket for socket in mix.inputs if socket.type == "RGBA"]
        colors[0].default_value, colors[1].default_value = first, second
        tree.links.new(ramp.outputs["Color"], mix.inputs[0])
        output = next(socket for socket in mix.outputs if socket.type == "RGBA")
        tree.links.new(output, shader.inputs[name])
    if request["scene"] == "first fit":
        mix_with_metal(tree, shader, ramp)
    settings = scene.pbrfit
    settings.preset = "DRAFT"
    settings.image_storage = "FILES"
    head.select_set(False)
    bpy.context.view_layer.objects.active = bpy.data.objects["Camera"]


def mix_with_metal(tree, shader, ramp):
    """Make the paint wear off gradually, by a mix of two shaders: a bake of one shader alone would need no fit."""
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.4, 0.62
    for name in ("Base Color", "Metallic", "Roughness"):
        tree.links.remove(shader.inputs[name].links[0])
    metal, mixed = tree.nodes.new("ShaderNodeBsdfPrincipled"), tree.nodes.new("ShaderNodeMixShader")
    for node, color, metallic, roughness in (
        (shader, (0.05, 0.25, 0.35, 1.0), 0.0, 0.25),
        (metal, (0.75, 0.6, 0.45, 1.0), 1.0, 0.6),
    ):
        node.inputs["Base Color"].default_value = color
        node.inputs["Metallic"].default_value, node.inputs["Roughness"].default_value = metallic, roughness
    tree.links.new(ramp.outputs["Color"], mixed.inputs[0])
    tree.links.new(shader.outputs[0], mixed.inputs[1])
    tree.links.new(metal.outputs[0], mixed.inputs[2])
    output = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial")
    tree.links.new(mixed.outputs[0], output.inputs["Surface"])


def make_hole(cube):
    """A deep hole in the top of the cube: few of the fit's views see its bottom."""
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="DESELECT")
    bpy.ops.object.mode_set(mode="OBJECT")
    max(cube.data.polygons, key=lambda polygon: polygon.center.z).select = True
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.inset(thickness=0.4)
    bpy.ops.mesh.extrude_region_move(TRANSFORM_OT_translate={"value": (0.0, 0.0, -1.9)})
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project(island_margin=0.02)
    bpy.ops.object.mode_set(mode="OBJECT")


def make_coated(cube):
    """A pattern for the color under a coat, and for three of the faces a material that no bake can read."""
    tree = bpy.data.materials["Material"].node_tree
    shader, checker = tree.nodes["Principled BSDF"], tree.nodes.new("ShaderNodeTexChecker")
    coordinates = tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(coordinates.outputs["UV"], checker.inputs["Vector"])
    tree.links.new(checker.outputs["Color"], shader.inputs["Base Color"])
    shader.inputs["Coat Weight"].default_value = 0.5
    comic = bpy.data.materials.new("Comic")
    if comic.node_tree is None:
        comic.use_nodes = True
    toon = comic.node_tree.nodes.new("ShaderNodeBsdfToon")
    comic.node_tree.links.new(toon.outputs[0], comic.node_tree.nodes["Material Output"].inputs["Surface"])
    cube.data.materials.append(comic)
    if request["unreadable"]:
        for polygon in list(cube.data.polygons)[:3]:
            polygon.material_index = 1


def prepare_preview(scene):
    """Select the head, give its slot a color that the preview can show, and set up a fit that takes a while."""
    head = bpy.data.objects["Head"]
    head.select_set(True)
    bpy.context.view_layer.objects.active = head
    bpy.data.materials["Chipped Paint"].diffuse_color = (0.75, 0.6, 0.45, 1.0)
    settings = scene.pbrfit
    settings.image_storage = "PACKED"
    settings.resolution, settings.view_size, settings.quality = 256, 128, "standard"
    settings.views, settings.samples = request["views"], 4


def set_preview():
    """Set the preview as the test outside asks: settings by name; split the view in two if asked."""
    with open(request["state"] + ".preview") as file:
        wanted = json.load(file)
    os.remove(request["state"] + ".preview")
    if wanted.pop("second_view", False):
        window = bpy.context.window_manager.windows[0]
        area, _ = view_3d()
        with bpy.context.temp_override(window=window, area=area, region=area.regions[-1]):
            bpy.ops.screen.area_split(direction="VERTICAL", factor=0.4)
        other = next(item for item in window.screen.areas if item.type == "VIEW_3D" and item != area)
        other.spaces[0].shading.type = "RENDERED"
        other.spaces[0].show_region_ui = False
        other.spaces[0].region_3d.view_perspective = "CAMERA"
    for name, value in wanted.items():
        setattr(bpy.context.scene.pbrfit_preview, name, value)


def preview_state():
    """What the preview says, and how finely its views are drawn."""
    from bl_ext.user_default.pbrfit.preview.engine import hub as hub_module

    hub = hub_module._hub
    views = list(hub.viewports) if hub is not None else []
    return {
        "lines": [text for text, _ in hub_module.lines(bpy.context.scene)],
        "finest": bool(views) and all(view._level + 1 == len(view._levels) for view in views),
        "views": len(views),
        "lit": bool(views) and not any(view.lacks_light for view in views),
        "frames": [view._frame.number for view in views if view._frame is not None],
        "drawn": sum(view.drawn for view in views),
        "collected": sum(view.collected for view in views),
        "engine": bpy.context.scene.render.engine,
        "label": next((view.label for view in views if view.label), ""),
    }


def view_3d():
    """The 3D view and its sidebar; None and None while another editor is in its place."""
    areas = bpy.context.window_manager.windows[0].screen.areas
    area = next((item for item in areas if item.type == "VIEW_3D"), None)
    if area is None:
        return None, None
    return area, next(item for item in area.regions if item.type == "UI")


def open_tab():
    """Show the sidebar with the tab of the extension; true once it is drawn, which takes a few calls."""
    area, sidebar = view_3d()
    area.spaces[0].show_region_ui = True
    area.tag_redraw()
    if state["count"] < 10:
        return False
    if request["scene"] in {"first fit", "preview", "compare"}:
        show_object(area)
    if request["scene"] == "compare":
        area.spaces[0].shading.type = "WIREFRAME"  # quick to draw, and not what a comparison makes of it
    if request["scene"] == "hole":
        area.spaces[0].region_3d.view_rotation = (0.98, 0.15, 0.05, 0.1)
        area.spaces[0].region_3d.view_distance = 7.0
    if request["scene"] != "first fit":
        sidebar.active_panel_category = "PBRfit"
    return state["count"] >= 20


def show_object(area):
    """Fill the view with the head, shown with its material; the tab still has to be clicked."""
    area.spaces[0].region_3d.view_distance = 5.0
    area.spaces[0].shading.type = "MATERIAL"


def hovered_operator():
    """The Python command of the button under the mouse, or an empty string."""
    area, sidebar = view_3d()
    window = bpy.context.window_manager.windows[0]
    if area is None:
        return ""
    with bpy.context.temp_override(window=window, area=area, region=sidebar):
        if not bpy.ops.ui.copy_python_command_button.poll():
            return ""
        bpy.ops.ui.copy_python_command_button()
        return bpy.context.window_manager.clipboard


def report():
    """Write the state for the test outside."""
    from bl_ext.user_default.pbrfit.common import window_focus
    from bl_ext.user_default.pbrfit.overlay import overlay
    from bl_ext.user_default.pbrfit.preflight import checks
    from bl_ext.user_default.pbrfit.session import session
    from bl_ext.user_default.pbrfit.setup import backend_process
    from bl_ext.user_default.pbrfit.ui import operators_result, operators_verdict

    if os.path.exists(request["state"] + ".open"):
        os.remove(request["state"] + ".open")
        bpy.ops.wm.open_mainfile(filepath=request["file"])
        return REPORT_SECONDS
    if os.path.exists(request["state"] + ".preview"):
        set_preview()
    if not state["ready"]:
        state["ready"] = open_tab()
    area, sidebar = view_3d()
    space = area.spaces[0] if area is not None else None
    current = session.current()
    cube = bpy.data.objects.get(state["object"])
    material = cube.active_material if cube is not None else None
    links = []
    if material is not None and material.node_tree is not None:
        links = [f"{link.from_node.bl_idname} > {link.to_socket.name}" for link in material.node_tree.links]
    backend = backend_process._local
    references = getattr(current, "_open_references", None)
    second = getattr(current, "_open_baker", None) if references is None else references._renderer
    processes = [backend._process] if backend is not None else []
    processes += [second._process] if second is not None else []
    state.update(
        count=state["count"] + 1,
        editors=[area.ui_type for area in bpy.context.window_manager.windows[0].screen.areas],
        file=bpy.data.filepath,
        dirty=bpy.data.is_dirty,
        hovered=hovered_operator(),
        sidebar={name: getattr(sidebar, name) for name in ("x", "y", "width", "height")} if sidebar else None,
        session=current.status.state if current is not None else "",
        message=current.status.message if current is not None else "",
        iteration=current.status.iteration if current is not None else 0,
        fraction=current.status.fraction if current is not None else 0.0,
        material=material.name if material is not None else "",
        links=sorted(links),
        images={image.name: image.colorspace_settings.name for image in bpy.data.images if image.packed_file},
        kept=[item.name for item in bpy.data.materials if item.use_fake_user],
        rotation=list(cube.rotation_euler) if cube is not None else None,
        selected=[item.name for item in bpy.context.view_layer.objects if item.select_get()],
        tab=sidebar.active_panel_category if sidebar else "",
        uv_maps=[layer.name for layer in cube.data.uv_layers] if cube is not None else [],
        view=list(space.region_3d.view_rotation) if space is not None else None,
        verdicts=[
            verdict.grade for _, verdict in operators_verdict.judged(operators_result.fitted_targets(bpy.context))
        ],
        unseen=[one.name for one in overlay.shown()],
        seconds=current.seconds if current is not None else 0.0,
        focus=window_focus.has_focus(),
        shading=space.shading.type if space is not None else "",
        light=bpy.context.scene.pbrfit.reference_light,
        paused=current is not None and current.status.paused,
        processes=[process.pid for process in processes],
        temporary=[bpy.app.tempdir, str(backend_process._home or "")],
        findings=[str(finding) for finding in checks.quick_findings(bpy.context)],
        preview=preview_state(),
        comparison=comparison_inside.comparison_state(area),
        threads=sorted(thread.name for thread in threading.enumerate()),
    )
    with open(request["state"] + ".part", "w") as file:
        json.dump(state, file)
    os.replace(request["state"] + ".part", request["state"])
    return REPORT_SECONDS


def start():
    """Install once the window is there. Programs that a test puts beside the state are found first."""
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(request["state"]) + "/programs", os.environ["PATH"]])
    install()
    make_scene()
    if request["language"]:
        choose_language()
        state["said"] = said()
    bpy.app.timers.register(report, first_interval=REPORT_SECONDS, persistent=True)


bpy.context.preferences.view.show_splash = False
bpy.app.timers.register(start, first_interval=1.0)
