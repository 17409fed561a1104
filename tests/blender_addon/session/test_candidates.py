"""What a fit's material has besides its own maps: everything that the bake says of what is not fitted."""

from __future__ import annotations

import pytest


@pytest.fixture
def candidates(addon):
    """A bake for a fuller target, and a fit of base color, roughness and metallic."""
    recipes = addon.common.material_recipe
    baked = recipes.MaterialRecipe(
        constants={"Coat Weight": 1.0, "Roughness": 0.5, "IOR": 1.4, "Emission Strength": 2.0},
        inputs={
            "Base Color": recipes.MapInput("kd", "color"),
            "Alpha": recipes.MapInput("kd", "alpha"),
            "Coat Roughness": recipes.MapInput("coat", "green"),
            "Emission Color": recipes.MapInput("emission", "color"),
            "Normal": recipes.MapInput("normal", "normal"),
        },
        properties={"distribution": "GGX"},
        uv_tangent=True,
    )
    files = {name: b"baked" for name in ("kd.png", "coat.png", "emission.png", "normal.png")}
    result = addon.session.candidates.Candidates(1, alpha=False, baked=recipes.BakedMaps((baked,), files))
    result.fits["FIT"] = {"kd.png": b"fitted", "orm.png": b"fitted"}
    return result


def test_lobes_that_are_not_fitted_stay_as_baked(candidates) -> None:
    recipe = candidates.recipe_of("FIT", 0)
    assert recipe.constants == {"Coat Weight": 1.0, "IOR": 1.4, "Emission Strength": 2.0}
    keys = {name: item.key for name, item in recipe.inputs.items()}
    assert keys.pop("Base Color") == "kd"
    assert keys.pop("Occlusion") == keys.pop("Roughness") == keys.pop("Metallic") == "orm"
    assert keys == {"Coat Roughness": "coat", "Emission Color": "emission", "Normal": "normal"}
    assert recipe.properties == {"distribution": "GGX"}
    assert recipe.uv_tangent


def test_the_baked_alpha_is_gone_with_the_map_that_held_it(candidates) -> None:
    assert "Alpha" not in candidates.recipe_of("FIT", 0).inputs
    candidates.alpha = True
    assert candidates.recipe_of("FIT", 0).inputs["Alpha"].key == "kd"


def test_the_files_are_those_that_the_recipe_reads(candidates) -> None:
    assert candidates.files_of("FIT", 0) == {
        "kd.png": b"fitted",
        "orm.png": b"fitted",
        "coat.png": b"baked",
        "emission.png": b"baked",
        "normal.png": b"baked",
    }
    assert set(candidates.files_of("BAKE", 0).values()) == {b"baked"}


def test_a_fit_without_a_bake_has_its_own_maps_alone(candidates) -> None:
    candidates.baked = None
    recipe = candidates.recipe_of("FIT", 0)
    assert set(recipe.inputs) == {"Base Color", "Occlusion", "Roughness", "Metallic"}
    assert candidates.files_of("FIT", 0) == candidates.fits["FIT"]
