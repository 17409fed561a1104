"""The verdict on a material, in words that name the node."""

from __future__ import annotations

import bpy
import pytest
from support.blender.shader_trees import Tree


@pytest.fixture
def tree(addon) -> Tree:
    return Tree()


def verdict(addon, tree: Tree, target: str = "CORE"):
    return addon.closures.verdict.verdict_of(tree.material, target)


def mix(tree: Tree, first, second, factor=None):
    mixed = tree.link(first, tree.new("MixShader", Fac=0.5), 1)
    tree.link(second, mixed, 2)
    if factor is not None:
        tree.link(factor, mixed, 0)
    tree.link(mixed, tree.output, 0)
    return mixed


def test_one_principled_is_exact(addon, tree) -> None:
    tree.link(tree.new("TexNoise"), tree.shader, "Base Color", output=1)
    found = verdict(addon, tree)
    assert (found.kind, found.lost) == ("EXACT", ())
    assert found.text == '"Look" can be baked exactly: all of it is in "Principled BSDF".'


def test_a_cut_out_is_exact(addon, tree) -> None:
    mix(tree, tree.new("BsdfTransparent"), tree.shader, tree.new("TexChecker"))
    assert verdict(addon, tree).kind == "EXACT"


def test_tinted_glass_is_no_cut_out(addon, tree) -> None:
    mix(tree, tree.new("BsdfTransparent", Color=(0.2, 0.9, 0.2, 1.0)), tree.shader)
    assert verdict(addon, tree).kind == "COMPOSITE"


def test_two_that_differ_only_in_base_color_are_one(addon, tree) -> None:
    other = tree.new("BsdfPrincipled", Base_Color=(0.1, 0.6, 0.1, 1.0))
    mix(tree, tree.shader, other, tree.new("TexNoise"))
    found = verdict(addon, tree)
    assert found.kind == "EXACT"
    assert (
        '"Principled BSDF", "Principled BSDF.001"' in found.text
        or '"Principled BSDF.001", "Principled BSDF"' in found.text
    )


@pytest.mark.parametrize("name", ["Roughness", "Metallic", "Coat_Weight", "Transmission_Weight", "Alpha"])
def test_two_that_differ_in_more_are_composite(addon, tree, name: str) -> None:
    mix(tree, tree.shader, tree.new("BsdfPrincipled", **{name: 0.3}))
    assert verdict(addon, tree).kind == "COMPOSITE"


def test_two_that_are_metallic_alike_are_one_only_without_metal(addon, tree) -> None:
    tree.input(tree.shader, "Metallic").default_value = 1.0
    mix(tree, tree.shader, tree.new("BsdfPrincipled", Metallic=1.0, Base_Color=(0.1, 0.6, 0.1, 1.0)))
    assert verdict(addon, tree).kind == "COMPOSITE"


def test_light_that_is_added_is_exact_if_nothing_is_over_it(addon, tree) -> None:
    added = tree.link(tree.shader, tree.new("AddShader"), 0)
    tree.link(tree.new("Emission"), added, 1)
    tree.link(added, tree.output, 0)
    assert verdict(addon, tree).kind == "EXACT"
    tree.input(tree.shader, "Coat Weight").default_value = 1.0
    assert verdict(addon, tree).kind == "COMPOSITE"


@pytest.mark.parametrize(
    ("kind", "output", "words"),
    [
        ("Fresnel", 0, '"Fresnel"'),
        ("LayerWeight", 1, '"Layer Weight"'),
        ("LightPath", 0, '"Light Path" (Is Camera Ray)'),
    ],
)
def test_the_view_is_named_by_its_node(addon, tree, kind: str, output: int, words: str) -> None:
    mixed = mix(tree, tree.shader, tree.new("BsdfAnisotropic"))
    tree.link(tree.new(kind), mixed, 0, output=output)
    found = verdict(addon, tree)
    assert found.kind == "VIEW"
    assert words in found.text


def test_the_view_of_a_node_that_nothing_shows_does_not_count(addon, tree) -> None:
    tree.new("Fresnel")
    assert verdict(addon, tree).kind == "EXACT"


