"""A cube whose look no Principled BSDF shows, and the settings of small fits of it."""

from __future__ import annotations

import dataclasses
import time

import bpy
from support.blender.scenes import TIMEOUT_S, add_cube, hdri_world
from support.blender.session_steps import tiny_fit
from support.blender.shader_trees import Tree


def from_the_bake() -> None:
    """The settings of a small fit that begins with the bake."""
    tiny_fit()
    settings = bpy.context.scene.pbrfit
    settings.start, settings.resolution, settings.view_size, settings.samples = "BAKE", 32, 32, 4


def mixed_cube(addon, monkeypatch) -> bpy.types.Object:
    """A cube of rough paint and smooth metal, half and half everywhere. No bake is near enough, and comparisons are quick."""
    cube = add_cube()
    tree = Tree()
    metal = tree.new("BsdfPrincipled", Metallic=1.0, Roughness=0.1)
    tree.input(tree.shader, "Base Color").default_value = (0.7, 0.1, 0.1, 1.0)
    mixed = tree.new("MixShader")
    tree.link(tree.shader, mixed, 1)
    tree.link(metal, mixed, 2)
    tree.link(mixed, tree.output, "Surface")
    cube.data.materials.append(tree.material)
    hdri_world()
    from_the_bake()
    for name, few in (("VIEWS", 2), ("SIZE", 48), ("SAMPLES", 8)):
        monkeypatch.setattr(addon.session.comparison_work, name, few)
    never_near(addon, monkeypatch)
    return cube


def near_enough_at(addon, monkeypatch, decibels: float) -> None:
    """From what PSNR on a bake is kept without a fit."""
    qualities = addon.protocol.quality.QUALITIES
    changed = {name: dataclasses.replace(quality, near_enough_db=decibels) for name, quality in qualities.items()}
    monkeypatch.setattr(addon.session.comparison_work, "QUALITIES", changed)


def never_near(addon, monkeypatch) -> None:
    near_enough_at(addon, monkeypatch, 1000.0)


def states_to_the_end(session) -> tuple[list[str], list[float]]:
    """The states that the session shows, and its fractions."""
    states, fractions = [session.status.state], [session.status.fraction]
    deadline = time.monotonic() + TIMEOUT_S
    while not session.status.finished:
        assert time.monotonic() < deadline, session.status
        status = session.poll()
        states += [status.state] if status.state != states[-1] else []
        fractions.append(status.fraction)
        time.sleep(0.005)
    return states, fractions
