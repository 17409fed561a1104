"""The looks of tests/looks, baked by the button: every input against Cycles' own values, the verdicts, and renders of some.

`python -m benchmarks bakes` renders all of them.
"""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from looks import compare
from looks.baking import ask, bake_looks
from looks.catalogue import LOOKS, build_looks
from looks.look import CORE, EXACT, GLTF, PRINCIPLED, UNREADABLE
from support.spread import chosen, spread

RESOLUTION = 256
LEAST_DB, MOST_DEGREES, LEAST_SHARE = 50.0, 1.0, 0.3
LEAST_RENDER_DB = 45.0
BAKED = [name for name, look in LOOKS.items() if look.surfaces[0].kind != UNREADABLE]
RENDERED = {PRINCIPLED: ("car_paint",), CORE: ("plain", "procedural")}
SIZE, SAMPLES = 96, 256


@pytest.fixture(scope="module")
def fresh_addon(installed_extension: str) -> Any:
    """Empties the open file; returns the add-on."""

    def empty() -> Any:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.preferences.addon_enable(module=installed_extension)
        session = import_module(f"{installed_extension}.session.session")
        return SimpleNamespace(session=SimpleNamespace(session=session))

    return empty


@pytest.fixture(scope="module")
def differences(
    fresh_addon: Any, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, Any]]]:
    """What the judge says of the looks that are asked for, baked for the target Principled in one go."""
    folder = tmp_path_factory.mktemp("looks")
    wanted = {"constants", *chosen(request, "baked")}
    names = [name for name in BAKED if name in wanted]
    return ask("judge.py", bake_looks(fresh_addon(), names, PRINCIPLED, RESOLUTION, folder / "baked.blend"), folder)


@pytest.mark.parametrize("baked", spread(BAKED, 3))
def test_every_input_is_what_cycles_has_at_that_point(differences, baked: str) -> None:
    found = [compare.Difference(**values) for values in differences[baked]]
    assert found or not any(surface.truths for surface in LOOKS[baked].surfaces)
    wrong = [item for item in found if not is_right(item)]
    assert wrong == []


def is_right(item: compare.Difference) -> bool:
    if item.degrees is not None:
        return item.degrees <= MOST_DEGREES and item.share >= LEAST_SHARE
    assert item.db is not None
    return item.db >= LEAST_DB and item.share >= LEAST_SHARE


def test_constants_stay_constants(differences) -> None:
    maps = [item for item in differences["constants"] if item["linked"]]
    assert maps == []
    assert max(item["spread"] for item in differences["constants"] if item["name"] not in compare.ANGLES) < 1e-9


@pytest.mark.parametrize("target", [CORE, GLTF, PRINCIPLED])
@pytest.mark.parametrize("name", LOOKS)
def test_the_verdict_is_right_and_names_the_node(addon, name: str, target: str) -> None:
    (thing,) = build_looks([name])
    for surface, slot in zip(LOOKS[name].surfaces, thing.material_slots, strict=True):
        verdict = addon.closures.verdict.verdict_of(slot.material, target)
        assert verdict.kind == surface.kind, verdict.text
        assert all(f'"{node}"' in verdict.text for node in surface.nodes), verdict.text
        lost = surface.lost.get(target, ())
        assert len(verdict.lost) == len(lost), verdict.lost
        assert all(any(word in sentence for sentence in verdict.lost) for word in lost), verdict.lost


@pytest.mark.parametrize(
    ("target", "names"),
    [
        *(pytest.param(*item, id=item[0], marks=pytest.mark.any_blender) for item in RENDERED.items()),
        pytest.param("PRINCIPLED", RENDERED["PRINCIPLED"][::5], id="a few in every Blender"),
    ],
)
def test_exact_looks_render_as_the_originals_do(fresh_addon, tmp_path: Path, target: str, names: list[str]) -> None:
    assert all(surface.renders_equal(target) for name in names for surface in LOOKS[name].surfaces)
    request = bake_looks(fresh_addon(), names, target, RESOLUTION, tmp_path / "baked.blend")
    found = ask("equality.py", request, tmp_path, size=SIZE, samples=SAMPLES, views=1)
    weak = {
        (name, world): decibels
        for name, worlds in found.items()
        for world, decibels in worlds.items()
        if decibels is not None and decibels < LEAST_RENDER_DB
    }
    assert weak == {}


def test_there_are_looks_of_all_kinds() -> None:
    kinds = [surface.kind for look in LOOKS.values() for surface in look.surfaces]
    assert len(LOOKS) >= 16
    assert len(set(kinds)) == 4
    assert kinds.count(EXACT) >= 16


class TestTheJudge:
    """It must see what is wrong, and nothing else."""

    def test_a_psnr_is_that_of_the_errors(self) -> None:
        errors = np.full((100, 3), 0.01)
        assert compare.psnr(errors) == pytest.approx(40.0)
        assert compare.psnr(errors, peak=10.0) == pytest.approx(60.0)
        assert compare.psnr(errors[:0]) == 0.0

    def test_opposite_directions_are_the_same_for_a_reflection_only(self) -> None:
        one = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        assert compare.angles(one, -one, "Normal").tolist() == [180.0, 180.0]
        assert compare.angles(one, -one, compare.DIRECTION).tolist() == [0.0, 180.0]

    def test_texels_of_a_triangle_are_those_with_their_middle_in_it(self) -> None:
        covered = compare.covered_texels(np.array([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]), 4)
        assert covered.astype(int).tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
        inner, outer = np.array([[0.25, 0.25]]), np.array([[0.9, 0.9]])
        assert not compare.leaves_island(inner, covered)
        assert compare.leaves_island(outer, covered)

    def test_a_jump_counts_for_the_points_around_it(self) -> None:
        points = np.ones((1, 1, 40), bool)
        uv = np.zeros((1, 1, 40, 2))
        uv[..., 0] = np.arange(40) / 40.0
        values = np.repeat(np.where(np.arange(40) < 20, 0.2, 0.8)[:, None], 3, axis=1)
        found = np.flatnonzero(compare.jumps("Roughness", values, compare.neighbors(points, uv, 40)))
        assert found.tolist() == [18, 19, 20, 21]
        assert not compare.jumps("Roughness", values / 10.0, compare.neighbors(points, uv, 40)).any()

    @pytest.mark.parametrize(("change", "worst"), [("nothing", math.inf), ("shift", 49.0), ("gamma", 30.0)])
    def test_a_wrong_map_is_seen(self, fresh_addon, tmp_path: Path, change: str, worst: float) -> None:
        """A material made by hand: the look's own image as a map is right; a texel beside it, or as numbers, is wrong."""
        fresh_addon()
        (thing,) = build_looks(["plain"])
        image = next(image for image in bpy.data.images if image.name == "Waves 1")
        pixels = np.array(image.pixels[:], np.float32).reshape(256, 256, 4)
        if change == "shift":
            image.pixels.foreach_set(np.roll(pixels, 1, axis=1).ravel())
            image.pack()
        elif change == "gamma":
            image.colorspace_settings.name = "Non-Color"
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "by_hand.blend"), check_existing=False)
        item = {"look": "plain", "object": thing.name, "blend": str(tmp_path / "by_hand.blend")}
        found = {entry["name"]: entry["db"] for entry in ask("judge.py", [item], tmp_path)["plain"]}
        assert found["Roughness"] > 100.0
        assert (found["Base Color"] > 60.0) if change == "nothing" else (found["Base Color"] < worst)