def test_what_has_no_counterpart_is_named(addon, tree) -> None:
    toon = tree.new("BsdfToon")
    toon.label = "Cartoon"
    tree.link(toon, tree.output, 0)
    found = verdict(addon, tree)
    assert found.kind == "UNREADABLE"
    assert '"Cartoon" (Toon BSDF)' in found.text


@pytest.mark.parametrize(
    ("name", "value", "words", "targets"),
    [
        ("Coat Weight", 1.0, "a coat", {"CORE"}),
        ("Sheen Weight", 0.5, "sheen", {"CORE"}),
        ("Transmission Weight", 1.0, "transmission", {"CORE"}),
        ("IOR", 1.33, "an IOR", {"CORE"}),
        ("Specular IOR Level", 0.0, "a specular level", {"CORE"}),
        ("Subsurface Weight", 1.0, "subsurface scattering", {"CORE", "GLTF"}),
        ("Anisotropic", 0.5, "an anisotropic", {"CORE"}),
    ],
)
def test_what_a_target_cannot_keep(addon, tree, name: str, value: float, words: str, targets: set[str]) -> None:
    tree.input(tree.shader, name).default_value = value
    for target in ("CORE", "GLTF", "PRINCIPLED"):
        lost = verdict(addon, tree, target).lost
        assert bool(lost) == (target in targets)
        assert all(words in sentence and '"Principled BSDF"' in sentence for sentence in lost)


def test_a_linked_lobe_counts_and_one_without_weight_does_not(addon, tree) -> None:
    tree.link(tree.new("TexNoise"), tree.shader, "Coat Tint", output=1)
    assert verdict(addon, tree, "GLTF").lost == ()
    tree.link(tree.new("TexNoise"), tree.shader, "Coat Weight")
    assert len(verdict(addon, tree, "GLTF").lost) == 1
    assert len(verdict(addon, tree, "CORE").lost) == 2


def test_the_same_closure_twice_is_not_one(addon, tree) -> None:
    added = tree.link(tree.shader, tree.new("AddShader"), 0)
    tree.link(tree.shader, added, 1)
    tree.link(added, tree.output, 0)
    assert verdict(addon, tree).kind == "COMPOSITE"


def test_mixes_nested_too_deep_are_said(addon, tree) -> None:
    last = tree.shader
    for _ in range(600):
        mixed = tree.link(last, tree.new("MixShader", Fac=0.5), 1)
        tree.link(tree.shader, mixed, 2)
        last = mixed
    tree.link(last, tree.output, 0)
    assert "nested deeper" in verdict(addon, tree).text


def test_a_wireframe_in_pixels_depends_on_the_view(addon, tree) -> None:
    wires = tree.new("Wireframe")
    tree.link(wires, tree.shader, "Roughness")
    assert verdict(addon, tree).kind == "EXACT"
    wires.use_pixel_size = True
    assert '"Wireframe" (Pixel Size)' in verdict(addon, tree).text


def test_what_no_map_holds_is_said(addon, tree) -> None:
    tree.link(tree.new("Displacement"), tree.output, "Displacement")
    assert verdict(addon, tree).lost == ()
    tree.material.displacement_method = "DISPLACEMENT"
    assert "baked as bumps" in verdict(addon, tree).lost[0]
    tree.material.displacement_method = "BUMP"
    tree.link(tree.new("AmbientOcclusion"), tree.shader, "Base Color")
    assert "sees only the object itself" in verdict(addon, tree).lost[0]


def test_light_over_what_is_transparent_is_lost(addon, tree) -> None:
    added = tree.link(tree.new("BsdfTransparent", Color=(0.5, 1.0, 1.0, 1.0)), tree.new("AddShader"), 0)
    tree.link(tree.new("Emission"), added, 1)
    tree.link(added, tree.output, 0)
    lost = verdict(addon, tree).lost
    assert any("tint" in sentence for sentence in lost)
    assert any("adds over what is transparent" in sentence for sentence in lost)


@pytest.mark.skipif(bpy.app.version < (5, 2, 0), reason="from Blender 5.2 on")
def test_a_thin_wall_is_kept_only_by_the_node_that_knows_it(addon, tree) -> None:
    tree.input(tree.shader, "Thin Wall").default_value = True
    assert "thin wall" in verdict(addon, tree, "GLTF").lost[0]
    assert verdict(addon, tree, "PRINCIPLED").lost == ()
